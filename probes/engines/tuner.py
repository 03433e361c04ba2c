"""Chooses, on the machine in front of us, the fastest of several kernels that compute the same product.

Which kernel is fast differs between processors: oneDNN's bf16 matrix-vector product reads 13 GB/s on a Zen 4 where
torch's own reads 28, and the other way round with AMX; on a Zen 1 torch's bf16 products of many rows run at a
twentieth of its float32 ones. So nothing is assumed: each is tried before the first real call, with the caches emptied
before, because while a model decodes every weight comes from memory. Candidates are tried on a part of the matrix where
the whole would take long; they take turns, so that a disturbance of some milliseconds meets all of them, and one that
is clearly slower than the best is not tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

__all__ = ["Tuner", "row_bucket"]

T = TypeVar("T")

ROUNDS = 7
HOPELESS = 1.5  # once a candidate's best is so many times slower than the best of all, its trial ends


class Tuner:
    """Remembers the fastest candidate by key. `chosen` maps each key to the candidate's name."""

    def __init__(self, synchronise: Callable[[], None], empty_caches: Callable[[], None]) -> None:
        self.chosen: dict[Hashable, str] = {}
        self._synchronise, self._empty_caches = synchronise, empty_caches

    def choose(self, key: Hashable, candidates: Mapping[str, Callable[[], object]]) -> str:
        """Name of the fastest candidate; those that raise RuntimeError or ImportError are not available here."""
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
        best: dict[str, float] = {}
        for name, call in candidates.items():
            self._try(name, call, best)
        if not best:
            raise RuntimeError(f"no kernel works here: tried {', '.join(candidates)}")
        for _ in range(ROUNDS - 1):
            limit = HOPELESS * min(best.values())
            rivals = [name for name in best if best[name] <= limit]
            if len(rivals) == 1:
                break
            for name in rivals:
                best[name] = min(best[name], self._time(candidates[name]))
        return min(best, key=best.__getitem__)

    def _try(self, name: str, call: Callable[[], object], best: dict[str, float]) -> None:
        """The first call, which may compile, is not counted; what does not work here gets no time."""
        try:
            call()
            best[name] = self._time(call)
        except (RuntimeError, NotImplementedError, ImportError):
            return

    def _time(self, call: Callable[[], object]) -> float:
        self._empty_caches()
        self._synchronise()
        start = time.perf_counter()
        call()
        self._synchronise()
        return time.perf_counter() - start


def row_bucket(rows: int) -> int:
    """1, 2, 4, 8, ... 512: rows for which one choice of kernel is good enough."""
    return min(1 << (rows - 1).bit_length(), 512)
