"""Traces of requests from files: plain CSV, Azure, BurstGPT and Mooncake layouts.

plain     arrival_s,input_tokens,output_tokens[,prefix_hit_tokens]
Azure     TIMESTAMP,ContextTokens,GeneratedTokens           github.com/Azure/AzurePublicDataset (2023, 2024)
BurstGPT  Timestamp,…,Request tokens,Response tokens,…      github.com/HPMLL/BurstGPT
Mooncake  JSON lines {timestamp (ms), input_length, output_length, hash_ids}   github.com/kvcache-ai/Mooncake
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from advisor.catalog.errors import DataError
from advisor.serving.requests import MAX_REQUESTS, request_table
from advisor.serving.workload import RequestTable

__all__ = ["ImportedTrace", "Layout", "Note", "import_trace"]

LONG_GAP_S = 3600.0
_MOONCAKE_BLOCK = 512  # tokens per hash id
_FIELDS = ("arrival_s", "input_tokens", "output_tokens")
_MAX_TOKENS = 100_000_000


class Layout(StrEnum):
    PLAIN = "plain"
    AZURE = "azure"
    BURSTGPT = "burstgpt"
    MOONCAKE = "mooncake"


_COLUMNS = {
    Layout.PLAIN: _FIELDS,
    Layout.AZURE: ("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    Layout.BURSTGPT: ("Timestamp", "Request tokens", "Response tokens"),
}
_HITS = ("prefix_hit_tokens", "prefix_hit_tokens_infinite_cache")


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell about a trace: text key `serving.note.<key>` with `values`."""

    key: str
    values: dict[str, float | int]


@dataclass(frozen=True, slots=True)
class ImportedTrace:
    table: RequestTable
    layout: Layout
    notes: tuple[Note, ...]


def import_trace(path: Path) -> ImportedTrace:
    """Read a trace, whatever its layout. Raises DataError that names file, row, field and what was expected.

    Times become relative to the first request; rows out of order are sorted. Both are told in the notes.
    """
    try:
        with path.open(encoding="utf-8-sig") as lines:
            first = lines.readline(65_536)
    except OSError as problem:
        raise DataError(path.name, "", "", f"a readable file ({problem.strerror})") from problem
    except UnicodeDecodeError as problem:
        raise DataError(path.name, "", "", "a text file in UTF-8") from problem
    if "\0" in first:
        raise DataError(path.name, "", "", "a text file in UTF-8", "binary data")
    if not first.strip():
        expected = f"the columns {', '.join(_FIELDS)}, or an Azure, BurstGPT or Mooncake trace"
        raise DataError(path.name, "", "", expected, "an empty line" if first else "nothing")
    if first.lstrip().startswith("{"):
        return _arrange(_mooncake(path), Layout.MOONCAKE, path.name)
    layout = _layout(first, path.name)
    return _arrange(_csv(path, layout), layout, path.name)


def _layout(header: str, file: str) -> Layout:
    names = [name.strip().strip('"') for name in header.strip().split(",")]
    for layout, columns in _COLUMNS.items():
        if all(column in names for column in columns):
            return layout
    best = max(_COLUMNS.values(), key=lambda columns: sum(c in names for c in columns))
    missing = [c for c in best if c not in names]
    expected = f"the columns {', '.join(best)} (or an Azure, BurstGPT or Mooncake trace); missing {', '.join(missing)}"
    raise DataError(file, "header", "", expected, header.strip())


