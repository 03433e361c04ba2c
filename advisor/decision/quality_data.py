"""Published benchmark scores as typed rows; read by the fits and shown beside the figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from advisor.catalog.errors import DataError
from advisor.catalog.paths import DATA_DIR
from advisor.decision.scenario import TaskProfile

__all__ = [
    "QUALITY_DIR",
    "Benchmark",
    "QuantisedScore",
    "Score",
    "read_benchmarks",
    "read_divergence",
    "read_quantised",
    "read_scores",
    "score_from_logit",
    "to_logit",
]

QUALITY_DIR = DATA_DIR / "quality"


@dataclass(frozen=True, slots=True)
class Benchmark:
    id: str
    name: str
    profile: TaskProfile
    items: int
    chance: float
    reference: bool  # enters the profile's figure


@dataclass(frozen=True, slots=True)
class Score:
    """One published score of one variant in its native format. `thinking`: off | on | max."""

    variant_id: str
    thinking: str
    benchmark: str
    score: float  # per cent
    setting: str
    date: str
    source: str


@dataclass(frozen=True, slots=True)
class QuantisedScore:
    """A quantised variant and its unquantised baseline in the same harness."""

    variant_id: str
    format: str
    kind: str  # gguf | gguf-dynamic | int-group | int8 | fp8
    bits_per_weight: float
    benchmark: str
    score: float
    score_sd: float | None  # over repeats
    baseline_score: float
    baseline_sd: float | None
    source: str


def read_benchmarks(folder: Path = QUALITY_DIR) -> Mapping[str, Benchmark]:
    """Benchmarks by id."""
    content = yaml.safe_load((folder / "benchmarks.yaml").read_text(encoding="utf-8"))
    return {
        name: Benchmark(
            id=name,
            name=str(record["name"]),
            profile=TaskProfile(profile),
            items=int(record["items"]),
            chance=float(record.get("chance", 0.0)),
            reference=bool(record.get("reference", False)),
        )
        for profile, records in content.items()
        for name, record in records.items()
    }


def read_scores(folder: Path = QUALITY_DIR) -> tuple[Score, ...]:
    rows = _rows(folder / "scores.csv")
    return tuple(
        Score(
            row["variant_id"],
            row["thinking"],
            row["benchmark"],
            _number(row, "score", "scores.csv"),
            row["setting"],
            row["date"],
            row["source"],
        )
        for row in rows
    )


def read_quantised(folder: Path = QUALITY_DIR) -> tuple[QuantisedScore, ...]:
    file = "quantised.csv"
    return tuple(
        QuantisedScore(
            row["variant_id"],
            row["format"],
            row["kind"],
            _number(row, "bits_per_weight", file),
            row["benchmark"],
            _number(row, "score", file),
            _number(row, "score_sd", file) if row["score_sd"] else None,
            _number(row, "baseline_score", file),
            _number(row, "baseline_sd", file) if row["baseline_sd"] else None,
            row["source"],
        )
        for row in _rows(folder / file)
    )


def read_divergence(folder: Path = QUALITY_DIR) -> tuple[tuple[str, float, float], ...]:
    """(storage type, bits per weight, Kullback-Leibler divergence from 16 bit), one model, llama.cpp types."""
    file = "divergence.csv"
    return tuple(
        (row["storage_type"], _number(row, "bits_per_weight", file), _number(row, "kl_divergence", file))
        for row in _rows(folder / file)
    )


def to_logit(score: float, benchmark: Benchmark) -> tuple[float, float]:
    """Log-odds of a score (0..1) above chance, and the variance that the number of items leaves in them.

    Half an item is added on both sides, so that 0 and 100 % stay finite.
    """
    n, chance = benchmark.items, benchmark.chance
    smooth = (score * n + 0.5) / (n + 1)
    share = min(max((smooth - chance) / (1 - chance), 0.5 / n), 1 - 0.5 / n)
    slope = 1 / (share * (1 - share) * (1 - chance))
    return float(np.log(share / (1 - share))), float(smooth * (1 - smooth) / n * slope**2)


def score_from_logit(logit: float, benchmark: Benchmark) -> float:
    """Inverse of `to_logit`, 0..1."""
    return float(benchmark.chance + (1 - benchmark.chance) / (1 + np.exp(-logit)))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _number(row: Mapping[str, str], field: str, file: str) -> float:
    try:
        return float(row[field])
    except (KeyError, ValueError):
        raise DataError(file, row.get("variant_id", ""), field, "a number", row.get(field)) from None
