"""Calibration as code: measured speeds in, `data/calibration.yaml` out. Deterministic, for anyone to run again."""

from __future__ import annotations

import csv
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
from advisor.evidence.columns import rows_columns
from advisor.evidence.conformal import OutOfFold, fit_intervals
from advisor.evidence.crossvalidation import FOLDS, SCHEMES, cross_validate, held_out_rows
from advisor.evidence.distance import fit_distances
from advisor.evidence.fit import FitResult, fit
from advisor.evidence.scores import Summary
from advisor.evidence.terms import TERMS
from advisor.evidence.truth import THROUGHPUT_FILE, TruthRow
from advisor.evidence.validate import Predicted, scored
from advisor.evidence.widths import fitted_widths
from advisor.sizing.distance import Drift
from advisor.sizing.efficiency import Term
from advisor.sizing.factors import FACTORS, FactorColumns
from advisor.sizing.intervals import Intervals

__all__ = ["HELD_OUT_FILE", "Calibration", "calibrate", "write_calibration", "write_held_out"]

Floats = NDArray[np.float64]

HELD_OUT_FILE = THROUGHPUT_FILE.with_name("held_out.csv")
NEGLIGIBLE = 5e-4


@dataclass(frozen=True, slots=True)
class Calibration:
    """The fit on all rows, the out-of-fold residuals of each scheme, and the intervals made from them."""

    rows: tuple[TruthRow, ...]
    cases: Cases
    result: FitResult
    out_of_fold: Mapping[str, OutOfFold]
    intervals: Intervals
    distances: Mapping[str, Drift]

    def held_out(self) -> dict[str, list[Predicted]]:
        """Rows of each scheme, predicted by coefficients and intervals that saw neither the row nor its fold."""
        sets = dict(self.out_of_fold)
        return {name: held_out_rows(self.rows, sets, name) for name in sets}

    def summaries(self) -> dict[str, Summary]:
        """Scores of each scheme."""
        return {name: scored(rows, []).summary for name, rows in self.held_out().items()}


def calibrate(rows: Sequence[TruthRow]) -> Calibration:
    """Fits everything; a few seconds for each of the folds. Raises InputError for too few rows."""
    if len(rows) < 5 * FOLDS:
        raise InputError("throughput", f"at least {5 * FOLDS} rows that can be predicted", len(rows))
    cases = build_cases(rows)
    measured = np.log([row.value for row in rows])
    every = np.ones(len(rows), dtype=bool)
    terms = fitted_widths(cases, measured, TERMS, every)
    result = fit(cases, measured, terms, every)
    folds = {scheme: cross_validate(rows, cases, scheme, terms) for scheme in SCHEMES}
    distances = fit_distances(rows, cases, folds["device"].residuals)
    return Calibration(tuple(rows), cases, result, folds, fit_intervals(list(folds.values())), distances)


def write_calibration(calibration: Calibration, path: Path, source: str) -> None:
    """Writes the YAML that `advisor.sizing.efficiency` reads."""
    columns = rows_columns(calibration.cases)
    content = {
        "about": "Written by `advisor calibrate --throughput CSV --write`; do not edit, run the fit again.",
        "throughput": source,
        "rows": len(calibration.rows),
        "groups": len({row.group for row in calibration.rows}),
        "devices": len({row.device_key for row in calibration.rows}),
        "folds": FOLDS,
        "in_sample": _residual_summary(calibration.result.residuals),
        "cross_validated": {f"by_{name}": s.as_json() for name, s in calibration.summaries().items()},
        "newest_engine_year": _newest(calibration.rows),
        "levels": {name: sorted(set(columns.keys([name]))) for name in FACTORS},
        "intervals": _intervals(calibration.intervals, calibration.distances),
        "terms": [_term(term, columns) for term in calibration.result.terms],
    }
    text = yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def write_held_out(calibration: Calibration, path: Path) -> None:
    """Writes the out-of-fold prediction and 90 % interval of every row, in the unit of its metric."""
    found = calibration.held_out()
    header = ["id", *(f"by_{name}{part}" for name in found for part in ("", "_low", "_high"))]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in zip(*found.values(), strict=True):
            numbers = [value for p in row for value in (p.predicted, p.low, p.high)]
            writer.writerow([row[0].id, *(f"{value:.5g}" for value in numbers if value is not None)])


def _residual_summary(residuals: Floats) -> dict[str, float]:
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


def _intervals(intervals: Intervals, distances: Mapping[str, Drift]) -> dict[str, Any]:
    return {
        "weights": {k: round(v, 4) for k, v in intervals.weights.items()},
        "quantiles": {k: [round(v[0], 4), round(v[1], 4)] for k, v in intervals.quantiles.items()},
        "overall": [round(v, 4) for v in intervals.overall],
        "distance": {k: [v.repeat, v.slope, v.pairs] for k, v in distances.items()},
    }


def _term(term: Term, columns: FactorColumns) -> dict[str, Any]:
    rows = Counter(columns.keys(term.factors))
    kept = {k: round(v, 5) for k, v in term.coefficients.items() if abs(v) >= NEGLIGIBLE}
    return {
        "effect": term.effect,
        "factors": list(term.factors),
        "covariate": term.covariate,
        "width": round(term.width, 4),
        "coefficients": kept,
        "rows": {name: rows[name] for name in kept},
    }
