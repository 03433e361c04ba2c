"""Measurements on disk: SQLite, one row per probe, with machine, versions, conditions and what was foreseen."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from advisor.catalog.errors import DataError, InputError
from probes.codec import decode, encode
from probes.result import Measured, ProbeResult, State

__all__ = ["Store", "default_path"]

SCHEMA = """
create table if not exists probe (
  id text primary key, started_at text not null, fingerprint text not null, machine_name text not null,
  variant_id text not null, format_id text not null, engine text not null, device text not null, kind text not null,
  state text not null, decode_tok_s real, prefill_tok_s real, peak_bytes integer, record text not null
);
create index if not exists probe_by_machine on probe (fingerprint, started_at);
"""
LIMITS = {  # beyond these a figure is a mistake, not a machine
    "load_s": 86_400.0,
    "peak_bytes": 2.0**50,
    "prefill_tok_s": 1e7,
    "ttft_ms": 8.64e7,
    "decode_tok_s": 1e5,  # of one sequence
    "mbu": 20.0,  # a model that fits in cache may well beat memory
    "bandwidth_bytes_per_s": 1e14,
}
EXPORT_VERSION = 1
MAX_IMPORT_CHARACTERS = 50_000_000


def default_path() -> Path:
    """`FATHOM_STORE`, else fathom/probes.sqlite in the user's state folder."""
    if given := os.environ.get("FATHOM_STORE"):
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "fathom" / "probes.sqlite"


class Store:
    """Thread-safe and safe for several processes; every call opens and closes its own connection."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()

    def add(self, result: ProbeResult) -> None:
        """Keep one result. Absurd figures raise InputError; an unwritable, full or damaged file raises DataError."""
        check_plausible(result)
        with self._connection() as connection:
            _insert(connection, result)

    def get(self, result_id: str) -> ProbeResult | None:
        with self._connection() as connection:
            row = connection.execute("select record from probe where id = ?", (result_id,)).fetchone()
        return _read(row[0]) if row else None

    def history(
        self,
        *,
        fingerprint: str | None = None,
        variant_id: str | None = None,
        valid_only: bool = False,
        limit: int = 200,
    ) -> Sequence[ProbeResult]:
        """Newest first."""
        wanted = {"fingerprint": fingerprint, "variant_id": variant_id, "state": State.DONE if valid_only else None}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = " and ".join(f"{name} = :{name}" for name in given) or "1"
        query = f"select record from probe where {where} order by started_at desc, rowid desc limit :limit"  # noqa: S608
        with self._connection() as connection:
            rows = connection.execute(query, {**given, "limit": limit}).fetchall()
        return [_read(row[0]) for row in rows]

    def export_json(self) -> str:
        """Everything, with fingerprints, to pool with others."""
        results = [encode(result) for result in self.history(limit=1_000_000)]
        return json.dumps({"fathom_probes": EXPORT_VERSION, "results": results}, indent=1)

    def import_json(self, text: str) -> int:
        """Add results exported elsewhere; returns how many were new. All or nothing: one bad record adds none."""
        results = _parse_export(text)
        for result in results:
            check_plausible(result)
        with self._connection() as connection:
            return sum(_insert(connection, result, keep_existing=True) for result in results)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=10.0)
        except (OSError, sqlite3.Error) as problem:
            raise DataError(str(self.path), "", "", "a folder that can be written", str(problem)) from problem
        try:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(SCHEMA)
            with connection:  # commits, or rolls back when the body fails
                yield connection
        except sqlite3.DatabaseError as problem:
            raise DataError(str(self.path), "", "", _expected(problem), str(problem)) from problem
        finally:
            connection.close()


def check_plausible(result: ProbeResult) -> None:
    """Raises InputError for figures that no machine can have."""
    for name, figure in result.measured().items():
        values = (figure.value, figure.low, figure.high)
        if not all(math.isfinite(v) and 0 <= v <= LIMITS[name] for v in values):
            raise InputError(f"probe {result.id}: {name}", f"a number from 0 to {LIMITS[name]:g}", figure.value)
    if result.duration_s < 0:
        raise InputError(f"probe {result.id}: duration_s", "a number from 0", result.duration_s)


def _insert(connection: sqlite3.Connection, result: ProbeResult, *, keep_existing: bool = False) -> int:
    spec = result.spec
    row = (
        result.id, result.started_at, result.fingerprint, result.machine_name, spec.variant_id, spec.format_id,
        str(spec.engine), spec.device, str(spec.kind), str(result.state), _value(result.decode_tok_s),
        _value(result.prefill_tok_s), result.peak_bytes, json.dumps(encode(result), separators=(",", ":")),
    )  # fmt: skip
    verb = "insert or ignore" if keep_existing else "insert or replace"
    marks = ",".join("?" * len(row))
    return connection.execute(f"{verb} into probe values ({marks})", row).rowcount


def _value(figure: Measured | None) -> float | None:
    return None if figure is None else figure.value


def _read(record: str) -> ProbeResult:
    return decode(ProbeResult, json.loads(record), where="stored probe")


def _parse_export(text: str) -> list[ProbeResult]:
    where = "imported measurements"
    if len(text) > MAX_IMPORT_CHARACTERS:
        raise DataError(where, "", "", f"at most {MAX_IMPORT_CHARACTERS:,} characters", len(text))
    try:
        content = json.loads(text)
    except ValueError as problem:
        raise DataError(where, "", "", "JSON as exported by Fathom", str(problem)) from problem
    if not isinstance(content, dict) or content.get("fathom_probes") != EXPORT_VERSION:
        raise DataError(where, "", "fathom_probes", str(EXPORT_VERSION), "something else")
    rows = content.get("results")
    if not isinstance(rows, list):
        raise DataError(where, "", "results", "a list", type(rows).__name__)
    return [decode(ProbeResult, row, where=where) for row in rows]


def _expected(problem: sqlite3.DatabaseError) -> str:
    text = str(problem).lower()
    if "full" in text:
        return "free space on the disk (the measurement was not stored; earlier ones are intact)"
    if "malformed" in text or "not a database" in text:
        return "an intact SQLite file (move it aside to start a new history)"
    if "readonly" in text:
        return "a file that can be written"
    return "a working SQLite file"
