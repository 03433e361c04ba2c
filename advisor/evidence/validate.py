"""Validation: every measured speed beside its prediction, its interval and the scores.

`none`: the published calibration predicts the rows (in-sample for the public truth, held out for any other file).
`group` and `device`: the fit is repeated without the rows of each fold, and the intervals too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advisor.catalog import Catalog
from advisor.catalog.quantity import Basis
from advisor.evidence.cases import build_cases
from advisor.evidence.columns import rows_columns
from advisor.evidence.predict import predict_rows
from advisor.evidence.scores import Cell, RowScore, Summary, cells_of, summary_of
from advisor.evidence.truth import TruthRow, Unpredicted, read_throughput
from advisor.sizing.efficiency import EfficiencyTable, efficiency_table
from advisor.sizing.factors import FactorColumns
from advisor.sizing.intervals import Intervals, half_widths, is_new

__all__ = [
    "CrossValidation",
    "Predicted",
    "Validation",
    "predict_truth",
    "scored",
    "validate_throughput",
    "widths_by_metric",
]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class CrossValidation(StrEnum):
    NONE = "none"
    GROUP = "group"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Predicted:
    """One row: measured and predicted in the unit of the metric."""

    id: str
    metric: str
    measured: float
    predicted: float | None
    low: float | None
    high: float | None
    basis: str
    unpredicted_reason: str | None
    device_class: str
    model_class: str
    source: str = ""
    single_stream: bool = False


@dataclass(frozen=True, slots=True)
class Validation:
    """Rows in file order, cells and summary."""

    rows: tuple[Predicted, ...]
    cells: tuple[Cell, ...]
    summary: Summary


def validate_throughput(path: Path, catalog: Catalog, cv: CrossValidation = CrossValidation.NONE) -> Validation:
    """Predicts every row of a file with the columns of throughput.csv. Raises DataError for a broken file."""
    rows, missing = read_throughput(path, catalog)
    if cv is CrossValidation.NONE:
        predicted = predict_truth(rows, efficiency_table())
    else:
        from advisor.evidence.crossvalidation import predict_held_out  # the fit needs scipy, prediction does not

        predicted = predict_held_out(rows, cv.value)
    return scored(predicted, missing)


def predict_truth(rows: Sequence[TruthRow], table: EfficiencyTable) -> list[Predicted]:
    """Predictions of a given calibration."""
    if not rows:
        return []
    cases = build_cases(rows)
    logs = predict_rows(cases, table)
    columns = rows_columns(cases)
    new = is_new(columns, "device", table.seen.get("device", frozenset()))
    widths = widths_by_metric(Intervals.from_mapping(table.intervals), columns, [r.metric for r in rows], new)
    strange = np.zeros(len(rows), dtype=bool)
    for name in ("engine", "backend", "generation", "family"):
        strange |= is_new(columns, name, table.seen.get(name, frozenset()))
    return [predicted_row(row, logs[n], widths[n], extrapolated=bool(strange[n])) for n, row in enumerate(rows)]


def widths_by_metric(intervals: Intervals, columns: FactorColumns, metrics: Sequence[str], new: Mask) -> Floats:
    """Half-width of every row's interval, log units."""
    names = np.array(metrics)
    out = np.zeros(len(names))
    for metric in np.unique(names):
        chosen = names == metric
        out[chosen] = half_widths(intervals, columns, str(metric), new)[chosen]
    return out


def predicted_row(
    row: TruthRow, log_value: float, width: float, *, extrapolated: bool = False, relative: bool = False
) -> Predicted:
    """One row as numbers; `relative`: `log_value` is that of predicted / measured."""
    value = float(np.exp(log_value)) * (row.value if relative else 1.0)
    factor = float(np.exp(width))
    basis = Basis.EXTRAPOLATED if extrapolated else Basis.ESTIMATED
    return Predicted(
        row.id,
        row.metric,
        row.value,
        value,
        value / factor,
        value * factor,
        basis.value,
        None,
        row.device_class,
        row.model_class,
        row.source,
        row.load_mode == "single",
    )


def scored(rows: Sequence[Predicted], missing: Sequence[Unpredicted]) -> Validation:
    """Scores of predictions; rows that could not be predicted are kept and named."""
    unknown = [
        Predicted(m.id, m.metric, m.value, None, None, None, "", m.reason, m.device_class, m.model_class)
        for m in missing
    ]
    together = (*rows, *unknown)
    scores = [_score(row) for row in together]
    return Validation(together, tuple(cells_of(scores)), summary_of(scores))


def _score(row: Predicted) -> RowScore:
    error, covered = None, False
    if row.predicted is not None and row.low is not None and row.high is not None:
        error = float(np.log2(row.predicted / row.measured)) if row.measured > 0 else None
        covered = row.low <= row.measured <= row.high
    return RowScore(row.device_class, row.model_class, row.metric, error, covered, row.single_stream)
