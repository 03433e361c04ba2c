"""Fits the intervals of `advisor.sizing.intervals` to out-of-fold residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.factors import FactorColumns
from advisor.sizing.intervals import FEATURES, NEW_DEVICE, Intervals

__all__ = ["LEVEL", "OutOfFold", "fit_intervals"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEVEL = 0.92  # above 0.90 because rows of a group err together; raised until held-out rows were covered to 90 %
SMALLEST = 0.02  # log units: below it residuals say nothing about spread
RIDGE = 3.0  # rows' worth of prior for each level
FEW = 12  # a kind of machine with fewer rows uses the overall quantile
TRUST = 25.0  # rows' worth of the overall quantile mixed into that of a kind


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Residuals of rows predicted without their group or device; arrays of shape (rows,).

    `new`: no row of the same device was in the fit that predicted the row.
    """

    columns: FactorColumns
    metrics: Sequence[str]
    residuals: Floats
    new: Mask


def fit_intervals(sets: Sequence[OutOfFold]) -> Intervals:
    """Spread weights by ridge regression of log |residual|, then quantiles by kind of machine and novelty."""
    names, rows, targets = _design(sets)
    weights = _ridge(rows, targets)
    spread = Intervals(dict(zip(names, map(float, weights), strict=True)), {}, (1.0, 1.0))
    ratio = np.concatenate([np.abs(s.residuals) / _spreads(spread, s) for s in sets])
    new = np.concatenate([s.new for s in sets])
    place = np.concatenate([np.array(_levels(s.columns, "place")) for s in sets])
    overall = (_quantile(ratio[~new]), _quantile(ratio[new]))
    quantiles = {
        str(level): tuple(_shrunk(ratio[(place == level) & mask], overall[n]) for n, mask in enumerate((~new, new)))
        for level in np.unique(place)
    }
    return Intervals(spread.weights, {k: (v[0], v[1]) for k, v in quantiles.items()}, overall)


def _spreads(intervals: Intervals, rows: OutOfFold) -> Floats:
    metrics = np.array(rows.metrics)
    out = np.zeros(len(metrics))
    for metric in np.unique(metrics):
        chosen = metrics == metric
        out[chosen] = intervals.spread(rows.columns, str(metric), rows.new)[chosen]
    return out


def _design(sets: Sequence[OutOfFold]) -> tuple[list[str], Floats, Floats]:
    keys = [_features(s) for s in sets]
    names = sorted({name for rows in keys for row in rows for name in row})
    place = {name: n for n, name in enumerate(names)}
    matrix = np.zeros((sum(len(rows) for rows in keys), len(names)))
    for n, row in enumerate(row for rows in keys for row in rows):
        matrix[n, [place[name] for name in row]] = 1.0
    sizes = np.concatenate([np.abs(s.residuals) for s in sets])
    return names, matrix, np.log(np.maximum(sizes, SMALLEST))


def _features(rows: OutOfFold) -> list[list[str]]:
    levels = {name: _levels(rows.columns, name) for name in FEATURES}
    return [
        ["", f"metric|{metric}", *(f"{name}|{levels[name][n]}" for name in FEATURES), *([NEW_DEVICE] if new else [])]
        for n, (metric, new) in enumerate(zip(rows.metrics, rows.new, strict=True))
    ]


def _levels(columns: FactorColumns, name: str) -> list[str]:
    return list(columns.keys([name]))


def _ridge(matrix: Floats, target: Floats) -> Floats:
    penalty = np.full(matrix.shape[1], RIDGE)
    penalty[0] = 1e-6  # the intercept, first in sorted order
    solved = np.linalg.solve(matrix.T @ matrix + np.diag(penalty), matrix.T @ target)
    return np.asarray(solved, dtype=np.float64)


def _quantile(ratio: Floats) -> float:
    """The conformal quantile: the ceil((n+1)·level)-th smallest."""
    if not len(ratio):
        return 1.0
    rank = min(int(np.ceil((len(ratio) + 1) * LEVEL)), len(ratio)) - 1
    return float(np.sort(ratio)[rank])


def _shrunk(ratio: Floats, overall: float) -> float:
    if len(ratio) < FEW:
        return overall
    trust = len(ratio) / (len(ratio) + TRUST)
    return float(np.exp(trust * np.log(_quantile(ratio)) + (1 - trust) * np.log(overall)))
