"""Whether memory grows while a model serves: the slope of its readings, how sure it is, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from probes.result import Measured

__all__ = ["GROWS", "UNDECIDED", "Verdict", "drift_per_hour", "leak_flags", "verdict"]

GROWS, UNDECIDED = "memory_grows", "memory_undecided"  # flags of a result
SETTLING = 3  # the first third is left out: allocators settle
FEWEST_READINGS = 12  # after that: a minute of windows
FEWEST_ANSWERS = 20  # fewer may not have used every sequence's cache yet: first use is no leak
GROWTH_SHARE = 0.01  # growth seen during a run, of the memory at its end, that may be called a leak
CONFIDENCE_Z = 1.645  # 90 %, two sides
MOST_ALIKE = 0.95  # of one reading with the next; above, there is one reading
Readings = Sequence[tuple[float, float]]  # (seconds, bytes)


class Verdict(StrEnum):
    """Between `GROWS` and `STEADY` lies what the run was too short to tell."""

    GROWS = "grows"
    STEADY = "steady"
    UNDECIDED = "undecided"


def verdict(readings: Readings, answers: int) -> Verdict:
    """Grows: the whole interval of the slope, over the time watched, is more than one reading differs from the line,
    and more than a hundredth of the memory, in both halves; a minute's settling is not extrapolated to an hour, and one
    step is no growth. Steady: the whole interval is less.
    """
    drift = drift_per_hour(readings)
    if drift is None or drift.n < FEWEST_READINGS or answers < FEWEST_ANSWERS:
        return Verdict.UNDECIDED
    kept = _settled(readings)
    hours = (kept[-1][0] - kept[0][0]) / 3600
    least = max(GROWTH_SHARE * kept[-1][1], _scatter(kept))
    if drift.low * hours > least and _in_both_halves(kept, drift.low):
        return Verdict.GROWS
    return Verdict.STEADY if drift.high * hours <= least else Verdict.UNDECIDED


def leak_flags(readings: Readings, answers: int) -> tuple[str, ...]:
    """Of a sustained run; none where memory is steady."""
    flags = {Verdict.GROWS: (GROWS,), Verdict.UNDECIDED: (UNDECIDED,), Verdict.STEADY: ()}
    return flags[verdict(readings, answers)]


def drift_per_hour(readings: Readings) -> Measured | None:
    """Slope of the readings in bytes per hour with its 90 % interval; None with fewer than four after settling.

    Readings that follow each other are alike, so there are fewer than there seem: n(1 - r)/(1 + r) of them, with r
    the correlation of one residual with the next (Santer et al., J. Geophys. Res. 105 (2000) 7337).
    """
    kept = _settled(readings)
    if len(kept) < 4:
        return None
    mean_t = sum(t for t, _ in kept) / len(kept)
    spread = sum((t - mean_t) ** 2 for t, _ in kept)
    if spread == 0:
        return None
    slope, residuals = _line(kept)
    alike = _alike(residuals)
    freedom = max(1.0, len(kept) * (1 - alike) / (1 + alike) - 2)
    error = _quantile(freedom) * (sum(r * r for r in residuals) / freedom / spread) ** 0.5
    return Measured(slope * 3600, (slope - error) * 3600, (slope + error) * 3600, len(kept))


def _settled(readings: Readings) -> Readings:
    return readings[len(readings) // SETTLING :]


def _line(kept: Readings) -> tuple[float, list[float]]:
    """(bytes per second, what each reading lies above the line)."""
    mean_t, mean_b = (sum(one[i] for one in kept) / len(kept) for i in (0, 1))
    slope = sum((t - mean_t) * (b - mean_b) for t, b in kept) / sum((t - mean_t) ** 2 for t, _ in kept)
    return slope, [b - mean_b - slope * (t - mean_t) for t, b in kept]


def _in_both_halves(kept: Readings, low_per_hour: float) -> bool:
    """Each grows at half the least that the whole does, or more."""
    middle = len(kept) // 2
    return all(2 * 3600 * _line(half)[0] >= low_per_hour for half in (kept[:middle], kept[middle:]))


def _scatter(kept: Readings) -> float:
    """Standard deviation of one reading from the line, bytes."""
    _, residuals = _line(kept)
    return float((sum(r * r for r in residuals) / (len(kept) - 2)) ** 0.5)


def _alike(residuals: Sequence[float]) -> float:
    """Correlation of each with the next; what swings around the line counts as independent."""
    whole = sum(r * r for r in residuals)
    if whole == 0:
        return 0.0
    pairs = sum(a * b for a, b in pairwise(residuals))
    return min(MOST_ALIKE, max(0.0, pairs / whole))


def _quantile(freedom: float) -> float:
    """Of Student's t (Abramowitz and Stegun 26.7.5, three terms); with one degree of freedom 4.6 for 6.3."""
    z = CONFIDENCE_Z
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