def _csv(path: Path, layout: Layout) -> dict[str, NDArray[np.float64]]:
    try:
        frame = pd.read_csv(path, nrows=MAX_REQUESTS + 1, skipinitialspace=True, encoding="utf-8-sig", low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as problem:
        raise DataError(path.name, "", "", "comma-separated rows of the same length", problem) from problem
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(path.name, "row 1", "", "comma-separated rows as long as the header")
    frame.columns = [str(name).strip() for name in frame.columns]
    columns = {field: frame[name] for field, name in zip(_FIELDS, _COLUMNS[layout], strict=True)}
    hits = [name for name in _HITS if name in frame.columns]
    if layout is Layout.PLAIN and hits:
        columns["prefix_hit_tokens"] = frame[hits[0]]
    return {field: _numbers(values, field, path.name) for field, values in columns.items()}


def _numbers(values: pd.Series, field: str, file: str) -> NDArray[np.float64]:
    """The column as numbers; dates count as seconds."""
    if field == "arrival_s" and not pd.api.types.is_numeric_dtype(values):
        times = pd.to_datetime(values, errors="coerce", format="ISO8601", utc=True)
        if times.notna().any():
            _refuse(times.isna().to_numpy(), values, field, "a date and time", file)
            return np.asarray((times - times.min()).dt.total_seconds(), dtype=np.float64)
    numbers = np.asarray(pd.to_numeric(values, errors="coerce"), dtype=np.float64)
    _refuse(~np.isfinite(numbers), values, field, "a finite number", file)
    return numbers


def _mooncake(path: Path) -> dict[str, NDArray[np.float64]]:
    rows: list[tuple[float, ...]] = []
    seen: set[int] = set()
    with path.open(encoding="utf-8-sig", errors="replace") as lines:  # a broken byte is a broken row, with its number
        for number, line in enumerate(lines, 1):
            if len(rows) > MAX_REQUESTS:
                break
            if line.strip():
                rows.append(_mooncake_row(line, number, path.name, seen))
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return dict(zip((*_FIELDS, "prefix_hit_tokens"), values.T, strict=True))


def _mooncake_row(line: str, number: int, file: str, seen: set[int]) -> tuple[float, ...]:
    """Leading blocks seen before are hits: an upper bound, as of an infinite cache."""
    record = f"row {number}"
    try:
        row = json.loads(line)
        values = (row["timestamp"] / 1e3, float(row["input_length"]), float(row["output_length"]))
        hashes = row.get("hash_ids", [])
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        expected = "JSON with the numbers timestamp (ms), input_length, output_length"
        raise DataError(file, record, "", expected, line.strip()) from problem
    if not isinstance(hashes, list):
        raise DataError(file, record, "hash_ids", "a list", hashes)
    known = next((i for i, h in enumerate(hashes) if h not in seen), len(hashes))
    seen.update(hashes)
    return (*values, min(known * _MOONCAKE_BLOCK, values[1]))


def _arrange(columns: dict[str, NDArray[np.float64]], layout: Layout, file: str) -> ImportedTrace:
    count = len(columns["arrival_s"])
    if not 1 <= count <= MAX_REQUESTS:
        got = "none" if count == 0 else f"more than {MAX_REQUESTS:,}"
        raise DataError(file, "", "", f"1 to {MAX_REQUESTS:,} rows; take a sample of a longer trace", got)
    if layout is Layout.BURSTGPT:  # failed requests have no response tokens
        keep = columns["output_tokens"] > 0
        columns = {field: values[keep] for field, values in columns.items()}
        if not keep.any():
            raise DataError(file, "", "Response tokens", "at least one request with an answer")
    _check(columns, file)
    notes = list(_notes(columns["arrival_s"], count - len(columns["arrival_s"])))
    start = columns["arrival_s"].min() if layout is not Layout.PLAIN else 0.0
    order = np.argsort(columns["arrival_s"], kind="stable")
    whole = {field: values[order].astype(np.int64) for field, values in columns.items() if field != "arrival_s"}
    return ImportedTrace(request_table((columns["arrival_s"] - start)[order], **whole), layout, tuple(notes))


def _check(columns: dict[str, NDArray[np.float64]], file: str) -> None:
    rules: dict[str, tuple[str, Callable[[NDArray[np.float64]], NDArray[np.bool_]]]] = {
        "arrival_s": ("seconds >= 0", lambda v: v >= 0),
        "input_tokens": ("a whole number >= 1", _whole(1)),
        "output_tokens": ("a whole number >= 1", _whole(1)),
        "prefix_hit_tokens": ("a whole number >= 0", _whole(0)),
    }
    for field, values in columns.items():
        expected, rule = rules[field]
        _refuse(~rule(values), values, field, expected, file)
    hits = columns.get("prefix_hit_tokens")
    if hits is not None:
        _refuse(hits > columns["input_tokens"], hits, "prefix_hit_tokens", "no more than input_tokens", file)


def _whole(low: int) -> Callable[[NDArray[np.float64]], NDArray[np.bool_]]:
    return lambda values: (values >= low) & (values <= _MAX_TOKENS) & (values == np.floor(values))


def _refuse(bad: NDArray[np.bool_], values: object, field: str, expected: str, file: str) -> None:
    """Raises for the first bad row, counted without the header."""
    if bad.any():
        row = int(np.argmax(bad))
        others = int(bad.sum()) - 1
        more = f" ({others} more such rows)" if others else ""
        raise DataError(file, f"row {row + 1}", field, f"{expected}{more}", np.asarray(values)[row])


def _notes(arrival: NDArray[np.float64], dropped: int) -> Iterable[Note]:
    late = int((np.diff(arrival) < 0).sum())
    if late:
        yield Note("unsorted", {"rows": late})
    gaps = np.diff(np.sort(arrival))
    if len(gaps) and gaps.max() > LONG_GAP_S:
        yield Note("gap", {"seconds": float(gaps.max()), "at_s": float(np.sort(arrival)[int(np.argmax(gaps))])})
    if dropped:
        yield Note("failed", {"rows": dropped})
