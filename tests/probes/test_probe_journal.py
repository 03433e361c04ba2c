"""What is kept of a probe whose watcher was killed. The kill itself is in tests/jobs/test_registry.py."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from advisor.catalog.errors import DataError
from probes import journal as journals
from probes.codec import encode
from probes.journal import Journal, journal_folder, recover, settle
from probes.process import Identity, ProbeProcess
from probes.result import Event, EventKind, Measured, Point, State
from probes.resume import continuation, totals
from probes.spec import Kind, LoadTarget
from probes.store import Store
from probes.traffic import Account, Request

LOAD = LoadTarget(requests_per_s=1.0, duration_s=60.0, slots=2)


def window(at_s: float, ttft_ms: float) -> list[Point]:
    """Ten requests within five seconds, as a sustained run reports them."""
    account = Account(LOAD)
    for _ in range(10):
        account.finish(Request(0.0, 8, 4, ttft_ms / 1e3, ttft_ms / 1e3 + 0.3, 4))
    values = {**account.figures(5.0), "resident_bytes": Measured.of([1e9])}
    return [
        Point("window", {"elapsed_s": at_s}, values, at_s=at_s),
        Point("tally", account.tally(5.0), {}, at_s=at_s),
        Point("histogram", account.ttft_ms.bins(), {}, "ttft_ms", at_s),
        Point("histogram", account.tpot_ms.bins(), {}, "tpot_ms", at_s),
    ]


@pytest.fixture
def cut(child, store_path):
    """A sustained run with two windows whose watcher is gone; nothing tidied up."""

    def make(store: Store, **changes: object) -> ProbeProcess:
        points = [point for at_s in (5.0, 10.0) for point in window(at_s, 100.0 * at_s)]
        lines = [json.dumps(encode(Event(EventKind.POINT, point=point))) for point in points]
        program = f"import sys; sys.stdin.readline(); print({chr(10).join(lines)!r})"
        process = child(program, kind=Kind.SUSTAINED, load=LOAD, **changes)
        kept = Journal(store, process)
        for event in process.events():
            kept.keep(event, 12.5)
        kept._file.close()
        process.result()
        return process

    return make


def test_a_cut_run_comes_back_with_percentiles_and_can_be_resumed(cut, store_path):
    store = Store(store_path)
    process = cut(store)
    assert store.history() == []
    assert recover(store) == ("p1",)
    found = store.get("p1")
    flags = ("watcher_killed", "memory_undecided")  # too few readings to tell whether memory grew
    assert (found.state, found.flags, found.duration_s) == (State.INTERRUPTED, flags, 12.5)
    assert (found.started_at, found.fingerprint, found.machine_name) == (process.started_at, "f1", "box")
    assert found.figures["finished_requests"].value == 20
    assert found.figures["p50_ttft_ms"].value == pytest.approx(500, rel=0.01)
    assert found.figures["p99_ttft_ms"].value == pytest.approx(1000, rel=0.01)
    rest = continuation(process.spec, found)
    assert (rest.load.duration_s, rest.load.elapsed_before_s, rest.load.resume_id) == (50.0, 10.0, "p1")
    assert recover(store) == ()


def test_a_continuation_that_is_cut_is_joined_with_the_first_part(cut, store_path, result):
    store = Store(store_path)
    first = result("first", points=tuple(window(5.0, 500.0)), state=State.CANCELLED)
    store.add(replace(first, spec=replace(first.spec, kind=Kind.SUSTAINED, load=LOAD)))
    process = cut(store)
    path = journal_folder(store) / "p1.jsonl"
    lines = path.read_text().split("\n")
    header = json.loads(lines[1])
    header["begun"]["spec"]["load"]["resume_id"] = "first"
    path.write_text("\n".join(["", json.dumps(header), *lines[2:]]))
    recover(store)
    assert store.get("p1").figures["finished_requests"].value == 30
    assert totals(store.get("p1").points, process.spec.load)[1] == 15.0


def test_a_line_cut_off_costs_only_itself(cut, store_path):
    store = Store(store_path)
    cut(store)
    path = journal_folder(store) / "p1.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    recover(store)
    assert len(store.get("p1").points) == 7


def test_what_is_no_journal_is_left_alone(store_path):
    store = Store(store_path)
    folder = journal_folder(store)
    folder.mkdir(parents=True)
    (folder / "x.jsonl").write_text("notes\n")
    (folder / "y.jsonl").write_text("")
    assert recover(store) == ()
    assert {p.name for p in folder.iterdir()} == {"x.jsonl", "y.jsonl"}


def test_a_result_that_the_store_could_not_take_is_stored_later(child, store_path, monkeypatch):
    store = Store(store_path)
    process = child("pass")
    kept = Journal(store, process)
    finished = replace(process.result(), state=State.DONE, decode_tok_s=Measured.of([7.0]))

    def full(_: object) -> None:
        raise DataError("probes.sqlite", "", "", "free space on the disk")

    monkeypatch.setattr(store, "add", full)
    same, problem = settle(store, finished, kept)
    assert same == finished
    assert "free space" in str(problem)
    assert recover(store) == ()  # still full: nothing is given up
    monkeypatch.undo()
    assert recover(store) == ("p1",)
    assert store.get("p1") == finished


def test_absurd_figures_are_not_tried_again(child, store_path):
    store = Store(store_path)
    process = child("pass")
    kept = Journal(store, process)
    absurd = replace(process.result(), decode_tok_s=Measured.of([1e9]))
    _, problem = settle(store, absurd, kept)
    assert "decode_tok_s" in str(problem)
    assert list(journal_folder(store).iterdir()) == []


def test_a_history_in_a_database_keeps_journals_with_the_users_files(monkeypatch, tmp_path, spec):
    """Two databases never see each other's; a password is no part of which database it is."""
    monkeypatch.setattr(journals, "state_folder", lambda: tmp_path)

    class Remote:
        def __init__(self, name: str) -> None:
            self.name, self.folder = name, None

    one, two = (journal_folder(Remote(f"postgresql://host/{n}")) for n in ("a", "b"))
    assert one != two
    assert one.parent == tmp_path


def test_without_a_place_for_journals_a_probe_runs_all_the_same(tmp_path, spec, child):
    blocker = tmp_path / "file"
    blocker.write_text("")
    store, process = Store(blocker / "x.sqlite"), child("pass")
    kept = Journal(store, process)
    kept.keep(Event(EventKind.PHASE, phase="load"), 1.0)
    _, problem = settle(store, process.result(), kept)
    assert isinstance(problem, DataError)


def test_the_lock_is_what_tells_a_living_watcher(child, store_path):
    store = Store(store_path)
    process = child("pass")
    kept = Journal(store, process)
    assert recover(store) == ()
    kept.discard()
    assert recover(store) == ()
    process.result()
    assert Identity("p1", "f1", "box") == process.identity
