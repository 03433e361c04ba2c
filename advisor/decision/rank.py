"""Scores and the Pareto front.

Each axis has a fixed scale, so that a plan's score does not depend on which other plans were looked at: quality
0..100 counts as 0..1; monthly cost 1 to 10^7 US dollars, end-to-end latency 10 ms to 1,000 s and power 1 W to 1 MW
count logarithmically from 1 down to 0. What is not known counts as 0.

An answer in half the time that the scenario allows is fast enough: it scores 1, each decade above that a fifth less,
and money and quality decide between plans that are all fast enough. A plan whose latency interval reaches beyond a
limit loses up to RISK.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from advisor.decision.scenario import Axis

__all__ = ["AXIS_ENDS", "RISK", "axis_scores", "best_per_group", "chance_within", "pareto_front", "weighted"]

Floats = NDArray[np.float64]

AXIS_ENDS: Mapping[Axis, tuple[float, float]] = {  # (value that scores 1, value that scores 0)
    Axis.COST: (1.0, 1e7),
    Axis.LATENCY: (0.01, 1000.0),
    Axis.POWER: (1.0, 1e6),
}
RISK = 0.05  # of the score: what a plan loses that surely breaks a limit; in proportion for one that may
FAST_ENOUGH = 0.5  # of the time that the scenario allows
_Z90 = 1.6449  # standard deviations to either end of a 90 % interval


def axis_scores(
    quality: Floats, monthly_usd: Floats, e2e_s: Floats, power_w: Floats, *, allowed_s: float = 0.0
) -> Mapping[Axis, Floats]:
    """Scores 0..1 of every plan on every axis; arrays of one shape, NaN for unknown values.

    `allowed_s`: what the scenario allows for a whole answer; 0 where it says nothing.
    """
    return {
        Axis.QUALITY: np.nan_to_num(np.clip(quality / 100, 0, 1), nan=0.0),
        Axis.COST: _logarithmic(monthly_usd, Axis.COST),
        Axis.LATENCY: _logarithmic(e2e_s / _slowest_that_scores_1(allowed_s), Axis.LATENCY),
        Axis.POWER: _logarithmic(power_w, Axis.POWER),
    }


def _slowest_that_scores_1(allowed_s: float) -> float:
    """As a multiple of the axis' own end. Looser limits move the scale, so that they never lower a score."""
    return max(1.0, FAST_ENOUGH * allowed_s / AXIS_ENDS[Axis.LATENCY][0])


def weighted(scores: Mapping[Axis, Floats], weights: Mapping[Axis, float]) -> Floats:
    """Weighted mean; `weights` sum to 1."""
    return np.asarray(sum(weights.get(axis, 0.0) * values for axis, values in scores.items()), dtype=np.float64)


def chance_within(value: Floats, factor: Floats, limit: float) -> Floats:
    """Probability that the true value is at most `limit`, for a lognormal whose 90 % interval is value / factor to
    value * factor. Normal distribution function by Abramowitz & Stegun 26.2.17 (error below 1e-7)."""
    spread = np.log(np.maximum(factor, 1 + 1e-9)) / _Z90
    z = np.log(limit / np.maximum(value, 1e-12)) / spread
    t = 1 / (1 + 0.2316419 * np.abs(z))
    series = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-np.minimum(z * z, 1400) / 2) / np.sqrt(2 * np.pi) * series
    return np.asarray(np.where(z >= 0, 1 - tail, tail), dtype=np.float64)


def best_per_group(group: NDArray[np.int64], score: Floats) -> NDArray[np.intp]:
    """The row with the highest score of each group, best first; the earlier row wins a tie."""
    order = np.lexsort((np.arange(len(score)), -score))
    _, first = np.unique(group[order], return_index=True)
    return np.asarray(order[np.sort(first)], dtype=np.intp)


def pareto_front(scores: Mapping[Axis, Floats]) -> NDArray[np.bool_]:
    """Rows that no other row equals or beats on every axis while beating it on one. Shape (plans,)."""
    points = np.stack(list(scores.values()), axis=1)
    rows = np.argsort(-points.sum(axis=1), kind="stable")  # a dominating row has the larger sum: it comes first
    points = points[rows]
    position = 0
    while position < len(points):
        point = points[position]
        kept = (points > point).any(axis=1) | (points == point).all(axis=1)
        points, rows = points[kept], rows[kept]
        position = int(kept[:position].sum()) + 1
    front = np.zeros(len(next(iter(scores.values()))), dtype=np.bool_)
    front[rows] = True
    return front


def _logarithmic(values: Floats, axis: Axis) -> Floats:
    best, worst = np.log10(AXIS_ENDS[axis])
    with np.errstate(divide="ignore", invalid="ignore"):
        position = (np.log10(np.maximum(values, 1e-12)) - worst) / (best - worst)
    return np.asarray(np.nan_to_num(np.clip(position, 0, 1), nan=0.0), dtype=np.float64)
