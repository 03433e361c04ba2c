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

LEVEL = 0.91  # above 0.90 because rows of a group err together; raised until held-out rows were covered to 90 %
SMALLEST = 0.02  # log units: below it residuals say nothing about spread
RIDGE = 3.0  # rows' worth of prior for each level
TRUST = 4.0  # units' worth of the overall quantile mixed into that of a kind of machine


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Residuals of rows predicted without their group or device; arrays of shape (rows,).

    `new`: no row of the same device was in the fit that predicted the row. `groups`, `devices`: of each row; rows of
    a new device err together, rows of a known one by group.
    """

    columns: FactorColumns
    metrics: Sequence[str]
    residuals: Floats
    new: Mask
    groups: NDArray[np.str_]
    devices: NDArray[np.str_]


def fit_intervals(sets: Sequence[OutOfFold]) -> Intervals:
    """Spread weights by ridge regression of log |residual|, then quantiles by kind of machine and novelty."""
    names, rows, targets = _design(sets)
    weights = _ridge(rows, targets)
    spread = Intervals(dict(zip(names, map(float, weights), strict=True)), {}, (1.0, 1.0))
    ratio = np.concatenate([np.abs(s.residuals) / _spreads(spread, s) for s in sets])
    new = np.concatenate([s.new for s in sets])
    unit = np.concatenate([np.where(s.new, s.devices, s.groups) for s in sets])
    place = np.concatenate([np.array(_levels(s.columns, "place")) for s in sets])
    known, fresh = _by_place(ratio[~new], unit[~new], place[~new]), _by_place(ratio[new], unit[new], place[new])
    overall = (known[""], fresh[""])
    quantiles = {
        str(level): (known.get(level, overall[0]), fresh.get(level, overall[1])) for level in np.unique(place)
    }
    return Intervals(spread.weights, quantiles, overall)


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


def _by_place(ratio: Floats, unit: NDArray[np.str_], place: NDArray[np.str_]) -> dict[str, float]:
    """Quantile of every kind of machine, pulled to that of all rows ("") where few units were measured.

    The mean of a kind is itself known from its `units` only, so an unseen one lies √(1 + 1/units) further out.
    """
    overall = _quantile(ratio)
    found = {"": overall}
    for level in np.unique(place):
        mine = place == level
        units = len(np.unique(unit[mine]))
        trust = units / (units + TRUST)
        own = np.exp(trust * np.log(_quantile(ratio[mine])) + (1 - trust) * np.log(overall))
        found[str(level)] = float(own * np.sqrt(1 + 1 / units))
    return found


def _quantile(ratio: Floats) -> float:
    """The conformal quantile: the ceil((n+1)·level)-th smallest."""
    if not len(ratio):
        return 1.0
    rank = min(int(np.ceil((len(ratio) + 1) * LEVEL)), len(ratio)) - 1
    return float(np.sort(ratio)[rank])
