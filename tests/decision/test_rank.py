"""Scores and the Pareto front against plain definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from advisor.decision.rank import axis_scores, best_per_group, chance_within, pareto_front, weighted
from advisor.decision.scenario import Axis

POINTS = st.lists(st.tuples(*[st.integers(0, 4)] * 4), min_size=1, max_size=40)


def _scores(points: list[tuple[int, ...]]) -> dict[Axis, np.ndarray]:
    columns = np.array(points, dtype=np.float64).T / 4
    return dict(zip(Axis, columns, strict=True))


@given(POINTS)
def test_front_is_what_nothing_dominates(points: list[tuple[int, ...]]) -> None:
    front = pareto_front(_scores(points))
    for i, point in enumerate(points):
        dominated = any(all(a >= b for a, b in zip(q, point, strict=True)) and q != point for q in points)
        assert front[i] == (not dominated)


def test_axis_ends() -> None:
    scores = axis_scores(
        np.array([0.0, 100.0, np.nan]),
        np.array([1e7, 1.0, np.nan]),
        np.array([1000.0, 0.01, np.inf]),
        np.array([1e6, 1.0, np.nan]),
    )
    for values in scores.values():
        assert values.tolist() == [0.0, 1.0, 0.0]


def test_one_decade_of_cost_is_a_seventh() -> None:
    ones = np.ones(2)
    scores = axis_scores(ones, np.array([100.0, 1000.0]), ones, ones)
    assert np.isclose(scores[Axis.COST][0] - scores[Axis.COST][1], 1 / 7)


def test_weighted_mean() -> None:
    scores = _scores([(4, 0, 2, 0), (0, 4, 0, 0)])
    weights = {Axis.QUALITY: 0.75, Axis.COST: 0.25}
    assert weighted(scores, weights).tolist() == [0.75, 0.25]


def test_best_per_group_keeps_the_first_of_equals() -> None:
    rows = best_per_group(np.array([1, 1, 2, 2]), np.array([0.5, 0.5, 0.9, 0.1]))
    assert rows.tolist() == [2, 0]


def test_chance_within_the_ends_of_its_interval() -> None:
    value, factor = np.array([100.0, 100.0, 100.0]), np.array([1.5, 1.5, 1.0])
    chance = [chance_within(value, factor, limit) for limit in (100.0, 150.0, 200.0)]
    assert np.allclose(chance[0][:2], 0.5, atol=1e-6)
    assert np.allclose(chance[1][:2], 0.95, atol=1e-4)
    assert chance[2][2] == 1.0


def test_faster_than_half_of_what_is_allowed_earns_nothing() -> None:
    ones = np.ones(3)
    scores = axis_scores(ones, ones, np.array([1.0, 10.0, 100.0]), ones, allowed_s=20.0)[Axis.LATENCY]
    assert scores.tolist() == [1.0, 1.0, 0.8]
