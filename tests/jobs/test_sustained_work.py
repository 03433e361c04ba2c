"""A measured sustained run beside its simulation: windows, percentiles, and how much the clocks fell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from advisor.catalog.errors import InputError
from advisor.jobs.sustained_work import derating_of, sustained_report, windows_of
from advisor.serving.requests import request_table
from advisor.serving.simulate import simulate
from advisor.serving.step_costs import StepCosts
from probes.machine import detect
from probes.result import Measured, Point, ProbeResult, State
from probes.spec import Kind, LoadTarget, ProbeSpec
from probes.store import Store
from probes.traffic import arrivals

COSTS = StepCosts((0, 64), (0.05, 0.05), 0.0, 0.0, 0.0, 0, 100_000, 8, 64)
TARGET = LoadTarget(requests_per_s=1.0, duration_s=120.0, slots=4, seed=3)
SPEC = ProbeSpec(
    "deepseek-r1-distill-qwen-1.5b", "int8", prompt_tokens=(64,), output_tokens=32, kind=Kind.SUSTAINED, load=TARGET
)


def points(factor=lambda t: 1.0):
    """Windows of a machine whose steps take 50 ms times `factor(t)`."""
    return tuple(
        Point(
            "window",
            {"elapsed_s": float(end)},
            {"output_tok_s": Measured.of([20.0]), "p50_tpot_ms": Measured.of([50.0 * factor(end)])},
        )
        for end in range(5, 121, 5)
    )


def simulated():
    rows = list(arrivals(SPEC, TARGET))
    columns = ("arrival_s", "prompt_tokens", "output_tokens")
    table = request_table(*(np.array([getattr(row, name) for row in rows]) for name in columns))
    return simulate(COSTS, table), table


def test_windows_count_the_tokens_of_the_requests_that_end_in_them():
    result, table = simulated()
    windows = windows_of(points(), result, table)
    assert len(windows) == 24
    ended = result.outcome.last_token_s <= 120
    assert 5 * sum(w.simulated_tok_s for w in windows) == pytest.approx(table.output_tokens[ended].sum())
    assert windows[3].simulated_tpot_ms == pytest.approx(50, rel=0.05)


def test_clocks_that_fall_are_read_from_the_windows():
    result, table = simulated()
    flat = derating_of(windows_of(points(), result, table))
    assert all(factor == pytest.approx(1, rel=0.05) for _, factor in flat)
    falling = derating_of(windows_of(points(lambda t: 1.0 if t < 60 else 1.25), result, table))
    assert falling[0][1] == pytest.approx(1, rel=0.05)
    assert falling[-1][1] == pytest.approx(1.25, rel=0.05)
    assert derating_of(windows_of(points()[:4], result, table)) == ()


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.db"))
    machine = detect()
    seen = {"p50_ttft_ms": 400.0, "p50_tpot_ms": 50.0, "output_tok_s": 30.0}
    result = ProbeResult(
        id="run1",
        spec=SPEC,
        state=State.DONE,
        fingerprint=machine.fingerprint,
        started_at="2026-11-26T00:00:00Z",
        duration_s=130.0,
        figures={name: Measured.of([value]) for name, value in seen.items()},
        points=points(),
        bandwidth_bytes_per_s=Measured.of([2e10]),
    )
    Store().add(result)
    return result


def test_a_stored_run_is_simulated_with_its_own_requests(stored):
    report = sustained_report("run1", lambda *_: None)
    assert report.requests == len(list(arrivals(SPEC, TARGET)))
    assert len(report.windows) == 24
    assert {name for name, _, _ in report.figures} == set(stored.figures)
    assert all(ours > 0 for _, _, ours in report.figures)
    assert not report.calibrated


def test_other_measurements_are_refused(stored):
    with pytest.raises(InputError, match="sustained run"):
        sustained_report("nothing", lambda *_: None)
    Store().add(replace(stored, id="run2", fingerprint="elsewhere", machine_name="another"))
    with pytest.raises(InputError, match="this machine"):
        sustained_report("run2", lambda *_: None)
