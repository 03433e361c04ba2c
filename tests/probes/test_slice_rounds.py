"""Extrapolation from slices: by hand, and on a simulated machine that never holds still."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean, median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog.errors import InputError
from probes.extrapolation import METHOD_ERROR, TARGET, amplification, extrapolated, median_half_width, weights_of
from probes.layers import LayerCount
from probes.need import DEFAULT_DEPTHS
from probes.slice_rounds import DECODE, PREFILL, VISIT_S, Effort, steps_of_visit, visited
from tests.probes.drifting_machine import WHOLE, DriftingMachine

SLICES = tuple(LayerCount(depth, 0) for depth in DEFAULT_DEPTHS)
ALLOWED = 0.07


def visit_of(machine: DriftingMachine) -> Callable[[LayerCount], float]:
    usual: dict[LayerCount, float] = {}

    def visit(count: LayerCount) -> float:
        steps = steps_of_visit(usual.setdefault(count, machine.step(count)))
        return fmean(machine.step(count) for _ in range(steps))

    return visit


def former(machine: DriftingMachine) -> float:
    """What six rounds of a dozen steps for each of 1, 2 and 4 layers said: the median of the lines through each."""
    depths, wholes = (1, 2, 4), []
    for _ in range(6):
        times = [fmean([machine.step(LayerCount(d, 0)) for _ in range(12)][2:]) for d in depths]
        slope, head = np.polyfit(depths, times, 1)
        wholes.append(float(head + slope * WHOLE.dense))
    return median([s for s in wholes if abs(s - median(wholes)) <= 0.25 * median(wholes)] or wholes)


def test_on_a_drifting_machine_the_whole_is_told_within_seven_percent() -> None:
    errors, covered, before = [], 0, []
    for seed in range(100):
        machine = DriftingMachine(seed)
        found = extrapolated(visited(visit_of(machine), SLICES, WHOLE, DECODE, clock=machine.clock), WHOLE)
        true = machine.true_step_s(machine.now_s)
        errors.append(abs(found.value / true - 1))
        covered += found.low <= true <= found.high
        machine = DriftingMachine(seed)
        before.append(abs(former(machine) / machine.true_step_s(machine.now_s) - 1))
    assert sum(error <= ALLOWED for error in errors) >= 95
    assert covered >= 95
    assert sum(error <= ALLOWED for error in before) < 80  # the simulation is hard enough to tell them apart


@given(st.floats(0.01, 1.0), st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_an_exact_line_is_recovered(head: float, dense: float, moe: float) -> None:
    counts = (LayerCount(1, 0), LayerCount(2, 0), LayerCount(1, 1), LayerCount(1, 2))
    seconds = {c: head + c.dense * dense + c.moe * moe for c in counts}
    slow = {c: 1.3 * s for c, s in seconds.items()}
    expected = head + 3 * dense + 58 * moe
    found = extrapolated([seconds, slow, *[seconds] * 4], LayerCount(3, 58))
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert (found.rounds, found.left_out) == (5, 1)  # one a third slower than the others that agree: disturbed
    few = extrapolated([seconds, slow, seconds], LayerCount(3, 58))
    assert (few.value, few.rounds, few.left_out) == (pytest.approx(expected, rel=1e-6), 3, 0)  # too few to judge


def test_two_depths_by_hand() -> None:
    """Head 10 ms, layers 2 ms each: 12 and 26 ms at 1 and 8 layers. T(28) = 26 + 20/7 (26 - 12) = 66 ms, so the weights
    are 27/7 and -20/7 and the amplification is sqrt((27/7 x 26)^2 + (20/7 x 12)^2) / 66 = 1.606.
    """
    counts, seconds = (LayerCount(1, 0), LayerCount(8, 0)), np.array([0.012, 0.026])
    assert weights_of(counts, seconds, WHOLE) == pytest.approx([-20 / 7, 27 / 7])
    assert amplification(counts, seconds, WHOLE) == pytest.approx(1.6056, rel=1e-3)


def test_deeper_slices_amplify_less() -> None:
    """28 layers under a head as large as five."""
    found = [
        amplification([LayerCount(d, 0) for d in depths], 5.0 + np.array(depths), WHOLE)
        for depths in ((1, 2, 4), DEFAULT_DEPTHS)
    ]
    assert found == pytest.approx([2.85, 1.49], abs=0.01)


def test_one_depth_tells_nothing_of_a_layer() -> None:
    with pytest.raises(InputError, match="slice layers"):
        extrapolated([{LayerCount(4, 0): 0.1}] * 8, WHOLE)
    exact = extrapolated([{LayerCount(4, 0): 0.1}] * 8, LayerCount(4, 0))  # nothing is extrapolated
    assert exact.value == pytest.approx(0.1)


def test_half_width_of_a_median_by_order_statistics() -> None:
    """Of 100 samples the 95 % interval of the median lies between the 41st and the 60th (both ends: (100 - 19.6) / 2 =
    40.2 left outside); of four the range counts 0.719 times; one says nothing.
    """
    assert median_half_width(np.arange(101.0, 201.0)) == pytest.approx((160 - 141) / 2 / 150.5)
    assert median_half_width(np.array([9.0, 10.0, 10.0, 11.0])) == pytest.approx(0.719 * 2 / 10)
    assert median_half_width(np.array([1.0])) == math.inf


def test_a_steady_machine_is_done_after_the_fewest_rounds() -> None:
    """And the interval is then that of the method alone."""
    rounds = visited(_steady, SLICES, WHOLE, DECODE, clock=lambda: 0.0)
    assert len(rounds) == DECODE.least
    found = extrapolated(rounds, WHOLE)
    assert found.noise == pytest.approx(0.0, abs=1e-9)
    assert math.log(found.high / found.value) == pytest.approx(METHOD_ERROR)


@pytest.mark.parametrize("effort", [DECODE, PREFILL])
def test_rounds_end_with_the_budget(effort: Effort) -> None:
    """A second a visit, wildly different: never sure, so the first round beyond the budget is the last."""
    random, now = np.random.default_rng(1), [0.0]

    def visit(count: LayerCount) -> float:
        now[0] += 1.0
        return _steady(count) * random.uniform(1.0, 3.0)

    rounds = visited(visit, SLICES, WHOLE, replace(effort, most_per_repeat=100), clock=lambda: now[0])
    per_round = len(SLICES) * (2 if effort.there_and_back else 1)
    assert len(rounds) == int(60.0 / per_round) + 1 == replace(effort, most_per_repeat=100).rounds_within(3, per_round)
    assert extrapolated(rounds, WHOLE).noise > TARGET


def test_a_fewest_number_of_rounds_is_made_however_long_they_take() -> None:
    now = iter(range(0, 10_000, 100))
    assert len(visited(_steady, SLICES, WHOLE, PREFILL, clock=lambda: float(next(now)))) == PREFILL.least


def test_rounds_end_when_there_were_enough() -> None:
    random = np.random.default_rng(2)
    rounds = visited(lambda c: _steady(c) * random.uniform(1, 3), SLICES, WHOLE, DECODE, repeats=1, clock=lambda: 0.0)
    assert len(rounds) == DECODE.most_per_repeat


def test_order_is_mirrored_within_a_round_and_what_is_beside_is_visited_too() -> None:
    seen: list[LayerCount] = []

    def visit(count: LayerCount) -> float:
        seen.append(count)
        return _steady(count)

    rounds = visited(visit, SLICES, WHOLE, DECODE, beside=(WHOLE,), clock=lambda: 0.0)
    once = [*SLICES, WHOLE]
    assert seen[:8] == [*once, *once[::-1]]
    assert set(rounds[0]) == set(once)
    seen.clear()
    visited(visit, SLICES, WHOLE, PREFILL, clock=lambda: 0.0)
    assert seen[:6] == [*SLICES, *SLICES[::-1]]


def test_steady_drift_cancels_within_a_round() -> None:
    """Every visit one percent slower than the one before."""
    slower = [1.0]

    def visit(count: LayerCount) -> float:
        slower[0] += 0.01
        return _steady(count) * slower[0]

    rounds = visited(visit, SLICES, WHOLE, DECODE, clock=lambda: 0.0)
    middle = {count: rounds[0][count] / _steady(count) for count in SLICES}
    assert len({round(value, 9) for value in middle.values()}) == 1


def test_visits_are_equally_long() -> None:
    assert (steps_of_visit(0.05), steps_of_visit(1e-4), steps_of_visit(3.0)) == (round(VISIT_S / 0.05), 12, 2)


def _steady(count: LayerCount) -> float:
    return 0.02 + 0.004 * count.dense
