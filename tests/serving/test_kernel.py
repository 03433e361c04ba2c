"""The macro-stepping engine equals an oracle that takes one iteration at a time."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.requests import request_table
from advisor.serving.simulate import simulate, simulate_fleet
from advisor.serving.step_costs import StepCosts

from .oracle import Oracle

TOLERANCE_S = 1e-9


def costs(*, budget=2048, seats=256, cache=450_000, dp=1):
    ntok = tuple(range(0, budget + 1, 64))
    seconds = tuple(0.012 + 1e-5 * min(n, 64) + 3e-5 * max(0, n - 64) for n in ntok)
    return StepCosts(ntok, seconds, 7e-8, 1.2e-7, 1.5e-9, 256, cache, seats, budget, dp)


def traffic(n, rate, mean_input, mean_output, seed, *, hits=False, longest=6000):
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate, n))
    inputs = np.clip(np.rint(rng.lognormal(np.log(mean_input), 0.8, n)), 1, longest).astype(int)
    outputs = np.clip(np.rint(rng.lognormal(np.log(mean_output), 0.8, n)), 1, longest).astype(int)
    cached = (rng.random(n) * (inputs + 1)).astype(int) // 16 * 16 if hits else np.zeros(n, dtype=int)
    return arrivals, inputs, outputs, np.minimum(cached, inputs)


REGIMES = {
    "light": (costs(), traffic(200, 2, 300, 60, 1)),
    "saturated": (costs(), traffic(400, 80, 400, 120, 2)),
    "small chunks": (costs(budget=256), traffic(300, 15, 700, 60, 3)),
    "cache-starved": (costs(cache=9_000), traffic(250, 30, 250, 200, 4, longest=1500)),
    "very cache-starved": (costs(cache=4_000, budget=512), traffic(150, 20, 300, 300, 5, longest=1500)),
    "seats limited": (costs(seats=12), traffic(300, 30, 200, 80, 6)),
    "prefix hits": (costs(), traffic(300, 25, 1200, 60, 7, hits=True)),
    "prefix hits, starved": (costs(cache=8_000), traffic(200, 25, 500, 200, 8, hits=True, longest=1500)),
    "all at once": (costs(seats=64), (np.zeros(200), *traffic(200, 1, 300, 100, 9)[1:])),
    "one-token answers": (costs(), (*traffic(200, 40, 300, 60, 10)[:2], np.ones(200, int), np.zeros(200, int))),
    "two ranks in lock step": (costs(dp=2), traffic(300, 40, 400, 100, 11)),
    "four ranks, starved": (costs(dp=4, cache=6_000), traffic(300, 60, 250, 200, 12, longest=1500)),
}


@pytest.mark.parametrize("name", REGIMES)
def test_equals_the_oracle(name):
    step_costs, rows = REGIMES[name]
    oracle = Oracle(step_costs)
    expected = oracle.run(*[column.tolist() for column in rows])
    result = simulate(step_costs, request_table(*rows))
    outcome = result.outcome
    assert [q.preempted for q in expected] == outcome.preemptions.tolist()
    assert np.max(np.abs(outcome.first_token_s - [q.first for q in expected])) < TOLERANCE_S
    assert np.max(np.abs(outcome.last_token_s - [q.last for q in expected])) < TOLERANCE_S
    assert np.max(np.abs(outcome.scheduled_s - [q.scheduled for q in expected])) < TOLERANCE_S
    assert result.steps == oracle.steps


def test_the_starved_regimes_do_preempt():
    for name in ("cache-starved", "very cache-starved", "prefix hits, starved", "four ranks, starved"):
        step_costs, rows = REGIMES[name]
        assert simulate(step_costs, request_table(*rows)).preemptions > 5, name


@pytest.mark.parametrize("router", [Router.ROUND_ROBIN])
def test_a_fleet_equals_its_replicas_one_by_one(router):
    step_costs, rows = REGIMES["saturated"]
    whole = simulate_fleet(Fleet((Pool("a", step_costs, 4),), router), request_table(*rows)).outcome
    for g in range(4):
        mine = whole.replica == g
        alone = simulate(step_costs, request_table(*[column[mine] for column in rows])).outcome
        np.testing.assert_allclose(alone.last_token_s, whole.last_token_s[mine], atol=TOLERANCE_S)
