"""`advisor report`: a recommendation as a document."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from advisor.catalog import Catalog
from advisor.catalog.errors import DataError, InputError
from advisor.catalog.text import LANGUAGES
from advisor.decision.recommend import recommend
from advisor.decision.scenario import Scenario
from advisor.decision.scenario_form import resolve_ids, scenario_from_mapping
from advisor.decision.scenarios import find_scenario
from advisor.evidence.in_force import known_catalog
from advisor.report.render import Kind, render

__all__ = ["HELP", "add_arguments", "run"]

HELP = "write a recommendation as HTML, PDF, XLSX, JSON, CSV or Markdown"
MAX_FILE_BYTES = 50_000_000
NOTHING_FITS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plan",
        required=True,
        metavar="FILE",
        help="the JSON of `advisor recommend --json`, or the id or file of a scenario",
    )
    parser.add_argument("--format", required=True, choices=[str(kind) for kind in Kind], help="kind of document")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to write it")
    parser.add_argument("--language", choices=LANGUAGES, default=LANGUAGES[0], help="en (default) or zh")


def run(arguments: argparse.Namespace) -> int:
    """0 when something fits, 3 when the report says that nothing does."""
    catalog = known_catalog()
    answer = recommend(_scenario(arguments.plan, catalog), catalog)
    content = render(answer, Kind(arguments.format), arguments.language)
    try:
        arguments.out.write_bytes(content)
    except OSError as problem:
        raise InputError("--out", "a file that can be written", f"{arguments.out} ({problem.strerror})") from None
    return NOTHING_FITS if answer.nothing_fits else 0


def _scenario(wanted: str, catalog: Catalog) -> Scenario:
    """The scenario inside a recommendation's JSON; else a scenario by id or file."""
    path = Path(wanted)
    if path.suffix == ".json" and path.is_file():
        content = _read_json(path)
        if isinstance(content, dict) and isinstance(content.get("scenario"), dict):
            return resolve_ids(scenario_from_mapping(content["scenario"], source=path.name), catalog)
    return find_scenario(wanted, catalog)


def _read_json(path: Path) -> object:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(path.name, "", "", f"a file of at most {MAX_FILE_BYTES} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise DataError(path.name, "", "", "valid JSON", type(problem).__name__) from None
