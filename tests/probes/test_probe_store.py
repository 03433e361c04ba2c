from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from advisor.catalog.errors import DataError, InputError
from probes import store_tables
from probes.codec import encode
from probes.result import Measured, Point, State
from probes.store import Imported, Store, default_path

FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from advisor.catalog.errors import DataError
from probes.codec import decode
from probes.result import ProbeResult
from probes.store import Imported, Store
import json, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path(sys.argv[1]))
result = decode(ProbeResult, json.loads(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (Path(sys.argv[1]).stat().st_size, resource.RLIM_INFINITY))
from dataclasses import replace
try:
    for i in range(200):
        store.add(replace(result, id=f"extra{i}", error="x" * 4000))
except DataError as problem:
    print("DataError", problem)
"""


def test_history_is_newest_first_and_filtered(store_path, result):
    store = Store(store_path)
    store.add(result("a", started_at="2026-01-01T00:00:00+00:00"))
    store.add(result("b", started_at="2026-02-01T00:00:00+00:00", state=State.FAILED, error="x"))
    store.add(result("c", started_at="2026-03-01T00:00:00+00:00", fingerprint="f2"))
    assert [r.id for r in store.history()] == ["c", "b", "a"]
    assert [r.id for r in store.history(fingerprint="f1")] == ["b", "a"]
    assert [r.id for r in store.history(fingerprint="f1", valid_only=True)] == ["a"]
    assert store.get("a") == result("a", started_at="2026-01-01T00:00:00+00:00")
    assert store.get("nobody") is None


@pytest.mark.parametrize("tok_s", [1_000_000.0, float("nan"), float("inf"), -1.0])
def test_absurd_figures_are_refused(store_path, result, tok_s):
    store = Store(store_path)
    with pytest.raises(InputError, match="decode_tok_s"):
        store.add(result(decode_tok_s=Measured(tok_s, tok_s, tok_s)))
    assert store.history() == []


def test_absurd_points_are_refused_too(store_path, result):
    """Points feed the calibration, so a peer's million tokens per second must not hide there."""
    figure = Measured(1e6, 1e6, 1e6)
    run = result(points=(Point("decode", {"context_tokens": 512, "batch": 1}, {"decode_tok_s": figure}),))
    with pytest.raises(InputError, match="decode_tok_s"):
        Store(store_path).add(run)


def test_export_and_import_pool_machines(store_path, tmp_path, result):
    ours, theirs = Store(store_path), Store(tmp_path / "theirs.sqlite")
    ours.add(result("a"))
    theirs.add(result("b", fingerprint="f2"))
    assert theirs.import_json(ours.export_json()) == Imported(1, 0)
    assert theirs.import_json(ours.export_json()) == Imported(0, 1)
    assert {(r.id, r.fingerprint) for r in theirs.history()} == {("a", "f1"), ("b", "f2")}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"fathom_probes": 9}', '{"fathom_probes": 1}', '{"fathom_probes": 1, "results": [{"id": 1}]}'],
)
def test_broken_imports_change_nothing(store_path, result, text):
    store = Store(store_path)
    store.add(result("a"))
    with pytest.raises(DataError):
        store.import_json(text)
    assert [r.id for r in store.history()] == ["a"]


def test_one_absurd_record_rejects_the_whole_import(store_path, result):
    good, bad = encode(result("good")), encode(result("bad", tok_s=1e9))
    with pytest.raises(InputError):
        Store(store_path).import_json(json.dumps({"fathom_probes": 1, "results": [good, bad]}))
    assert Store(store_path).history() == []


BAD_CHANGES = {
    "peak_bytes": float("inf"),
    "started_at": "2026-13-45",  # would break every list that is ordered by time
    "duration_s": float("nan"),
    "id": None,
    "figures": {"output_tok_s": {"value": 1e9, "low": 1e9, "high": 1e9}},
    "predicted": {"decode_tok_s": {"value": float("inf"), "low": 1, "high": 2, "basis": "measured"}},
    "points": [{"name": "decode", "at": [1, 2]}],
    "conditions": {"gpu": "hot"},
}


