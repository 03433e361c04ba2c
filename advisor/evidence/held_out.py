"""Out-of-fold predictions that were stored with the calibration: no row was predicted by coefficients that saw it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from advisor.catalog import Catalog
from advisor.catalog.errors import DataError
from advisor.catalog.paths import DATA_DIR
from advisor.catalog.quantity import Basis
from advisor.evidence.truth import THROUGHPUT_FILE, TruthRow, read_throughput
from advisor.evidence.validate import Predicted, Validation, predicted_row, scored

__all__ = ["SCHEMES", "GroupScore", "HeldOut", "held_out", "worst_groups"]

HELD_OUT_FILE = DATA_DIR / "truth" / "held_out.csv"
SCHEMES = ("by_group", "by_device")
_ENDS = ("", "_low", "_high")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Scores, and what was run in each row; `truth` and `validation.rows` are in the same order."""

    validation: Validation
    truth: tuple[TruthRow, ...]


@dataclass(frozen=True, slots=True)
class GroupScore:
    """One source's rows of one device or host, model family and format."""

    group: str
    rows: int
    median_abs_log2: float
    bias_log2: float
    source: str


def held_out(
    scheme: str, catalog: Catalog, truth_file: Path = THROUGHPUT_FILE, stored_file: Path = HELD_OUT_FILE
) -> HeldOut:
    """The stored predictions of `scheme`, one of SCHEMES. Raises DataError for a broken file or a missing row."""
    if scheme not in SCHEMES:
        raise DataError(stored_file.name, "", "scheme", f"one of {', '.join(SCHEMES)}", scheme)
    stored = _stored(stored_file, scheme)
    rows, missing = read_throughput(truth_file, catalog)
    lost = [row.id for row in rows if row.id not in stored]
    if lost:
        raise DataError(stored_file.name, lost[0], scheme, "a stored prediction of every row; run `advisor calibrate`")
    predicted = [_predicted(row, stored[row.id]) for row in rows]
    return HeldOut(scored(predicted, missing), tuple(rows))


def worst_groups(found: HeldOut, *, at_least: int = 3) -> tuple[GroupScore, ...]:
    """Groups of `at_least` rows, the worst first: typical error and its direction in log2."""
    errors: dict[str, list[float]] = {}
    sources: dict[str, str] = {}
    for truth, row in zip(found.truth, found.validation.rows, strict=False):
        if row.predicted is not None and row.measured > 0:
            errors.setdefault(truth.group, []).append(float(np.log2(row.predicted / row.measured)))
            sources.setdefault(truth.group, truth.source)
    scores = [
        GroupScore(group, len(logs), median(map(abs, logs)), median(logs), sources[group])
        for group, logs in errors.items()
        if len(logs) >= at_least
    ]
    return tuple(sorted(scores, key=lambda score: (-score.median_abs_log2, score.group)))


def _predicted(row: TruthRow, numbers: Sequence[float]) -> Predicted:
    value, low, high = numbers
    return replace(predicted_row(row, 0.0, 0.0), predicted=value, low=low, high=high, basis=Basis.ESTIMATED.value)


def _stored(path: Path, scheme: str) -> dict[str, tuple[float, ...]]:
    names = [scheme + end for end in _ENDS]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            absent = [name for name in ("id", *names) if name not in (reader.fieldnames or ())]
            if absent:
                raise DataError(path.name, "", absent[0], "a column of that name")
            return {raw["id"]: tuple(_number(path, raw["id"], name, raw[name]) for name in names) for raw in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise DataError(path.name, "", "", "a readable CSV file", problem) from None


def _number(path: Path, record: str, field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(path.name, record, field, "a number", text) from None
