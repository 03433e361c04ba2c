"""A wall clock that jumps back by an hour while a probe runs, in the program that watches and in the probe itself."""

from __future__ import annotations

import ast
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from probes import process as processes
from probes.journal import Journal, recover, settle
from probes.machine import detect
from probes.process import Identity, ProbeProcess
from probes.result import State
from probes.store import Store

ROOT = Path(__file__).resolve().parents[2]
WALL_CLOCK = {("time", name) for name in ("time", "time_ns", "localtime", "gmtime", "ctime", "strftime")}
WALL_CLOCK |= {("datetime", name) for name in ("now", "today", "utcnow")} | {("date", "today")}
STAMPS = {"probes/process.py"}  # when a measurement began
JUMP = """
import time
_real, _begun = time.time, time.monotonic()
time.time = lambda: _real() - (3600.0 if time.monotonic() - _begun > 0.5 else 0.0)
time.time_ns = lambda: int(time.time() * 1e9)
"""


def wall_clock_users(folder: str) -> set[str]:
    """Files that ask what time of day it is; also `from time import time`."""
    found = set()
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            asks = (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and (node.value.id, node.attr) in WALL_CLOCK
            )
            takes = isinstance(node, ast.ImportFrom) and any((node.module, a.name) in WALL_CLOCK for a in node.names)
            if asks or takes:
                found.add(str(path.relative_to(ROOT)))
    return found


def test_only_the_stamp_of_a_measurement_asks_for_the_time_of_day():
    assert wall_clock_users("probes") == STAMPS
    assert wall_clock_users("advisor/jobs") == set()


@pytest.fixture
def jump(monkeypatch, tmp_path):
    """Half a second after its start each Python process here is an hour back; ours at once."""
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "sitecustomize.py").write_text(JUMP)
    old = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in (str(tmp_path / "early"), old) if p))

    def now() -> None:
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() - 3600.0)

    return now


def test_the_child_of_these_tests_does_see_a_jump(child, jump):
    """Else the next test would show nothing."""
    program = "import sys, time; sys.stdin.readline(); a = time.time(); time.sleep(0.7); print(time.time() - a)"
    process = child(program)
    process.result()
    assert float(process._errors[0]) < -3000


@pytest.mark.probe
def test_a_probe_measures_durations_through_a_jump(spec, store_path, jump):
    store, start = Store(store_path), time.monotonic()
    process = ProbeProcess(replace(spec, timeout_s=400.0), Identity("p1", detect().fingerprint, "box"))
    kept = Journal(store, process)
    jump()
    for event in process.events():
        kept.keep(event, process.elapsed_s)
    result, problem = settle(store, process.result(), kept)
    elapsed = time.monotonic() - start
    assert (result.state, problem) == (State.DONE, None), result.error
    assert 0 < result.duration_s <= elapsed
    moments = [point.at_s for point in result.points]
    assert moments == sorted(moments)
    assert 0 < moments[0] <= moments[-1] <= elapsed
    figures = [figure for point in result.points for figure in point.values.values()]
    assert all(0 <= figure.low <= figure.value <= figure.high for figure in figures)
    assert 0 < result.load_s.value < elapsed
    assert detect().fingerprint == result.fingerprint


def test_a_run_cut_after_a_jump_has_its_true_duration(child, store_path, jump):
    store = Store(store_path)
    process = child("import sys; sys.stdin.readline(); print('{\"kind\": \"phase\", \"phase\": \"load\"}')")
    kept = Journal(store, process)
    jump()
    for event in process.events():
        kept.keep(event, process.elapsed_s)
    kept._file.close()
    process.result()
    recover(store)
    assert 0 < store.get("p1").duration_s < 60


def test_a_history_with_a_step_back_stays_whole(monkeypatch, child, store_path):
    """The second run begins an hour before the first one by the clock; each is found, with the stamp that it had."""
    store, first = Store(store_path), child("pass")
    settle(store, first.result(), Journal(store, first))
    before = store.revision()

    class Behind(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(hours=1)

    monkeypatch.setattr(processes, "datetime", Behind)
    second = ProbeProcess(first.spec, Identity("p2", "f1", "box"), ["false"])
    settle(store, second.result(), Journal(store, second))
    assert datetime.fromisoformat(second.started_at) < datetime.fromisoformat(first.started_at)
    assert [r.id for r in store.history()] == ["p1", "p2"]
    assert [r.id for r in store.history(limit=1)] == ["p1"]
    assert store.revision() != before
    assert {r.fingerprint for r in store.history(fingerprint="f1")} == {"f1"}
    assert all(datetime.fromisoformat(r.started_at) <= datetime.now(UTC) for r in store.history())
