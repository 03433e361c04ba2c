"""llama.cpp in this process, by its C interface: a GGUF file, real caches, one measured call per step. For probe
processes only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from probes.engines.base import InvalidOutputError
from probes.engines.libllama import Batch, Library, context_parameters, open_library
from probes.gguf.header import read_header
from probes.spec import ProbeSpec

__all__ = ["LlamaEngine"]

CALL_TOKENS = 2048  # of a prompt in one call
CELLS = 256  # caches are made in steps of so many tokens
ORDINARY = 300  # ids below belong to single bytes in most vocabularies


class LlamaEngine:
    """Implements `probes.engines.base.Engine`. Threads are those of the session, which torch keeps."""

    def __init__(self, spec: ProbeSpec, path: Path, *, slots: int, tokens: int) -> None:
        self._path, self._slots = path, slots
        self._tokens = -(-tokens // CELLS) * CELLS
        self._header = read_header(path)
        self._random = np.random.default_rng(spec.seed)
        self._library: Library = open_library(on_cpu=spec.device == "cpu")
        self._filled: dict[int, int] = {}  # slot: tokens in its cache
        self._model: int | None = None
        self._context: int | None = None
        self._batch: Batch | None = None

    @property
    def tensor_bytes(self) -> int:
        return self._header.tensor_bytes

    @property
    def cache_bytes(self) -> int:
        return self._slots * self._tokens * self._header.kv_bytes_per_token

    def load(self) -> None:
        c = self._library.c
        self._model = c.llama_model_load_from_file(str(self._path).encode(), c.llama_model_default_params())
        if not self._model:
            raise InvalidOutputError(f"llama.cpp cannot load {self._path.name}: {self._library.last_error()}")
        room, call = self._slots * self._tokens, min(CALL_TOKENS, self._tokens)
        parameters = context_parameters(self._library, tokens=room, batch=call, sequences=self._slots)
        self._context = c.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise InvalidOutputError(f"llama.cpp cannot make a context: {self._library.last_error()}")
        if c.llama_n_seq_max(self._context) != self._slots or c.llama_n_ctx(self._context) < room:
            raise InvalidOutputError(f"{self._library.name} took other settings than it was given: layout unknown")
        self._call = int(c.llama_n_batch(self._context))
        self._batch = c.llama_batch_init(max(self._call, self._slots), 0, 1)
        self._words = int(c.llama_vocab_n_tokens(c.llama_model_get_vocab(self._model)))
        self.prefill(1)  # touches the mapped file

    def prefill(self, tokens: int, slot: int = 0) -> float:
        self._truncate(slot, 0)
        start = time.perf_counter()
        self._extend(slot, tokens)
        self._library.c.llama_synchronize(self._context)
        seconds = time.perf_counter() - start
        self._check(min(tokens, self._call) - 1 if tokens % self._call == 0 else tokens % self._call - 1)
        return seconds

    def decode(self, context_tokens: int, slots: int, steps: int) -> list[float]:
        for slot in range(slots):
            self._fill(context_tokens, slot)
        seconds = [self.step(dict.fromkeys(range(slots), context_tokens + i)) for i in range(steps)]
        self._check(0)
        for slot in range(slots):
            self._truncate(slot, context_tokens)
        return seconds

    def step(self, lengths: Mapping[int, int]) -> float:
        for slot, at in lengths.items():
            if self._filled.get(slot, 0) != at:
                self._fill(at, slot)
        ids = self._ids(len(lengths))
        self._put((int(token), at, slot, True) for token, (slot, at) in zip(ids, sorted(lengths.items()), strict=True))
        start = time.perf_counter()
        self._run()
        self._library.c.llama_synchronize(self._context)
        seconds = time.perf_counter() - start
        self._filled |= {slot: at + 1 for slot, at in lengths.items()}
        return seconds

    def read_bytes(self, context_tokens: int, slots: int) -> int:
        return self._header.read_bytes(slots) + slots * context_tokens * self._header.kv_bytes_per_token

    def peak_device_bytes(self) -> int | None:
        return None

    def versions(self) -> Mapping[str, str]:
        return {"llama.cpp": f"{self._library.name}, in process", "llama.cpp.built_for": self._library.features()}

    def close(self) -> None:
        c = self._library.c
        if self._batch is not None:
            c.llama_batch_free(self._batch)
        if self._context:
            c.llama_free(self._context)
        if self._model:
            c.llama_model_free(self._model)
        self._batch, self._context, self._model = None, None, None

    def _fill(self, tokens: int, slot: int) -> None:
        """The slot has exactly `tokens` in its cache; what is there already is kept."""
        have = self._filled.get(slot, 0)
        if have > tokens:
            self._truncate(slot, tokens)
        elif have < tokens:
            self._extend(slot, tokens - have)

    def _extend(self, slot: int, tokens: int) -> None:
        at = self._filled.get(slot, 0)
        if at + tokens > self._tokens:
            raise InputError("context", f"at most {self._tokens} tokens", at + tokens)
        ids = self._ids(tokens)
        for first in range(0, tokens, self._call):
            part = ids[first : first + self._call]
            last = len(part) - 1
            self._put((int(token), at + first + i, slot, i == last) for i, token in enumerate(part))
            self._run()
        self._filled[slot] = at + tokens

    def _truncate(self, slot: int, tokens: int) -> None:
        c = self._library.c
        c.llama_memory_seq_rm(c.llama_get_memory(self._context), slot, tokens, -1)
        self._filled[slot] = min(tokens, self._filled.get(slot, 0))

    def _put(self, items: Iterable[tuple[int, int, int, bool]]) -> None:
        """(token, position, slot, whether logits are wanted)."""
        batch = self._batch
        if batch is None:
            raise InvalidOutputError("the model is not loaded")
        batch.n_tokens = 0
        for i, (token, position, slot, wanted) in enumerate(items):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0], batch.logits[i] = slot, int(wanted)
            batch.n_tokens = i + 1

    def _run(self) -> None:
        threads = torch.get_num_threads()
        self._library.c.llama_set_n_threads(self._context, threads, threads)
        code = self._library.c.llama_decode(self._context, self._batch)
        if code:
            raise InvalidOutputError(f"llama.cpp ended a step with code {code}: {self._library.last_error()}")

    def _check(self, index: int) -> None:
        row = self._library.c.llama_get_logits_ith(self._context, index)
        if not row or not np.isfinite(np.ctypeslib.as_array(row, (self._words,))).all():
            raise InvalidOutputError("llama.cpp gave logits that are not finite")

    def _ids(self, count: int) -> NDArray[np.int64]:
        return self._random.integers(min(ORDINARY, self._words // 2), self._words, count)
