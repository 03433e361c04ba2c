"""The table of measurements in any database that SQLAlchemy reaches: SQLite for one machine, PostgreSQL for a team."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    MetaData,
    NullPool,
    String,
    Table,
    Text,
    create_engine,
    inspect,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from advisor.catalog.errors import DataError, InputError

__all__ = ["PROBES", "database_url", "open_engine", "place_name", "transaction"]

PROBES = Table(
    "probe",
    MetaData(),
    Column("id", String(80), primary_key=True),
    Column("started_at", String(40), nullable=False),
    Column("fingerprint", String(80), nullable=False),
    Column("machine_name", Text, nullable=False),
    Column("variant_id", String(120), nullable=False),
    Column("format_id", String(120), nullable=False),
    Column("engine", String(40), nullable=False),
    Column("device", String(120), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("state", String(40), nullable=False),
    Column("decode_tok_s", Float),
    Column("prefill_tok_s", Float),
    Column("peak_bytes", BigInteger),
    Column("record", Text, nullable=False),
    Index("probe_by_machine", "fingerprint", "started_at"),
)
BUSY_SECONDS, BUSY_PAUSE_S = 10.0, 0.02


def database_url(place: Path | str) -> URL:
    """A file, or an SQLAlchemy URL such as `postgresql+psycopg://user@host/fathom`. Raises InputError."""
    if "://" not in str(place):
        return URL.create("sqlite", database=str(place))
    try:
        url = make_url(str(place))
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as problem:
        raise InputError("FATHOM_STORE", "a file, or an SQLAlchemy database URL", str(problem)) from problem
    return url


def place_name(url: URL) -> str:
    """The file, or the URL without its password: safe to show."""
    if url.get_backend_name() == "sqlite" and url.database:
        return url.database
    return url.render_as_string(hide_password=True)


def open_engine(url: URL) -> Engine:
    """An engine that opens a connection per transaction, so that forks and killed processes leave nothing behind."""
    timeout = {"timeout": BUSY_SECONDS} if url.get_backend_name() == "sqlite" else {}
    try:
        return create_engine(url, poolclass=NullPool, connect_args=timeout)
    except ModuleNotFoundError as problem:
        expected = f"the driver '{problem.name}' (pip install 'psycopg[binary]' for PostgreSQL)"
        raise DataError(place_name(url), "", "", expected) from problem


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Commits, or rolls back when the body fails. Raises DataError with the cause in words."""
    where = place_name(engine.url)
    try:
        _make_folder(engine.url)
        with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                _log_ahead(connection)
            _make_table(connection)
            yield connection
    except OSError as problem:
        raise DataError(where, "", "", "a folder that can be written", str(problem)) from problem
    except SQLAlchemyError as problem:
        cause = str(getattr(problem, "orig", None) or problem).strip().splitlines()[0]
        raise DataError(where, "", "", _expected(cause), cause) from problem


def _log_ahead(connection: Connection) -> None:
    """SQLite's write-ahead log. Of several that switch a new file to it at once, all but one are told that it is
    locked: here, unlike elsewhere, SQLite does not wait by itself.
    """
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.exec_driver_sql("pragma journal_mode = wal")
            return
        except OperationalError as problem:
            if "locked" not in str(problem.orig) or time.monotonic() > end:
                raise
            time.sleep(BUSY_PAUSE_S)


def _make_table(connection: Connection) -> None:
    """Only where it is missing; "if not exists" because several writers may find it missing at once."""
    if inspect(connection).has_table(PROBES.name):
        return
    connection.execute(CreateTable(PROBES, if_not_exists=True))
    for index in PROBES.indexes:
        connection.execute(CreateIndex(index, if_not_exists=True))


def _make_folder(url: URL) -> None:
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def _expected(cause: str) -> str:
    text = cause.lower()
    if "full" in text or "no space" in text:
        return "free space on the disk (the measurement was not stored; earlier ones are intact)"
    if "disk i/o" in text:
        return "a disk that takes writes (the measurement was not stored; earlier ones are intact)"
    if "malformed" in text or "not a database" in text:
        return "an intact SQLite file (move it aside to start a new history)"
    if "readonly" in text:
        return "a file that can be written"
    if "unable to open" in text:
        return "a folder that can be written"
    if "connection" in text or "refused" in text or "authentication" in text:
        return "a database that answers"
    return "a working database"
