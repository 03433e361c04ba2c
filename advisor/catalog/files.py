"""The only reader of data files: built-in `data/` and a user's overlay folder, with limits against hostile input.

A *kind* is a folder (`devices/`) of YAML files. Each file is a mapping with one key, the kind, that holds a list
of records. An overlay may have the same folders, or one file per kind (`devices.yaml`) at its top.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from advisor.catalog import yaml_text
from advisor.catalog.errors import DataError
from advisor.catalog.paths import DATA_DIR

__all__ = [
    "MAX_DEPTH",
    "MAX_FILE_BYTES",
    "DataFile",
    "RawRecord",
    "data_files",
    "default_overlay",
    "parse_yaml",
    "read_csv",
    "read_text",
    "read_yaml",
    "records",
]

MAX_FILE_BYTES = 2_000_000
MAX_DEPTH = 32
OVERLAY_VARIABLE = "FATHOM_DATA"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of facts; `name` is what messages call it."""

    path: Path
    name: str
    builtin: bool


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record as read, not yet validated."""

    file: str
    id: str
    content: Mapping[str, object]
    builtin: bool


def default_overlay() -> Path | None:
    """The folder named by FATHOM_DATA, or None. Raises DataError if it is not a folder."""
    named = os.environ.get(OVERLAY_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataError(OVERLAY_VARIABLE, "", "", "the path of an existing folder", named)
    return folder


def data_files(
    kind: str, overlay: Path | None = None, *, pattern: str = "*.yaml", subfolder: str = ""
) -> list[DataFile]:
    """Files of one kind, built-in first, then the overlay's, each in alphabetical order.

    `subfolder` (such as "reference") selects a part of the built-in data; overlays have no such parts.
    """
    found = [
        DataFile(path, f"data/{path.relative_to(DATA_DIR).as_posix()}", True)
        for path in sorted((DATA_DIR / subfolder / kind).glob(pattern))
    ]
    if overlay is None or subfolder:
        return found
    suffix = pattern.removeprefix("*")
    own = [*sorted((overlay / kind).glob(pattern)), overlay / f"{kind}{suffix}"]
    return found + [DataFile(path, path.relative_to(overlay).as_posix(), False) for path in own if path.is_file()]


def records(kind: str, overlay: Path | None = None, *, subfolder: str = "") -> Iterator[RawRecord]:
    """The records of one kind. Ids are unique within the built-in data and within the overlay."""
    seen: dict[tuple[bool, str], str] = {}
    for file in data_files(kind, overlay, subfolder=subfolder):
        for record in _records_of(file, kind):
            key = (file.builtin, record.id)
            if key in seen:
                raise DataError(file.name, record.id, "id", f"an id used once (also in {seen[key]})")
            seen[key] = file.name
            yield record


def read_yaml(file: DataFile) -> object:
    """Content of a YAML file. A user's file is checked for size, depth and aliases first."""
    return parse_yaml(read_text(file), file.name, trusted=file.builtin)


def parse_yaml(text: str, name: str, *, trusted: bool = False) -> object:
    """Content of YAML text. Raises DataError with line and column."""
    try:
        if not trusted:
            _refuse_hostile(text, name)
        return yaml_text.load(text)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        if "nesting depth" in (problem.problem or ""):  # libyaml has a limit of its own since 2026
            raise DataError(name, "", where, f"at most {MAX_DEPTH} levels") from problem
        raise DataError(name, "", where, "valid YAML", problem.problem) from problem
    except (yaml.YAMLError, ValueError) as problem:  # control characters; numbers that are none
        raise DataError(name, "", "", "valid YAML", problem) from problem


def read_csv(file: DataFile, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows with their line numbers; the header must have exactly `columns`."""
    rows = csv.reader(read_text(file).splitlines(), strict=True)
    try:
        header = tuple(next(rows, ()))
        if header != columns:
            raise DataError(file.name, "", "header", ",".join(columns), ",".join(header))
        for row in rows:
            if len(row) != len(columns):
                raise DataError(file.name, f"line {rows.line_num}", "", f"{len(columns)} values", len(row))
            yield rows.line_num, dict(zip(columns, row, strict=True))
    except csv.Error as problem:
        raise DataError(file.name, f"line {rows.line_num}", "", "valid CSV", problem) from problem


def read_text(file: DataFile) -> str:
    """Text of a file, refused by size before it is read."""
    try:
        size = file.path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(file.name, "", "", f"at most {MAX_FILE_BYTES} bytes", size)
        return file.path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise DataError(file.name, "", "", "text in UTF-8", problem.reason) from problem
    except OSError as problem:
        raise DataError(file.name, "", "", "a readable file", problem.strerror) from problem


def _records_of(file: DataFile, kind: str) -> Iterator[RawRecord]:
    content = read_yaml(file)
    if not isinstance(content, dict) or set(content) != {kind} or not isinstance(content[kind], list):
        raise DataError(file.name, "", "", f"one key '{kind}' that holds a list of records")
    for position, record in enumerate(content[kind], start=1):
        if not isinstance(record, dict):
            raise DataError(file.name, f"number {position}", "", "a mapping", record)
        if not isinstance(record.get("id"), str):
            raise DataError(file.name, f"number {position}", "id", "a text", record.get("id"))
        yield RawRecord(file.name, record["id"], record, file.builtin)


def _refuse_hostile(text: str, name: str) -> None:
    """One flat pass over the events, so that neither depth nor aliases can exhaust the machine."""
    if len(text.encode()) > MAX_FILE_BYTES:
        raise DataError(name, "", "", f"at most {MAX_FILE_BYTES} bytes", len(text))
    depth = 0
    for event in yaml.parse(text, Loader=yaml_text.Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = f"line {event.start_mark.line + 1}" if event.start_mark else ""
        if isinstance(event, yaml.AliasEvent):
            raise DataError(name, "", line, "no YAML aliases", f"*{event.anchor}")
        if depth > MAX_DEPTH:
            raise DataError(name, "", line, f"at most {MAX_DEPTH} levels")
