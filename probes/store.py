"""Stored measurements: one row per probe, with machine, versions, conditions and what was foreseen.

A SQLite file by default; any database that SQLAlchemy reaches, for a team.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select

from advisor.catalog.errors import DataError, InputError
from probes.codec import decode, encode
from probes.result import Measured, ProbeResult, State
from probes.spec import Kind
from probes.store_place import default_path
from probes.store_tables import PROBES, database_url, open_engine, place_name, transaction

__all__ = ["Imported", "Store", "default_path"]

LIMITS = {  # beyond these a figure is a mistake, not a machine
    "load_s": 86_400.0,
    "peak_bytes": 2.0**50,
    "prefill_tok_s": 1e7,
    "ttft_ms": 8.64e7,
    "decode_tok_s": 1e5,  # of one sequence
    "mbu": 20.0,  # a model that fits in cache may well beat memory
    "bandwidth_bytes_per_s": 1e14,
    "output_tok_s": 1e7,  # of all sequences
    "read_bytes_per_s": 1e14,
    "copy_bytes_per_s": 1e14,
    "ops_per_s": 1e18,
}
DRIFT = "memory_drift_bytes_per_hour"
LARGEST = 1e18  # of figures without a limit of their own
EXPORT_VERSION = 1
MAX_IMPORT_CHARACTERS = 50_000_000


@dataclass(frozen=True, slots=True)
class Imported:
    """Measurements that were added, and those that were there already."""

    added: int
    known: int


class Store:
    """Thread-safe and safe for several processes; every call opens and closes its own connection."""

    def __init__(self, place: Path | str | None = None) -> None:
        url = database_url(place or default_path())
        self.name = place_name(url)
        self.folder = Path(url.database).parent if url.get_backend_name() == "sqlite" and url.database else None
        self._engine = open_engine(url)

    def add(self, result: ProbeResult) -> None:
        """Keep one result. Absurd figures raise InputError; an unwritable, full or damaged place raises DataError."""
        check_plausible(result)
        with transaction(self._engine) as connection:
            connection.execute(delete(PROBES).where(PROBES.c.id == result.id))
            connection.execute(insert(PROBES).values(_row(result)))

    def get(self, result_id: str) -> ProbeResult | None:
        with transaction(self._engine) as connection:
            record = connection.scalar(select(PROBES.c.record).where(PROBES.c.id == result_id))
        return _read(record) if record else None

    def history(
        self,
        *,
        fingerprint: str | None = None,
        variant_id: str | None = None,
        valid_only: bool = False,
        kinds: Sequence[Kind] = (),
        limit: int = 200,
    ) -> Sequence[ProbeResult]:
        """Newest first; `kinds`: only these."""
        wanted = {"fingerprint": fingerprint, "variant_id": variant_id, "state": State.DONE if valid_only else None}
        query = select(PROBES.c.record).order_by(PROBES.c.started_at.desc(), PROBES.c.id.desc()).limit(limit)
        for name, value in wanted.items():
            if value is not None:
                query = query.where(PROBES.c[name] == str(value))
        if kinds:
            query = query.where(PROBES.c.kind.in_([str(kind) for kind in kinds]))
        with transaction(self._engine) as connection:
            records = connection.scalars(query).all()
        return [_read(record) for record in records]

    def revision(self) -> str:
        """Changes whenever a result was added; cheap to ask."""
        query = select(func.count(), func.max(PROBES.c.started_at)).select_from(PROBES)
        with transaction(self._engine) as connection:
            count, newest = connection.execute(query).one()
        return f"{count}|{newest}"

    def export_json(self) -> str:
        """Everything, with fingerprints, to pool with others."""
        results = [encode(result) for result in self.history(limit=1_000_000)]
        return json.dumps({"fathom_probes": EXPORT_VERSION, "results": results}, indent=1)

    def import_json(self, text: str) -> Imported:
        """Add results exported elsewhere, known ones once only. All or nothing: one bad record adds none."""
        results = _parse_export(text)
        for result in results:
            check_plausible(result)
            _check_moment(result)
        with transaction(self._engine) as connection:
            added = sum(_insert_new(connection, result) for result in results)
        return Imported(added, len(results) - added)


def check_plausible(result: ProbeResult) -> None:
    """Raises InputError for figures that no machine can have."""
    for name, figure in _figures(result):
        values, most = (figure.value, figure.low, figure.high), LIMITS.get(name, LARGEST)
        for value in values:
            if not (math.isfinite(value) and 0 <= value <= most):
                raise InputError(f"probe {result.id}: {name}", f"a number from 0 to {most:g}", value)
    numbers = [("duration_s", result.duration_s)]
    for name, said in result.predicted.items().items():
        numbers += [(f"predicted {name}", end) for end in (said.value, said.low, said.high)]
    numbers += [(f"position {name}", value) for point in result.points for name, value in point.at.items()]
    for name, value in numbers:
        if not math.isfinite(value) or value < 0:
            raise InputError(f"probe {result.id}: {name}", "a number from 0", value)


def _check_moment(result: ProbeResult) -> None:
    """Every list of measurements is ordered and drawn by it."""
    try:
        moment = datetime.fromisoformat(result.started_at)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputError(f"probe {result.id}: started_at", "a date and time with its zone", result.started_at)


def _figures(result: ProbeResult) -> Iterator[tuple[str, Measured]]:
    """Headline figures, sums, and those of every point: predictions learn from them, pages show them.

    Memory may shrink, so its drift has no lower end at 0.
    """
    yield from result.measured().items()
    yield from ((name, figure) for name, figure in result.figures.items() if name != DRIFT)
    for point in result.points:
        yield from point.values.items()


def _insert_new(connection: Connection, result: ProbeResult) -> int:
    """1 if the result was not there yet, else 0."""
    if connection.scalar(select(PROBES.c.id).where(PROBES.c.id == result.id)):
        return 0
    connection.execute(insert(PROBES).values(_row(result)))
    return 1


def _row(result: ProbeResult) -> dict[str, object]:
    spec = result.spec
    return {
        "id": result.id,
        "started_at": result.started_at,
        "fingerprint": result.fingerprint,
        "machine_name": result.machine_name,
        "variant_id": spec.variant_id,
        "format_id": spec.format_id,
        "engine": str(spec.engine),
        "device": spec.device,
        "kind": str(spec.kind),
        "state": str(result.state),
        "decode_tok_s": _value(result.decode_tok_s),
        "prefill_tok_s": _value(result.prefill_tok_s),
        "peak_bytes": result.peak_bytes,
        "record": json.dumps(encode(result), separators=(",", ":")),
    }


def _value(figure: Measured | None) -> float | None:
    return None if figure is None else figure.value


def _read(record: str) -> ProbeResult:
    return decode(ProbeResult, json.loads(record), where="stored probe")


def _parse_export(text: str) -> list[ProbeResult]:
    where = "imported measurements"
    if not text.strip():
        raise DataError(where, "", "", "JSON as exported by Fathom", "an empty file")
    if len(text) > MAX_IMPORT_CHARACTERS:
        raise DataError(where, "", "", f"at most {MAX_IMPORT_CHARACTERS:,} characters", len(text))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise DataError(where, "", "", "JSON as exported by Fathom", str(problem)) from problem
    if not isinstance(content, dict) or content.get("fathom_probes") != EXPORT_VERSION:
        got = content.get("fathom_probes", "nothing") if isinstance(content, dict) else type(content).__name__
        raise DataError(where, "", "fathom_probes", str(EXPORT_VERSION), got)
    rows = content.get("results")
    if not isinstance(rows, list):
        raise DataError(where, "", "results", "a list", type(rows).__name__)
    return [decode(ProbeResult, row, where=f"{where}, result {number}") for number, row in enumerate(rows, 1)]
