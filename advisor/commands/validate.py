"""`advisor validate`: predictions beside measurements."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import UnsupportedError
from advisor.catalog.files import DataFile, read_yaml
from advisor.commands.validate_text import memory_text, speed_text, summary_text
from advisor.evidence.memory_scores import memory_scores, stored_memory_scores
from advisor.evidence.memory_truth import MemoryPrediction, predict_memory_rows
from advisor.evidence.truth import OWN_PROBES_FILE, THROUGHPUT_FILE
from advisor.evidence.validate import CrossValidation, Validation, validate_throughput
from advisor.evidence.weight_scores import missed_rows, weight_scores
from advisor.sizing.efficiency import CALIBRATION_FILE

__all__ = ["HELP", "add_arguments", "run"]

HELP = "predict measured speeds and memory, and score the predictions"
MEMORY_FILE = THROUGHPUT_FILE.with_name("memory.csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--throughput", type=Path, metavar="CSV", help="measured speeds (default: the public truth)")
    parser.add_argument("--memory", type=Path, metavar="CSV", help="measured bytes")
    parser.add_argument(
        "--cv",
        type=CrossValidation,
        choices=list(CrossValidation),
        default=CrossValidation.NONE,
        help="repeat the fit without the rows of each group or device (about a minute; needs scipy)",
    )
    parser.add_argument("--json", action="store_true", help="cells, summary and every row")


def run(arguments: argparse.Namespace) -> int:
    catalog = load_catalog()
    both = arguments.throughput is None and arguments.memory is None
    speed = _speed(arguments, catalog) if both or arguments.throughput else None
    own = validate_throughput(OWN_PROBES_FILE, catalog) if both else None
    memory_file = arguments.memory or (MEMORY_FILE if both and MEMORY_FILE.is_file() else None)
    memory = predict_memory_rows(memory_file, catalog) if memory_file else []
    stored = _stored() if arguments.cv is CrossValidation.NONE else {}
    if arguments.json:
        json.dump(_as_json(speed, own, memory, stored), sys.stdout)
        sys.stdout.write("\n")
        return 0
    if speed:
        sys.stdout.write(speed_text(speed, str(arguments.cv), stored))
    if own:
        title = "own probes of accelerators, published calibration, in no fit"
        sys.stdout.write("\n" + summary_text(title, own.summary))
    if memory:
        sys.stdout.write(memory_text(memory, stored_memory_scores()))
    return 0


def _speed(arguments: argparse.Namespace, catalog: Catalog) -> Validation:
    try:
        return validate_throughput(arguments.throughput or THROUGHPUT_FILE, catalog, arguments.cv)
    except ModuleNotFoundError as problem:
        raise UnsupportedError(f"--cv needs {problem.name}: pip install -r requirements-fit.txt") from problem


def _stored() -> Mapping[str, Any]:
    """Cross-validated scores that were written with the calibration."""
    raw: Any = read_yaml(DataFile(CALIBRATION_FILE, CALIBRATION_FILE.name, True))
    found: Mapping[str, Any] = raw["cross_validated"]
    return found


def _as_json(
    speed: Validation | None, own: Validation | None, memory: list[MemoryPrediction], stored: Mapping[str, Any]
) -> dict[str, object]:
    rows = [_row(row) for found in (speed, own) if found for row in found.rows]
    summary: dict[str, object] = speed.summary.as_json() if speed else {}
    if own:
        summary["own_probes"] = own.summary.as_json()
    if stored and speed:
        summary["cross_validated"] = stored
    if memory:
        by_kind = [score.as_json() for score in memory_scores(memory)]
        summary["memory"] = {
            "by_quantity": by_kind,
            "weights_by_basis": [score.as_json() for score in weight_scores(memory)],
            "weights_missed": [row.as_json() for row in missed_rows(memory)],
            "cross_validated": stored_memory_scores(),
        }
    return {
        "cells": [asdict(cell) for cell in speed.cells] if speed else [],
        "summary": summary,
        "rows": rows + [_memory_row(row) for row in memory],
    }


def _row(row: Any) -> dict[str, object]:
    names = ("id", "metric", "measured", "predicted", "low", "high", "basis", "unpredicted_reason")
    return {name: getattr(row, name) for name in names}


def _memory_row(row: MemoryPrediction) -> dict[str, object]:
    return {
        "id": row.id,
        "metric": row.what,
        "value_bytes": row.measured_bytes,
        "measured": row.measured_bytes,
        "predicted": row.predicted_bytes,
        "low": row.low,
        "high": row.high,
        "basis": str(row.basis),
        "unpredicted_reason": row.unpredicted_reason or None,
    }
