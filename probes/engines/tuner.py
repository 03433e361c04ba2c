"""Chooses, on the machine in front of us, the fastest of several kernels that compute the same product.

Which kernel is fast differs between processors: oneDNN's bf16 matrix-vector product reads 13 GB/s on a Zen 4 where
torch's own reads 28, and the other way round with AMX; on a Zen 1 torch's bf16 products of many rows run at a
twentieth of its float32 ones. So nothing is assumed: each is tried before the first real call, with the caches emptied
before, because while a model decodes every weight comes from memory. Candidates are tried on a part of the matrix where
the whole would take long, and one that is clearly slower than the best is not tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

__all__ = ["Tuner", "row_bucket"]

T = TypeVar("T")

ROUNDS = 3
HOPELESS = 1.5  # a round this many times slower than the best ends a candidate's trial


class Tuner:
    """Remembers the fastest candidate by key. `chosen` maps each key to the candidate's name."""

    def __init__(self, synchronise: Callable[[], None], empty_caches: Callable[[], None]) -> None:
        self.chosen: dict[Hashable, str] = {}
        self._synchronise, self._empty_caches = synchronise, empty_caches

    def choose(self, key: Hashable, candidates: Mapping[str, Callable[[], object]]) -> str:
        """Name of the fastest candidate; those that raise RuntimeError or ImportError are not available here.

        List candidates that are probably fast first: then the slow ones are given up early.
        """
        name = self.chosen.get(key)
        if name is None:
            name = self.chosen[key] = self._fastest(candidates)
        return name

    def run(self, key: Hashable, candidates: Mapping[str, Callable[[], T]]) -> T:
        """The result of the fastest candidate."""
        return candidates[self.choose(key, candidates)]()

    def _fastest(self, candidates: Mapping[str, Callable[[], object]]) -> str:
        if len(candidates) == 1:
            return next(iter(candidates))
        best_name, best = "", float("inf")
        for name, call in candidates.items():
            seconds = self._time(call, best)
            if seconds < best:
                best_name, best = name, seconds
        if not best_name:
            raise RuntimeError(f"no kernel works here: tried {', '.join(candidates)}")
        return best_name

    def _time(self, call: Callable[[], object], to_beat: float) -> float:
        """Best of a few rounds; the first call, which may compile, is not counted."""
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
                if best > HOPELESS * to_beat:
                    break
        except (RuntimeError, NotImplementedError, ImportError):
            return float("inf")
        return best


def row_bucket(rows: int) -> int:
    """1, 2, 4, 8, ... 512: rows for which one choice of kernel is good enough."""
    return min(1 << (rows - 1).bit_length(), 512)
