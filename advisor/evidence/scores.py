"""Scores of predictions against measurements: by cell, by class, overall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median

__all__ = ["Cell", "RowScore", "Summary", "cells_of", "coverage_by", "summary_of"]

GPU_CLASSES = frozenset({"datacenter_gpu", "consumer_gpu", "pro_gpu"})
SMALL_CELL = 10


@dataclass(frozen=True, slots=True)
class RowScore:
    """One row: `error` is log2(predicted / measured); None where it could not be predicted."""

    device_class: str
    model_class: str
    metric: str
    error: float | None
    covered: bool
    single_stream: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """Rows of one kind of device, model and metric."""

    device_class: str
    model_class: str
    metric: str
    rows: int
    median_abs_log2: float
    bias_log2: float
    within_20_percent: float
    within_2x: float
    coverage_90: float


@dataclass(frozen=True, slots=True)
class Summary:
    """All rows. `mean_cell_median`: mean over cells of the median |log2(predicted / measured)|."""

    rows: int
    unpredicted: int
    cells: int
    mean_cell_median: float
    median_abs_log2: float
    within_20_percent: float
    within_2x: float
    coverage_90: float
    single_stream_gpu_decode: float | None
    worst_cell_of_ten_rows: float | None
    coverage_by_class: Mapping[str, float]

    def as_json(self) -> dict[str, object]:
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def cells_of(rows: Sequence[RowScore]) -> list[Cell]:
    """Cells in alphabetical order; rows without a prediction count in no cell."""
    groups: dict[tuple[str, str, str], list[RowScore]] = {}
    for row in rows:
        if row.error is not None:
            groups.setdefault((row.device_class, row.model_class, row.metric), []).append(row)
    return [_cell(key, members) for key, members in sorted(groups.items())]


def summary_of(rows: Sequence[RowScore]) -> Summary:
    """Scores of all rows together."""
    known = [row for row in rows if row.error is not None]
    cells = cells_of(rows)
    errors = _errors(known)
    gpu = [r for r in known if r.device_class in GPU_CLASSES and r.single_stream and r.metric == "decode_tok_s"]
    big = [cell.median_abs_log2 for cell in cells if cell.rows >= SMALL_CELL]
    return Summary(
        rows=len(rows),
        unpredicted=len(rows) - len(known),
        cells=len(cells),
        mean_cell_median=fmean([cell.median_abs_log2 for cell in cells]) if cells else 0.0,
        median_abs_log2=median(map(abs, errors)) if errors else 0.0,
        within_20_percent=_share(within_20(e) for e in errors),
        within_2x=_share(abs(e) <= 1 for e in errors),
        coverage_90=_share(row.covered for row in known),
        single_stream_gpu_decode=median(map(abs, _errors(gpu))) if gpu else None,
        worst_cell_of_ten_rows=max(big, default=None),
        coverage_by_class=coverage_by(known),
    )


def coverage_by(rows: Sequence[RowScore]) -> dict[str, float]:
    """Share of rows inside their interval, by kind of device."""
    classes = sorted({row.device_class for row in rows})
    return {name: round(_share(row.covered for row in rows if row.device_class == name), 4) for name in classes}


def within_20(error: float) -> bool:
    """|predicted / measured - 1| <= 0.2."""
    ratio: float = 2.0**error
    return 0.8 <= ratio <= 1.2


def _cell(key: tuple[str, str, str], rows: Sequence[RowScore]) -> Cell:
    errors = _errors(rows)
    return Cell(
        *key,
        rows=len(rows),
        median_abs_log2=median(map(abs, errors)),
        bias_log2=median(errors),
        within_20_percent=_share(within_20(e) for e in errors),
        within_2x=_share(abs(e) <= 1 for e in errors),
        coverage_90=_share(row.covered for row in rows),
    )


def _errors(rows: Sequence[RowScore]) -> list[float]:
    return [row.error for row in rows if row.error is not None]


def _share(flags: Iterable[bool]) -> float:
    found = list(flags)
    return sum(found) / len(found) if found else 0.0
