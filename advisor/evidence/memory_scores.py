"""How far predicted bytes are from measured ones, by kind of quantity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.catalog.files import DataFile, read_yaml
from advisor.catalog.paths import DATA_DIR
from advisor.evidence.memory_truth import MemoryPrediction

__all__ = ["MemoryScore", "memory_scores", "stored_memory_scores"]


@dataclass(frozen=True, slots=True)
class MemoryScore:
    """Errors are |predicted / measured - 1| over the predicted rows; NaN where there is none to compare."""

    what: str
    rows: int
    unpredicted: int
    median_error: float
    p90_error: float
    p95_error: float
    within_20_percent: float
    coverage_90: float

    def as_json(self) -> dict[str, object]:
        """NaN becomes null."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: None if isinstance(v, float) and np.isnan(v) else v for name, v in values.items()}


def memory_scores(rows: Sequence[MemoryPrediction]) -> tuple[MemoryScore, ...]:
    """One score for each kind of quantity that occurs, in alphabetical order."""
    return tuple(_scores(rows))


def stored_memory_scores() -> Mapping[str, Any]:
    """Scores of buffers and peaks by fits that did not see the model or the source, written with the coefficients."""
    path = DATA_DIR / "calibration_memory.yaml"
    content: Any = read_yaml(DataFile(path, path.name, True))
    found: Mapping[str, Any] = content["cross_validated"]
    return found


def _scores(rows: Sequence[MemoryPrediction]) -> Iterator[MemoryScore]:
    for what in sorted({row.what for row in rows}):
        own = [row for row in rows if row.what == what]
        known = [row for row in own if row.predicted_bytes is not None and row.measured_bytes > 0]
        errors = np.array([abs((row.predicted_bytes or 0) / row.measured_bytes - 1) for row in known] or [np.nan])
        inside = [(row.low or 0) <= row.measured_bytes <= (row.high or 0) for row in known]
        yield MemoryScore(
            what=what,
            rows=len(own),
            unpredicted=sum(row.predicted_bytes is None for row in own),
            median_error=float(np.median(errors)),
            p90_error=float(np.quantile(errors, 0.9)),
            p95_error=float(np.quantile(errors, 0.95)),
            within_20_percent=float(np.mean(errors <= 0.2)) if known else np.nan,
            coverage_90=float(np.mean(inside)) if known else np.nan,
        )
