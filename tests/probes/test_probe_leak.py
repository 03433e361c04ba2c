"""When growing memory is a leak, when it is steady, and when a run was too short to tell."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from probes.leak import FEWEST_ANSWERS, FEWEST_READINGS, Verdict, drift_per_hour, leak_flags, verdict
from probes.result import Measured, Point, State
from probes.resume import summed
from probes.spec import Kind, LoadTarget

ENOUGH = FEWEST_ANSWERS
GB = 1e9


def line(bytes_per_s: float, seconds: int = 300) -> list[tuple[float, float]]:
    """A reading every five seconds, of a process of 1 GB."""
    return [(float(t), GB + bytes_per_s * t) for t in range(0, seconds, 5)]


def noisy(bytes_per_s: float, scatter: float, seconds: int = 300, seed: int = 1) -> list[tuple[float, float]]:
    source = random.Random(seed)
    return [(t, size + source.gauss(0, scatter)) for t, size in line(bytes_per_s, seconds)]


def test_drift_by_hand():
    """Independent readings, four of them after the first third: (1, 0), (2, 3), (3, 0), (4, 3) seconds and bytes.

    Means 2.5 and 1.5, spread 5; slope 3/5. Residuals -0.6, 1.8, -1.8, 0.6: squares 7.2, which swing, so two degrees
    of freedom; t 2.762 by the formula (2.920 in tables): error 2.762 * sqrt(7.2 / 2 / 5).
    """
    drift = drift_per_hour([(-1.0, 9.0), (0.0, 9.0), (1.0, 0.0), (2.0, 3.0), (3.0, 0.0), (4.0, 3.0)])
    assert drift.value == pytest.approx(0.6 * 3600)
    assert drift.high - drift.value == pytest.approx(2.762 * 0.72**0.5 * 3600, rel=1e-3)
    assert drift.n == 4
    assert drift_per_hour(line(1000.0)).value == pytest.approx(3.6e6)
    assert drift_per_hour(line(1000.0)[:3]) is None
    assert drift_per_hour([(1.0, 5.0)] * 9) is None  # no time between them


def test_growth_beyond_a_hundredth_is_a_leak_and_less_is_none():
    """0.2 MB of 1 GB in 200 s are none; 20 MB are."""
    assert verdict(line(1000.0), ENOUGH) is Verdict.STEADY
    assert verdict(line(1e5), ENOUGH) is Verdict.GROWS
    assert verdict(line(-1e5), ENOUGH) is Verdict.STEADY
    assert leak_flags(line(1e5), ENOUGH) == ("memory_grows",)
    assert leak_flags(line(0.0), ENOUGH) == ()


def test_few_answers_or_few_readings_tell_nothing():
    """Two minutes at one request in twenty seconds: four answers, not all caches used."""
    assert leak_flags(line(1e5, 120), 4) == ("memory_undecided",)
    assert leak_flags(line(1e5), ENOUGH - 1) == ("memory_undecided",)
    least = FEWEST_READINGS * 3 // 2 - 1  # a third of them, rounded down, is left out
    assert verdict(line(1e6, 5 * least), ENOUGH) is Verdict.GROWS
    assert verdict(line(1e6, 5 * least - 5), ENOUGH) is Verdict.UNDECIDED
    assert verdict([], ENOUGH) is Verdict.UNDECIDED


def test_growth_must_exceed_what_one_reading_scatters_by():
    """15 MB in 200 s with readings that differ by 100 MB: the slope alone could be anything."""
    assert all(verdict(noisy(7.5e4, 1e8, seed=seed), ENOUGH) is not Verdict.GROWS for seed in range(50))
    assert verdict(noisy(1e5, 1e6), ENOUGH) is Verdict.GROWS


def test_an_interval_that_holds_both_answers_is_undecided():
    """About one hundredth, with an interval around it."""
    readings = noisy(5.2e4, 5e6)
    drift, hours = drift_per_hour(readings), 195 / 3600
    assert drift.low * hours < 0.01 * GB < drift.high * hours
    assert verdict(readings, ENOUGH) is Verdict.UNDECIDED


def test_one_step_is_no_steady_growth():
    """An allocator takes 100 MB once, early, in the middle or late; two such steps may be a leak."""
    for moment in (130, 195, 200, 270):
        step = [(t, GB + 1e8 * (t > moment)) for t, _ in line(0.0)]
        assert verdict(step, ENOUGH) is Verdict.UNDECIDED, moment
    stairs = [(t, GB + 1e8 * (t > 150) + 1e8 * (t > 250)) for t, _ in line(0.0)]
    assert verdict(stairs, ENOUGH) is Verdict.GROWS


def test_neighbours_that_are_alike_widen_the_interval():
    """The same readings in another order: a wave, and the same values shuffled."""
    wave = [(t, size + 5e6 * (n // 10 % 2)) for n, (t, size) in enumerate(line(0.0))]
    sizes = [size for _, size in wave]
    random.Random(3).shuffle(sizes)
    shuffled = [(t, size) for (t, _), size in zip(wave, sizes, strict=True)]
    widths = [drift_per_hour(one).high - drift_per_hour(one).low for one in (wave, shuffled)]
    assert widths[0] > 2 * widths[1]


def test_a_flat_memory_is_seldom_called_a_leak():
    """The 90 % interval misses nought upwards in one of twenty readings, and by more than a reading hardly ever."""
    wander = [noisy(0.0, 3e6, 600, seed) for seed in range(300)]
    assert sum(verdict(one, ENOUGH) is Verdict.GROWS for one in wander) == 0
    assert sum(drift_per_hour(one).low > 0 for one in wander) < 0.08 * len(wander)


def test_a_run_cut_short_gets_the_same_verdict(spec, result):
    def cut(answers: float) -> tuple[str, ...]:
        windows = [
            Point("window", {"elapsed_s": t}, {"resident_bytes": Measured.of([size])}) for t, size in line(1e5)
        ]
        tally = Point("tally", {"finished": answers, "good": 0.0, "output_tokens": 1.0, "seconds": 300.0}, {})
        load = replace(spec, kind=Kind.SUSTAINED, load=LoadTarget(1.0, 600.0))
        run = replace(result("cut"), spec=load, state=State.INTERRUPTED, points=(*windows, tally), flags=())
        return summed(run).flags

    assert cut(100.0) == ("memory_grows",)
    assert cut(4.0) == ("memory_undecided",)
