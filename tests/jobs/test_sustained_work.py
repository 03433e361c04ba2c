"""A measured sustained run beside its simulation: windows, percentiles, overload, and how much the clocks fell."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import InputError
from advisor.catalog.quantity import Basis
from advisor.cli import main
from advisor.jobs import sustained_run
from advisor.jobs.sustained_run import DRAIN_FACTOR, Replay, Simulated, replay_of
from advisor.jobs.sustained_work import NEWEST, _account, derating_of, sustained_report, windows_of
from advisor.serving.step_costs import StepCosts
from probes.machine import detect
from probes.result import Measured, Place, Point, ProbeResult, State
from probes.spec import Kind, LoadTarget, ProbeSpec
from probes.store import Store
from probes.traffic import Account, Request, arrivals

TARGET = LoadTarget(requests_per_s=1.0, duration_s=120.0, slots=4, seed=3)
SPEC = ProbeSpec(
    "deepseek-r1-distill-qwen-1.5b", "int8", prompt_tokens=(64,), output_tokens=32, kind=Kind.SUSTAINED, load=TARGET
)
STEP_S = 0.05


def served(target: LoadTarget = TARGET) -> Simulated:
    """What a server makes of the requests whose every step, prompt or token, takes 50 ms: the probe's loop as it is."""
    coming, waiting, active = deque(arrivals(replace(SPEC, load=target), target)), deque(), []
    everything, now = list(coming), 0.0
    while (coming or waiting or active) and now <= DRAIN_FACTOR * target.duration_s:
        while coming and coming[0].arrival_s <= now:
            waiting.append(coming.popleft())
        if not waiting and not active:
            now = coming[0].arrival_s
            continue
        if waiting and len(active) < target.slots:
            request = waiting.popleft()
            now += STEP_S
            request.first_token_s, request.generated = now, 1
            active.append(request)
        growing = [r for r in active if r.generated < r.output_tokens]
        now += STEP_S if growing else 0.0
        for request in growing:
            request.generated += 1
        for request in [r for r in active if r.generated >= r.output_tokens]:
            request.finished_s = now
            active.remove(request)
    return Simulated(tuple(everything), now)


def points(run: Simulated, factor=lambda t: 1.0, every: float = 5.0):
    """Windows as the probe reports them, of a machine whose steps take `factor(t)` as long."""
    found, end = [], 0.0
    while end < run.ended_s:
        start, end = end, min(end + every, run.ended_s)
        account = Account(TARGET)
        for request in run.requests:
            if request.finished_s is not None and start < request.finished_s <= end:
                account.finish(request)
        figures = account.figures(end - start)
        if "p50_tpot_ms" in figures:
            figures["p50_tpot_ms"] = Measured.of([figures["p50_tpot_ms"].value * factor(end)])
        found.append(Point("window", {"elapsed_s": end}, figures))
    return tuple(found)


def alone(run: Simulated) -> Replay:
    return Replay(run, run, run, Basis.ESTIMATED)


def test_windows_count_the_tokens_of_the_requests_that_end_in_them():
    run = served()
    windows = windows_of(points(run), alone(run))
    assert [(w.measured_finished, w.measured_tok_s) for w in windows] == [
        (w.simulated_finished, pytest.approx(w.simulated_tok_s)) for w in windows
    ]
    assert windows[-1].measured_finished == windows[-1].arrived == len(run.requests)
    spans = [b.end_s - a for a, b in zip([0.0, *(w.end_s for w in windows)], windows, strict=False)]
    tokens = sum(w.simulated_tok_s * span for w, span in zip(windows, spans, strict=True))
    assert tokens == pytest.approx(sum(r.output_tokens for r in run.requests))
    assert windows[3].simulated_tpot_ms == pytest.approx(1e3 * STEP_S, rel=0.3)


def test_clocks_that_fall_are_read_from_the_windows():
    run = served(replace(TARGET, duration_s=120.0))
    flat = derating_of(windows_of(points(run), alone(run)))
    assert all(factor == pytest.approx(1, rel=0.02) for _, factor in flat)
    falling = derating_of(windows_of(points(run, lambda t: 1.0 if t < 60 else 1.25), alone(run)))
    assert falling[0][1] == pytest.approx(1, rel=0.02)
    assert falling[-1][1] == pytest.approx(1.25, rel=0.02)
    assert derating_of(windows_of(points(run)[:4], alone(run))) == ()


