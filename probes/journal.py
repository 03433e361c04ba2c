"""What a running probe has said so far, on disk: no measurement dies with the program that watches it.

One file per running probe, one JSON line per event. The program that watches the probe holds a lock on the file, which
the system releases however that program ends; a file that nobody holds becomes a stored result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import psutil

from advisor.catalog.errors import DataError, FathomError
from probes.codec import decode, encode
from probes.process import ProbeProcess
from probes.result import Event, EventKind, ProbeResult, State
from probes.resume import completed
from probes.store import Store
from probes.store_place import state_folder

try:
    import fcntl
except ImportError:  # Windows: a living process with the same number is taken for the owner
    fcntl = None  # type: ignore[assignment]

__all__ = ["Journal", "journal_folder", "recover", "settle"]

SYNC_S = 5.0  # what a power cut may take
SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Header:
    """First line: the result before anything was measured, and who watches."""

    begun: ProbeResult
    pid: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Any other line. `elapsed_s`: since the probe began."""

    elapsed_s: float
    event: Event


class Journal:
    """Of one running probe. A folder that cannot be written, or a full disk, keeps nothing and stops nothing."""

    def __init__(self, store: Store, process: ProbeProcess) -> None:
        self._path = journal_folder(store) / f"{process.identity.probe_id}{SUFFIX}"
        self._file: BinaryIO | None = None
        self._synced_s = time.monotonic()
        with contextlib.suppress(OSError):
            self._open(Header(_begun(process), os.getpid()))

    def keep(self, event: Event, elapsed_s: float) -> None:
        """Safe against the end of this process at once, against that of the machine within seconds."""
        with contextlib.suppress(OSError):
            self._write(Entry(elapsed_s, event))
            if time.monotonic() - self._synced_s >= SYNC_S:
                self._sync()

    def leave(self, result: ProbeResult) -> None:
        """The store does not take it now: the next start tries again."""
        with contextlib.suppress(OSError):
            self._write(Entry(result.duration_s, Event(EventKind.RESULT, result=result)))
            self._sync()
        self._close()

    def discard(self) -> None:
        """The result is stored, or nobody wants it."""
        self._close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _open(self, header: Header) -> None:
        """The name appears when lock and first line are there: nobody finds it half made."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_suffix(".new")
        self._file = unfinished.open("xb", buffering=0)
        _lock(self._file)
        self._write(header)
        self._sync()
        unfinished.rename(self._path)

    def _write(self, line: Header | Entry) -> None:
        """A line starts with its line break, so that one cut off by a full disk spoils no other."""
        if self._file is not None:
            self._file.write(b"\n" + json.dumps(encode(line), separators=(",", ":")).encode())

    def _sync(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._synced_s = time.monotonic()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def journal_folder(store: Store) -> Path:
    """Beside the history; for one in a database, among this user's files, apart from those of other databases."""
    if store.folder is not None:
        return store.folder / f"{Path(store.name).name}.running"
    return state_folder() / f"running-{hashlib.sha256(store.name.encode()).hexdigest()[:12]}"


def settle(store: Store, result: ProbeResult, journal: Journal) -> tuple[ProbeResult, FathomError | None]:
    """Store it, joined with what it continues. A store that fails costs no figures: they come back with the problem,
    and where it was the place that failed, the next start stores them.
    """
    try:
        result = completed(result, store)
        store.add(result)
    except DataError as problem:
        journal.leave(result)
        return result, problem
    except FathomError as problem:
        journal.discard()
        return result, problem
    journal.discard()
    return result, None


def recover(store: Store) -> tuple[str, ...]:
    """Store what other programs were watching when they were killed; the ids. Called at the start of a program.

    A store that fails leaves the files for the next start.
    """
    found = []
    for path in sorted(journal_folder(store).glob(f"*{SUFFIX}")):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if not _lock(file) or not os.fstat(file.fileno()).st_nlink:
                continue  # somebody watches it, or has just stored it
            result = _result(file)
            if result is not None and _is_settled(store, result):
                path.unlink(missing_ok=True)
                found.append(result.id)
    return tuple(found)


def _begun(process: ProbeProcess) -> ProbeResult:
    who = process.identity
    return ProbeResult(
        who.probe_id, process.spec, State.RUNNING, who.fingerprint, process.started_at, 0.0, who.machine_name,
        predicted=who.predicted, place=who.place,
    )  # fmt: skip


def _is_settled(store: Store, result: ProbeResult) -> bool:
    try:
        store.add(completed(result, store))
    except DataError:
        return False
    except FathomError:  # figures that no machine can have
        return True
    return True


def _lock(file: BinaryIO) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _result(file: BinaryIO) -> ProbeResult | None:
    """None for a file that is none of ours, or whose owner lives where locks cannot tell."""
    lines = [line for line in file.read().splitlines() if line.strip()]
    try:
        header = decode(Header, json.loads(lines[0]), where="journal")
    except (IndexError, ValueError, FathomError):
        return None
    if fcntl is None and psutil.pid_exists(header.pid):
        return None
    entries = list(_entries(lines[1:]))
    for entry in entries:
        if entry.event.result is not None:
            return entry.event.result
    return replace(
        header.begun,
        state=State.INTERRUPTED,
        duration_s=entries[-1].elapsed_s if entries else 0.0,
        points=tuple(entry.event.point for entry in entries if entry.event.point is not None),
        flags=("watcher_killed",),
    )


def _entries(lines: list[bytes]) -> Iterator[Entry]:
    for line in lines:
        with contextlib.suppress(ValueError, FathomError):  # the last one may be cut off
            yield decode(Entry, json.loads(line), where="journal")
