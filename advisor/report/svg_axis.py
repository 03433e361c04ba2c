"""Round tick values of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from advisor.report.numbers import number

__all__ = ["decades", "ticks"]


def ticks(values: Sequence[float], count: int = 5) -> list[tuple[float, str]]:
    """About `count` round values inside the range of `values`, with their text."""
    low, high = min(values), max(values)
    if low == high:
        return [(low, number(low))]
    raw = (high - low) / count
    base = 10 ** math.floor(math.log10(raw))
    step = next(m * base for m in (1, 2, 5, 10) if m * base >= raw)
    first = math.ceil(low / step)
    return [(i * step, number(i * step)) for i in range(first, math.floor(high / step) + 1)]


def decades(values: Sequence[float]) -> list[tuple[float, str]]:
    """1, 10, 100, … inside the range; 1, 2 and 5 of each below two decades, round values below one."""
    low, high = min(values), max(values)
    steps = (1,) if high / low >= 100 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [m * 10.0**p for p in powers for m in steps if low <= m * 10.0**p <= high]
    return [(value, number(value)) for value in found] if len(found) > 1 else ticks(values)
