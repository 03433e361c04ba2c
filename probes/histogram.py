"""Counts in narrow logarithmic bins: percentiles of runs of any length, in constant memory, that can be added up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

from probes.result import Measured

__all__ = ["Histogram"]

STEP = math.log(1.01)  # bins of 1 %: percentiles are exact to half of that


class Histogram:
    """Positive values; zero and less count as the smallest bin."""

    def __init__(self, bins: Mapping[str, float] | None = None) -> None:
        self._bins: Counter[int] = Counter({int(key): int(count) for key, count in (bins or {}).items()})

    def add(self, value: float) -> None:
        self._bins[round(math.log(max(value, 1e-9)) / STEP)] += 1

    def merge(self, other: Histogram) -> None:
        self._bins.update(other._bins)

    def bins(self) -> dict[str, float]:
        """For storage: bin number -> count."""
        return {str(key): float(count) for key, count in sorted(self._bins.items())}

    def __len__(self) -> int:
        return sum(self._bins.values())

    def percentile(self, share: float) -> float:
        """Nearest rank; `share` in [0, 1]. Raises ValueError when empty."""
        if not self._bins:
            raise ValueError("no values")
        rank = max(1, math.ceil(share * len(self)))
        ordered = sorted(self._bins.items())
        reached = zip(ordered, accumulate(count for _, count in ordered), strict=True)
        return math.exp(next(key for (key, _), seen in reached if seen >= rank) * STEP)

    def measured(self, share: float) -> Measured:
        """A percentile with its 90 % confidence interval by order statistics (normal approximation of ranks)."""
        total = len(self)
        half = 1.645 * math.sqrt(max(share * (1 - share), 1e-12) / total)
        low, high = (self.percentile(min(1.0, max(0.0, share + sign * half))) for sign in (-1, 1))
        return Measured(self.percentile(share), low, high, total)
