"""`advisor probe`: load a variant on this machine, measure it, and compare with what was foreseen."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import DataError, FathomError, InputError, NotHereError
from advisor.catalog.text import translate
from advisor.catalog.units import format_bytes
from advisor.commands.probe_fleet import run_fleet
from advisor.commands.probe_output import as_json, language, print_result, show_progress
from advisor.commands.probe_spec import add_spec_arguments, spec_from
from advisor.evidence.in_force import known
from advisor.report.problems import problem_text
from probes.device_lock import DeviceLock
from probes.foresee import NOTHING_FORESEEN, Foresight, foresee
from probes.journal import Journal, recover, settle
from probes.machine import detect
from probes.machine_records import Machine
from probes.place import with_own
from probes.process import Identity, ProbeProcess, new_probe_id
from probes.result import ProbeResult, State
from probes.resume import completed, continuation
from probes.spec import ProbeSpec
from probes.store import Store

__all__ = ["HELP", "add_arguments", "run"]

HELP = "load a variant here and measure it"
NOTHING_FITS = 3
NOT_MEASURED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_spec_arguments(parser)
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.add_argument("--fleet", metavar="ADDRESS", help="measure every node or GPU of this Ray cluster")
    parser.add_argument("--no-store", action="store_true", help="do not keep the result")
    parser.add_argument("--export", metavar="FILE", help="write all stored measurements as JSON and end")
    parser.add_argument("--import", dest="import_file", metavar="FILE", help="add exported measurements and end")


def run(arguments: argparse.Namespace) -> int:
    store = Store()
    recover(store)
    if arguments.export:
        return _export(store, Path(arguments.export))
    if arguments.import_file:
        return _import(store, Path(arguments.import_file))
    found, machine = known(load_catalog()), detect()
    catalog = found.catalog
    spec, history = spec_from(arguments, catalog), _history(store, machine.fingerprint)
    catalog = with_own(catalog, spec)
    if arguments.fleet:
        kept = None if arguments.no_store else store
        return run_fleet(spec, arguments.fleet, _history(store), as_json=arguments.json, store=kept)
    if spec.load is not None and spec.load.resume_id:
        spec = continuation(spec, _earlier(store, spec.load.resume_id))
    foresight, refused = _foreseen(spec, machine, catalog, history)
    spec = foresight.runs or spec
    spec = foresight.patient(spec) if arguments.timeout is None else spec
    if refused is not None:
        result, remark = refused, ""
    else:
        result, remark = _measure(spec, machine, foresight, store, keep=not arguments.no_store)
    if arguments.json:
        sys.stdout.write(json.dumps(as_json(result, foresight, remark), indent=1) + "\n")
    else:
        print_result(result, foresight, remark)
    return {State.DONE: 0, State.REFUSED: NOTHING_FITS}.get(result.state, NOT_MEASURED)


def _measure(
    spec: ProbeSpec, machine: Machine, foresight: Foresight, store: Store, *, keep: bool
) -> tuple[ProbeResult, str]:
    """Runs the child in the foreground; Ctrl-C cancels it and keeps what was measured. Returns the result, and where
    it is stored or why it is not. Raises InputError while another process probes the device.
    """
    lock = DeviceLock(None if spec.endpoint else store.folder, spec.device)
    lock.take()
    who = new_probe_id(), machine.fingerprint, machine.name
    identity = Identity(*who, foresight.prediction, foresight.place)
    process = ProbeProcess(spec, identity)
    journal = Journal(store, process) if keep else None
    try:
        for event in process.events():
            if journal is not None:
                journal.keep(event, process.elapsed_s)
            show_progress(event, process.elapsed_s)
    except KeyboardInterrupt:
        process.cancel()
    result = process.result()
    lock.release()
    return (completed(result, store), "") if journal is None else _stored(store, result, journal)


def _stored(store: Store, result: ProbeResult, journal: Journal) -> tuple[ProbeResult, str]:
    result, problem = settle(store, result, journal)
    if problem is not None:
        return result, translate(language(), "probes.command.not_stored", reason=problem)
    return result, translate(language(), "probes.command.stored", id=result.id, path=store.name)


def _foreseen(
    spec: ProbeSpec, machine: Machine, catalog: Catalog, history: Sequence[ProbeResult]
) -> tuple[Foresight, ProbeResult | None]:
    """What is foreseen, and the answer where nothing need be started: it would not fit, or cannot be computed here."""
    try:
        foresight = foresee(spec, machine, catalog, history)
    except NotHereError as problem:
        return NOTHING_FORESEEN, _refusal(spec, machine, NOTHING_FORESEEN, problem_text(problem, language()))
    if foresight.refused is None:
        return foresight, None
    needed, allowed = (format_bytes(size) for size in foresight.refused)
    text = translate(language(), "probes.command.refused", needed=needed, allowed=allowed)
    return foresight, _refusal(spec, machine, foresight, text)


def _refusal(spec: ProbeSpec, machine: Machine, foresight: Foresight, text: str) -> ProbeResult:
    return ProbeResult(
        id=new_probe_id(),
        spec=spec,
        state=State.REFUSED,
        fingerprint=machine.fingerprint,
        started_at="",
        duration_s=0.0,
        machine_name=machine.name,
        predicted=foresight.prediction,
        error=text,
    )


def _earlier(store: Store, probe_id: str) -> ProbeResult:
    found = store.get(probe_id)
    if found is None or found.spec.load is None:
        raise InputError("resume", "the id of a stored sustained run", probe_id)
    return found


def _history(store: Store, fingerprint: str | None = None) -> list[ProbeResult]:
    """Earlier measurements, of one machine or all, help to foresee; a damaged store must not stop a new one."""
    try:
        return list(store.history(fingerprint=fingerprint, valid_only=True))
    except FathomError as problem:
        sys.stderr.write(translate(language(), "probes.command.not_stored", reason=problem) + "\n")
        return []


def _export(store: Store, path: Path) -> int:
    try:
        path.write_text(store.export_json(), encoding="utf-8")
    except OSError as problem:
        raise DataError(str(path), "", "", "a file that can be written", problem.strerror) from problem
    return 0


def _import(store: Store, path: Path) -> int:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(str(path), "", "", "a readable file of exported measurements", str(problem)) from problem
    found = store.import_json(text)
    sys.stdout.write(translate(language(), "probes.command.imported", count=found.added, known=found.known) + "\n")
    return 0
