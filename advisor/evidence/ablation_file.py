"""The table of what each term is worth, as a file beside the truth; reading it needs no fit."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from advisor.catalog.errors import DataError
from advisor.catalog.paths import DATA_DIR
from advisor.evidence.scores import Summary

__all__ = ["ABLATION_FILE", "StoredAblation", "append_ablation", "start_ablations", "stored_ablations"]

ABLATION_FILE = DATA_DIR / "truth" / "ablation.csv"
_NUMBERS = ("mean_cell_median", "median_abs_log2", "within_20_percent", "within_2x")
_HEADER = ("left_out", "scheme", *_NUMBERS)


@dataclass(frozen=True, slots=True)
class StoredAblation:
    """Cross-validated scores of one scheme without `left_out` ("" for the full fit)."""

    left_out: str
    scheme: str
    mean_cell_median: float
    median_abs_log2: float
    within_20_percent: float
    within_2x: float


def start_ablations(path: Path = ABLATION_FILE) -> None:
    """An empty table."""
    path.write_text(",".join(_HEADER) + "\n", encoding="utf-8")


def append_ablation(left_out: str, scheme: str, summary: Summary, path: Path = ABLATION_FILE) -> None:
    """One more line; a run that stops keeps what it has."""
    numbers = [f"{getattr(summary, name):.4f}" for name in _NUMBERS]
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow([left_out, scheme, *numbers])


def stored_ablations(path: Path = ABLATION_FILE) -> tuple[StoredAblation, ...]:
    """The lines of the table; none where it was never made. Raises DataError for a broken one."""
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_rows(path, csv.DictReader(file)))


def _rows(path: Path, rows: Iterable[dict[str, str]]) -> Iterable[StoredAblation]:
    for raw in rows:
        try:
            numbers = {name: float(raw[name]) for name in _NUMBERS}
            yield StoredAblation(raw["left_out"], raw["scheme"], **numbers)
        except (KeyError, TypeError, ValueError):
            raise DataError(path.name, str(raw.get("left_out", "")), "", f"the columns {', '.join(_HEADER)}") from None
