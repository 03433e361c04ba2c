"""Chooses, on the machine in front of us, the fastest of several kernels that compute the same product.

Which kernel is fast differs between processors: oneDNN's bf16 matrix-vector product reads 13 GB/s on a Zen 4 where
torch's own reads 28, and the other way round with AMX. So nothing is assumed: each is tried on the first real call,
with the caches emptied before, because while a model decodes every weight comes from memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

__all__ = ["Tuner", "row_bucket"]

T = TypeVar("T")
ROUNDS = 3


class Tuner:
    """Remembers the fastest candidate by key. `chosen` maps each key to the candidate's name."""

    def __init__(self, synchronise: Callable[[], None], empty_caches: Callable[[], None]) -> None:
        self.chosen: dict[Hashable, str] = {}
        self._synchronise, self._empty_caches = synchronise, empty_caches

    def run(self, key: Hashable, candidates: Mapping[str, Callable[[], T]]) -> T:
        """The result of the fastest candidate; candidates that raise RuntimeError are not available here."""
        name = self.chosen.get(key)
        if name is None:
            name = self.chosen[key] = self._fastest(candidates)
        return candidates[name]()

    def _fastest(self, candidates: Mapping[str, Callable[[], object]]) -> str:
        if len(candidates) == 1:
            return next(iter(candidates))
        seconds = {name: self._time(call) for name, call in candidates.items()}
        best = min(seconds, key=lambda name: seconds[name])
        if seconds[best] == float("inf"):
            raise RuntimeError(f"no kernel works here: tried {', '.join(candidates)}")
        return best

    def _time(self, call: Callable[[], object]) -> float:
        best = float("inf")
        try:
            call()
            for _ in range(ROUNDS):
                self._empty_caches()
                self._synchronise()
                start = time.perf_counter()
                call()
                self._synchronise()
                best = min(best, time.perf_counter() - start)
        except (RuntimeError, NotImplementedError, ImportError):
            return float("inf")
        return best


def row_bucket(rows: int) -> int:
    """1, 2, 4, 8, ... 512: rows for which one choice of kernel is good enough."""
    return min(1 << (rows - 1).bit_length(), 512)
