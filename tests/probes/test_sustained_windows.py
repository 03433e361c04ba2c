"""Runs of many hours, on a clock that only the run itself moves."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from probes.codec import encode
from probes.histogram import Histogram
from probes.kinds import sustained
from probes.measure import Reporter
from probes.result import State
from probes.resume import continuation, summed, totals
from probes.spec import LoadTarget
from probes.traffic import MOST_WINDOWS, Account, Request, window_s

HOUR_S, DAY_S = 3600.0, 86_400.0


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, _: float) -> None:
        self.now += 1.0


class Engine:
    """A prompt takes two seconds, a step of all sequences half a second; the step slows with the hours."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def prefill(self, *_: object) -> None:
        self.clock.now += 2.0

    def step(self, _: object) -> None:
        self.clock.now += 0.5 + self.clock.now / DAY_S


def serve(monkeypatch, spec, target):
    clock = Clock()
    monkeypatch.setattr(sustained, "time", clock)
    sent = []
    reporter = Reporter(lambda *_: None, sent.append)
    session = SimpleNamespace(
        spec=replace(spec, load=target), reporter=reporter, device=SimpleNamespace(type="cpu"), gauges=dict
    )
    whole, seconds, memory, _ = sustained._serve(session, Engine(clock), target)
    return whole, seconds, memory, tuple(sent)


@pytest.mark.parametrize(
    ("duration_s", "expected_s"),
    [(60.0, 5.0), (HOUR_S, 5.0), (5000.0, 5.0), (3 * HOUR_S, 10.8), (DAY_S, 86.4), (7 * DAY_S, 604.8)],
)
def test_windows_grow_with_the_length_of_the_run(duration_s, expected_s):
    """Twice the length / 2,000: a run that cannot be held drains for as long again."""
    assert window_s(LoadTarget(duration_s=duration_s)) == pytest.approx(expected_s)


@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_a_day_leaves_at_most_two_thousand_windows_and_exact_percentiles(monkeypatch, spec, rate):
    """Held, and not held: the second drains."""
    target = LoadTarget(rate, DAY_S, slots=2)
    whole, seconds, memory, points = serve(monkeypatch, spec, target)
    windows = [p for p in points if p.name == "window"]
    assert seconds > (1.2 if rate > 0.1 else 0.99) * DAY_S
    assert 0.3 * MOST_WINDOWS < len(windows) <= MOST_WINDOWS
    assert len(memory) >= len(windows) - 1
    assert len(json.dumps([encode(p) for p in points])) < 8e6
    merged, summed_s = totals(points, target)
    assert summed_s == pytest.approx(seconds, rel=0.01)
    assert (merged.finished, merged.good, merged.output_tokens) == (whole.finished, whole.good, whole.output_tokens)
    assert merged.figures(seconds) == whole.figures(seconds)
    assert whole.finished > 0.9 * rate * DAY_S or rate > 0.1


def test_merged_windows_keep_each_request_in_its_bin():
    """Percentiles of many small histograms are those of one, and within half a bin of the values themselves."""
    values = [10.0 * 1.001**n for n in range(5000)]
    whole, merged = Histogram(), Histogram()
    for first in range(0, len(values), 7):
        window = Histogram()
        for value in values[first : first + 7]:
            window.add(value)
            whole.add(value)
        merged.merge(Histogram(window.bins()))
    for share in (0.5, 0.95, 0.99):
        assert merged.percentile(share) == whole.percentile(share)
        assert merged.percentile(share) == pytest.approx(values[round(share * 5000) - 1], rel=0.0051)


def test_a_continuation_has_the_windows_of_the_whole(monkeypatch, spec, result):
    """Cut after a part of its day, continued to its end: no more windows than in one go."""
    target = LoadTarget(0.05, DAY_S, slots=2)
    *_, points = serve(monkeypatch, spec, target)
    earlier, load = points[: 4 * 300], replace(spec, load=target)
    cut = summed(replace(result("cut"), spec=load, state=State.INTERRUPTED, points=earlier))
    rest = continuation(spec, cut).load
    assert window_s(rest) == pytest.approx(window_s(target))
    *_, later = serve(monkeypatch, spec, rest)
    windows = [p for p in (*earlier, *later) if p.name == "window"]
    assert len(windows) < MOST_WINDOWS
    assert [p.at["elapsed_s"] for p in windows] == sorted(p.at["elapsed_s"] for p in windows)


@pytest.mark.parametrize(("seconds", "has_rates"), [(0.05, False), (5.0, True)])
def test_the_short_rest_of_a_run_has_no_rates(seconds, has_rates):
    """32 tokens in the last twentieth of a second are no 640 tokens per second; they count all the same."""
    window = Account(LoadTarget(1.0, 300.0))
    window.finish(Request(0.0, 128, 32, first_token_s=1.0, finished_s=5.0, generated=32))
    points = []
    session = SimpleNamespace(reporter=Reporter(lambda *_: None, points.append), gauges=dict)
    sustained._report(session, window, sustained.Server(None, 1), 600.0, seconds)
    values, tally = points[0].values, points[1].at
    assert ("output_tok_s" in values) is has_rates
    assert ("goodput_requests_per_s" in values) is has_rates
    assert values["finished_requests"].value == 1
    assert (tally["output_tokens"], tally["seconds"]) == (32, seconds)
