"""Predicted numbers of many plans with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Range"]

Floats = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Range:
    """A predicted number with its 90 % interval, arrays of shape (plans,).

    The half-width as a factor is kept per pairing and spread when asked for: a grid has few pairings. Where own
    measurements are in force it differs from plan to plan.
    """

    value: Floats
    factor: Floats  # (pairings,) or (plans,)
    index: Index  # of each plan into `factor`

    @property
    def low(self) -> Floats:
        low: Floats = self.value / self.factor[self.index]
        return low

    @property
    def high(self) -> Floats:
        high: Floats = self.value * self.factor[self.index]
        return high

    def at(self, row: int) -> tuple[float, float, float]:
        """(value, low, high) of one plan."""
        value, factor = float(self.value[row]), float(self.factor[self.index[row]])
        return value, value / factor, value * factor
