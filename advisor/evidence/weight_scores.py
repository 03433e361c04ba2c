"""Errors of predicted file and weight bytes by how the number is known, and the rows that miss the target by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from advisor.catalog.files import DataFile, read_yaml
from advisor.catalog.paths import DATA_DIR
from advisor.catalog.quantity import Basis
from advisor.evidence.memory_truth import MemoryPrediction

__all__ = ["OTHER", "TARGET_MEDIAN", "TARGET_P95", "MissedRow", "WeightScore", "missed_rows", "weight_scores"]

TARGET_MEDIAN = 0.002
TARGET_P95 = 0.02
OTHER = "other"  # mixes known by their label only, downloads of apps, shares of one device
WEIGHTS = ("weights_bytes", "weights_file_bytes")


@dataclass(frozen=True, slots=True)
class WeightScore:
    """Errors |predicted / measured - 1| of the predicted rows of one `basis`: exact, or other."""

    basis: str
    rows: int
    median_error: float
    p95_error: float
    largest_error: float
    coverage_90: float

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MissedRow:
    """A row beyond the target: `error` is predicted / measured - 1, `reasons` by language, empty where unknown."""

    id: str
    basis: str
    error: float
    reasons: Mapping[str, str]

    def as_json(self) -> dict[str, object]:
        return {"id": self.id, "basis": self.basis, "error": self.error, "reason": self.reasons.get("en")}


def weight_scores(rows: Sequence[MemoryPrediction]) -> tuple[WeightScore, ...]:
    """Scores of exact rows, then of the others; a basis without rows has none."""
    groups: dict[str, list[MemoryPrediction]] = {str(Basis.EXACT): [], OTHER: []}
    for row in _weights(rows):
        groups[_basis(row)].append(row)
    return tuple(_score(basis, own) for basis, own in groups.items() if own)


def missed_rows(rows: Sequence[MemoryPrediction]) -> tuple[MissedRow, ...]:
    """Rows of weights off by more than the target of the 95th percentile, worst first."""
    found = [MissedRow(row.id, _basis(row), _error(row), _reasons().get(row.id, {})) for row in _weights(rows)]
    return tuple(sorted((row for row in found if abs(row.error) > TARGET_P95), key=lambda row: -abs(row.error)))


def _weights(rows: Sequence[MemoryPrediction]) -> list[MemoryPrediction]:
    return [r for r in rows if r.what in WEIGHTS and r.predicted_bytes is not None and r.measured_bytes > 0]


def _basis(row: MemoryPrediction) -> str:
    return row.basis if row.basis == Basis.EXACT else OTHER


def _error(row: MemoryPrediction) -> float:
    return (row.predicted_bytes or 0.0) / row.measured_bytes - 1


def _score(basis: str, rows: Sequence[MemoryPrediction]) -> WeightScore:
    errors = np.array([abs(_error(row)) for row in rows])
    inside = [(row.low or 0) <= row.measured_bytes <= (row.high or 0) for row in rows]
    return WeightScore(
        basis=basis,
        rows=len(rows),
        median_error=float(np.median(errors)),
        p95_error=float(np.quantile(errors, 0.95)),
        largest_error=float(errors.max()),
        coverage_90=float(np.mean(inside)),
    )


@cache
def _reasons() -> Mapping[str, Mapping[str, str]]:
    """Reasons by row and language."""
    path = DATA_DIR / "truth" / "memory_reasons.yaml"
    content: Any = read_yaml(DataFile(path, path.name, True))
    return {str(item["id"]): {name: str(item[name]) for name in ("en", "zh")} for item in content["reasons"]}