@pytest.mark.parametrize("field", BAD_CHANGES)
def test_a_record_that_would_break_a_page_is_named_and_refused(store_path, result, field):
    record = {**encode(result("odd")), field: BAD_CHANGES[field]}
    with pytest.raises((DataError, InputError), match=r"result 2|probe odd"):
        Store(store_path).import_json(json.dumps({"fathom_probes": 1, "results": [encode(result("good")), record]}))
    assert Store(store_path).history() == []


def test_positions_must_be_numbers(store_path, result):
    run = result("odd", points=(Point("decode", {"batch": float("nan")}, {"decode_tok_s": Measured.of([1.0])}),))
    with pytest.raises(InputError, match="position batch"):
        Store(store_path).add(run)


def test_memory_may_shrink(store_path, result):
    drift = {"memory_drift_bytes_per_hour": Measured(-1e6, -2e6, 1e6)}
    Store(store_path).add(result("steady", figures=drift))
    assert Store(store_path).get("steady").figures == drift


@pytest.mark.parametrize(
    ("text", "got"), [("  ", "an empty file"), ("[" * 100_000, "recursion"), ("\0x" * 500_000, "JSON")]
)
def test_what_is_no_export_is_one_message(store_path, text, got):
    with pytest.raises(DataError, match=got):
        Store(store_path).import_json(text)


def test_a_full_disk_is_explained_and_history_stays(store_path, result):
    store = Store(store_path)
    store.add(result("kept"))
    sqlite3.connect(store_path).execute("pragma wal_checkpoint(truncate)")
    record = json.dumps(encode(result("new")))
    child = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(store_path), record], capture_output=True, text=True, check=False
    )
    assert child.stdout.startswith("DataError"), child.stderr
    assert "not stored" in child.stdout
    assert store.get("kept") == result("kept")


def test_a_damaged_file_is_named_and_left_alone(store_path, result):
    store_path.parent.mkdir()
    store_path.write_bytes(b"this is not a database, but somebody's notes" * 100)
    before = store_path.read_bytes()
    with pytest.raises(DataError, match=r"probes\.sqlite.*intact SQLite file"):
        Store(store_path).add(result())
    assert store_path.read_bytes() == before


def test_an_unusable_folder_is_explained(tmp_path, result):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(DataError, match="folder that can be written"):
        Store(blocker / "probes.sqlite").add(result())


def test_many_writers_at_once_lose_nothing(store_path, result):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: Store(store_path).add(result(f"r{i}")), range(24)))
    assert len(Store(store_path).history()) == 24


@pytest.mark.parametrize(
    ("answers", "patience_s", "tries", "outcome"),
    [
        (["database is locked"] * 3, 60.0, 4, nullcontext()),
        (["database is locked"] * 99, 10.0, 3, pytest.raises(OperationalError, match="locked")),
        (["disk I/O error"], 60.0, 1, pytest.raises(OperationalError, match="disk")),
    ],
)
def test_a_new_file_that_others_are_switching_is_waited_for(monkeypatch, answers, patience_s, tries, outcome):
    """SQLite says at once that it is locked there, whatever its timeout. The clock moves 5 s at each look."""
    clock, tried = itertools.count(step=5), []

    def switch(statement: str) -> None:
        tried.append(statement)
        if len(tried) <= len(answers):
            raise OperationalError(statement, None, sqlite3.OperationalError(answers[len(tried) - 1]))

    stopped = SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _seconds: None)
    monkeypatch.setattr(store_tables, "time", stopped)
    monkeypatch.setattr(store_tables, "BUSY_SECONDS", patience_s)
    with outcome:
        store_tables._log_ahead(SimpleNamespace(exec_driver_sql=switch))
    assert len(tried) == tries


def test_the_same_id_is_replaced(store_path, result):
    store = Store(store_path)
    store.add(result("a", state=State.CANCELLED))
    store.add(replace(result("a")))
    assert [r.state for r in store.history()] == [State.DONE]


def test_path_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "x.sqlite"))
    assert default_path() == tmp_path / "x.sqlite"
    monkeypatch.delenv("FATHOM_STORE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path().name == "probes.sqlite"
