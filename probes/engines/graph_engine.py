"""What engines that run a compiled graph on the processor share: their counts of bytes, and how one call is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError, UnsupportedError
from advisor.catalog.records import Architecture
from probes.engines.base import InvalidOutputError
from probes.spec import ProbeSpec

__all__ = ["GraphEngine"]


class GraphEngine:
    """`title`: the engine's name in messages. `kv_element_bytes`: of one number in its cache.

    `_bytes`, `_streamed`: of all weights, and of those that a step reads, known once loaded.
    """

    title = ""

    def __init__(self, spec: ProbeSpec, *, slots: int, tokens: int) -> None:
        if spec.architecture is None:
            raise InputError("architecture", "dimensions of the variant", None)
        if spec.device != "cpu":
            raise UnsupportedError(f"the {self.title} probe runs on the processor")
        self._a: Architecture = spec.architecture
        self._spec, self._slots, self._tokens = spec, slots, tokens
        self._random = np.random.default_rng(spec.seed)
        self._bytes = self._streamed = self._threads = 0

    @property
    def kv_element_bytes(self) -> int:
        raise NotImplementedError

    @property
    def tensor_bytes(self) -> int:
        return self._bytes

    @property
    def cache_bytes(self) -> int:
        return self._slots * self._tokens * self._kv_bytes_per_token

    def read_bytes(self, context_tokens: int, slots: int) -> int:
        return self._streamed + slots * context_tokens * self._kv_bytes_per_token

    def peak_device_bytes(self) -> int | None:
        return None

    @property
    def _kv_bytes_per_token(self) -> int:
        return 2 * self._a.n_kv_heads * self._a.head_dim * self._a.num_layers * self.kv_element_bytes

    def _ids(self, sequences: int, tokens: int, at: int) -> NDArray[np.int64]:
        """Tokens for positions from `at` on. Raises InputError beyond the room of the cache."""
        if at + tokens > self._tokens:
            raise InputError("context", f"at most {self._tokens} tokens", at + tokens)
        return self._random.integers(0, self._a.vocab_size, (sequences, tokens))

    def _timed(self, call: Callable[[], object], logits: Callable[[], NDArray[Any]]) -> float:
        """Seconds of the call, whose logits must be finite."""
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        if not np.isfinite(logits()).all():
            raise InvalidOutputError(f"{self.title} gave logits that are not finite")
        return seconds
