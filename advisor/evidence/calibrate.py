"""Calibration as code: measured speeds in, `data/calibration.yaml` out. Anyone can run it again; it is deterministic."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.evidence.cases import Cases, build_cases
from advisor.evidence.conformal import OutOfFold, fit_intervals
from advisor.evidence.fit import FitResult, fit
from advisor.evidence.predict import best_layout
from advisor.evidence.terms import TERMS
from advisor.evidence.truth import TruthRow
from advisor.sizing.efficiency import Term
from advisor.sizing.factors import FACTORS, Factor, FactorColumns
from advisor.sizing.intervals import Intervals

__all__ = ["FOLDS", "Calibration", "calibrate", "cross_validate", "fold_of", "rows_columns", "write_calibration"]

Floats = NDArray[np.float64]

FOLDS = 8
SCHEMES = ("group", "device")
NEGLIGIBLE = 5e-4


@dataclass(frozen=True, slots=True)
class Calibration:
    """The fit on all rows, the out-of-fold residuals of each scheme, and the intervals made from them."""

    rows: tuple[TruthRow, ...]
    cases: Cases
    result: FitResult
    out_of_fold: Mapping[str, OutOfFold]
    intervals: Intervals


def calibrate(rows: Sequence[TruthRow]) -> Calibration:
    """Fits everything; a few seconds for each of the folds. Raises InputError for too few rows."""
    if len(rows) < 5 * FOLDS:
        raise InputError("throughput", f"at least {5 * FOLDS} rows that can be predicted", len(rows))
    cases = build_cases(rows)
    measured = np.log([row.value for row in rows])
    result = fit(cases, measured, TERMS, np.ones(len(rows), dtype=bool))
    folds = {scheme: cross_validate(rows, cases, scheme) for scheme in SCHEMES}
    return Calibration(tuple(rows), cases, result, folds, fit_intervals(list(folds.values())))


def cross_validate(
    rows: Sequence[TruthRow], cases: Cases, scheme: str, terms: Sequence[Term] = TERMS, folds: int = FOLDS
) -> OutOfFold:
    """Residuals of rows predicted by coefficients that saw no row of their group (or device)."""
    keys = [row.group if scheme == "group" else row.device_key for row in rows]
    fold = np.array([fold_of(key, folds) for key in keys])
    measured = np.log([row.value for row in rows])
    residuals, new = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    devices = np.array([row.device_key for row in rows])
    for n in range(folds):
        held = fold == n
        if not held.any():
            continue
        residuals[held] = fit(cases, measured, terms, ~held).residuals[held]
        new[held] = ~np.isin(devices[held], devices[~held])
    return OutOfFold(rows_columns(cases), [row.metric for row in rows], residuals, new)


def fold_of(key: str, folds: int = FOLDS) -> int:
    """Fold of a group, the same in every run."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % folds


def rows_columns(cases: Cases) -> FactorColumns:
    """Factors of the rows (the layouts of one row share them)."""
    first = best_layout(cases, np.zeros(len(cases)))
    factors = {name: Factor(f.levels, f.codes[first]) for name, f in cases.columns.factors.items()}
    return FactorColumns(len(first), factors, {k: v[first] for k, v in cases.columns.numbers.items()})


def write_calibration(calibration: Calibration, path: Path, source: str) -> None:
    """Writes the YAML that `advisor.sizing.efficiency` reads."""
    columns = rows_columns(calibration.cases)
    content = {
        "about": "Written by `advisor calibrate --throughput CSV --write`. Do not edit: change the fit and run it again.",
        "throughput": source,
        "rows": len(calibration.rows),
        "groups": len({row.group for row in calibration.rows}),
        "devices": len({row.device_key for row in calibration.rows}),
        "folds": FOLDS,
        "residuals": {name: _summary(residuals) for name, residuals in _residuals(calibration).items()},
        "newest_engine_year": _newest(calibration.rows),
        "levels": {name: sorted(set(columns.keys([name]))) for name in FACTORS},
        "intervals": _intervals(calibration.intervals),
        "terms": [_term(term, columns) for term in calibration.result.terms],
    }
    text = yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def _residuals(calibration: Calibration) -> dict[str, Floats]:
    held = {f"by_{name}": rows.residuals for name, rows in calibration.out_of_fold.items()}
    return {"in_sample": calibration.result.residuals} | held


def _summary(residuals: Floats) -> dict[str, float]:
    """Shares and medians of |log2(predicted / measured)|."""
    size = np.abs(residuals) / np.log(2)
    within = (residuals > np.log(0.8)) & (residuals < np.log(1.2))
    return {
        "median_log2": round(float(np.median(size)), 4),
        "within_20_percent": round(float(within.mean()), 4),
        "within_2x": round(float((size < 1).mean()), 4),
    }


def _newest(rows: Sequence[TruthRow]) -> dict[str, float]:
    newest: dict[str, float] = {"": max(row.year for row in rows)}
    for row in rows:
        name = row.runtime.engine.id
        newest[name] = round(max(newest.get(name, 0.0), row.year), 3)
    return newest


def _intervals(intervals: Intervals) -> dict[str, Any]:
    return {
        "weights": {k: round(v, 4) for k, v in intervals.weights.items()},
        "quantiles": {k: [round(v[0], 4), round(v[1], 4)] for k, v in intervals.quantiles.items()},
        "overall": [round(v, 4) for v in intervals.overall],
    }


def _term(term: Term, columns: FactorColumns) -> dict[str, Any]:
    rows = Counter(columns.keys(term.factors))
    kept = {k: round(v, 5) for k, v in term.coefficients.items() if abs(v) >= NEGLIGIBLE}
    return {
        "effect": term.effect,
        "factors": list(term.factors),
        "covariate": term.covariate,
        "width": term.width,
        "coefficients": kept,
        "rows": {name: rows[name] for name in kept},
    }