def kept(run: Simulated, target: LoadTarget, result_id: str = "run1") -> ProbeResult:
    account = Account(target)
    for request in run.requests:
        if request.finished_s is not None:
            account.finish(request)
    result = ProbeResult(
        id=result_id,
        spec=replace(SPEC, load=target),
        state=State.DONE,
        fingerprint=detect().fingerprint,
        started_at="2026-11-26T00:00:00Z",
        duration_s=run.ended_s + 10,
        figures=account.figures(run.ended_s) | {"queue_length_end": Measured.of([0.0])},
        points=points(run),
        place=Place(load_catalog().hosts["server-epyc-9654-1s-768"]),
    )
    Store().add(result)
    return result


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.db"))


@pytest.fixture
def stored(store):
    return kept(served(), TARGET)


def test_a_stored_run_is_simulated_with_its_own_requests(stored):
    report = sustained_report("run1", lambda *_: None)
    assert report.requests == len(list(arrivals(SPEC, TARGET)))
    assert len(report.windows) == len(stored.points)
    assert {figure.name for figure in report.figures} <= set(stored.figures)
    assert {"p50_ttft_ms", "p99_tpot_ms", "output_tok_s", "finished_requests"} <= {f.name for f in report.figures}
    for figure in report.figures:
        assert 0 <= figure.simulated.low <= figure.simulated.value <= figure.simulated.high
        assert figure.measured.value == stored.figures[figure.name].value
    assert report.basis in (Basis.ESTIMATED, Basis.EXTRAPOLATED)  # no other probe has taught the step model
    assert sustained_report(NEWEST, lambda *_: None).result_id == "run1"


def test_an_overloaded_run_ends_for_both_at_the_same_moment(store):
    target = replace(TARGET, requests_per_s=40.0, duration_s=20.0)
    run = served(target)
    kept(run, target)
    report = sustained_report("run1", lambda *_: None)
    finished = next(f for f in report.figures if f.name == "finished_requests")
    assert 0 < finished.measured.value < report.requests
    assert 0 < finished.simulated.value < report.requests
    assert report.unfinished == (
        report.requests - finished.measured.value,
        report.requests - finished.simulated.value,
    )
    assert report.windows[-1].arrived == report.requests
    p99 = next(f for f in report.figures if f.name == "p99_ttft_ms")
    assert p99.simulated.high <= 1e3 * DRAIN_FACTOR * target.duration_s  # what came later was never seen


def test_the_rules_of_the_probe_are_those_of_the_simulation(store):
    """The simulator against the probe's own loop, with equal steps: what differs is who goes first, not how long."""
    for rate in (0.2, 0.5, 4.0):
        target = replace(TARGET, requests_per_s=rate, duration_s=300.0)
        run = served(target)
        rows = tuple(Request(r.arrival_s, r.prompt_tokens, r.output_tokens) for r in run.requests)
        costs = StepCosts((0, 96), (STEP_S, STEP_S), 0.0, 0.0, 0.0, 0, 100_000, target.slots, 96)
        ours = sustained_run._run(costs, rows, target)
        theirs, figures = _account(run, target), _account(ours, target)
        assert figures["finished_requests"].value == pytest.approx(theirs["finished_requests"].value, rel=0.02)
        assert figures["p50_tpot_ms"].value == pytest.approx(theirs["p50_tpot_ms"].value, rel=0.02)
        assert figures["p50_ttft_ms"].value == pytest.approx(theirs["p50_ttft_ms"].value, rel=0.06)


def test_the_command_says_the_same(stored, capsys):
    assert main(["simulate", "--measured", "latest", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    report = sustained_report("run1", lambda *_: None)
    assert answer["measurement"] == "run1"
    assert answer["figures"]["p95_ttft_ms"]["measured"]["value"] == stored.figures["p95_ttft_ms"].value
    assert len(answer["windows"]) == len(report.windows)
    assert main(["simulate", "--measured", "run1"]) == 0
    text = capsys.readouterr().out
    assert "P95 time to first token" in text
    assert "the public step model" in text


def test_other_measurements_are_refused(stored, capsys):
    with pytest.raises(InputError, match="sustained run"):
        sustained_report("nothing", lambda *_: None)
    Store().add(replace(stored, id="run2", fingerprint="elsewhere", machine_name="another"))
    with pytest.raises(InputError, match="this machine"):
        sustained_report("run2", lambda *_: None)
    assert main(["simulate", "--measured", "nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_in_which_nothing_arrived_is_refused(store):
    target = replace(TARGET, requests_per_s=1e-6)
    found = replace(kept(served(), TARGET), spec=replace(SPEC, load=target))
    with pytest.raises(InputError, match="requests arrived"):
        replay_of(found, target, detect(), load_catalog())
