"""The simulator against queueing theory: each case has an answer that does not come from a simulator.

Kleinrock, Queueing Systems I (1975): Lindley, Pollaczek-Khinchine, Erlang, Little. Kiefer and Wolfowitz (1955).
"""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest

from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.requests import request_table
from advisor.serving.simulate import simulate, simulate_fleet
from advisor.serving.step_costs import StepCosts

STEP_S = 0.01


def constant_step(seats, cache=10**9):
    """Every step takes 10 ms whatever it holds, and one-token prompts take exactly one step."""
    return StepCosts((0, 1), (STEP_S, STEP_S), 0.0, 0.0, 0.0, 0, cache, seats, 65_536)


def requests(arrivals, outputs):
    outputs = np.asarray(outputs, dtype=np.int64)
    return request_table(np.asarray(arrivals, dtype=np.float64), np.ones_like(outputs), outputs)


def poisson(rng, rate, n):
    return np.cumsum(rng.exponential(1 / rate, n))


def test_lindley_path_by_path():
    """One seat: departure = max(arrival, departure before) + service. Exact for every request."""
    rng = np.random.default_rng(1)
    outputs = np.maximum(1, np.rint(rng.lognormal(3, 0.8, 50_000))).astype(int)
    service = outputs * STEP_S
    arrivals = poisson(rng, 0.8 / service.mean(), len(outputs))
    departure, expected = 0.0, np.zeros(len(outputs))
    for i in range(len(outputs)):
        departure = expected[i] = max(arrivals[i], departure) + service[i]
    outcome = simulate(constant_step(1), requests(arrivals, outputs)).outcome
    assert np.max(np.abs(outcome.last_token_s - expected)) < 1e-7  # sums of 1e6 steps


def test_m_d_1():
    """Mean wait = rho / (2 (1 - rho)) services; at rho = 0.8: 2 services."""
    waits = []
    for seed in range(8):
        arrivals = poisson(np.random.default_rng(seed), 0.8 / (50 * STEP_S), 60_000)
        outcome = simulate(constant_step(1), requests(arrivals, np.full(60_000, 50))).outcome
        waits.append((outcome.scheduled_s - outcome.arrival_s).mean() / (50 * STEP_S))
    assert np.mean(waits) == pytest.approx(2.0, rel=0.03)


def test_pollaczek_khinchine():
    """Mean wait = lambda E[S^2] / (2 (1 - rho))."""
    ratios = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        outputs = np.maximum(1, np.rint(rng.lognormal(3, 0.7, 60_000))).astype(int)
        service = outputs * STEP_S
        rate = 0.7 / service.mean()
        arrivals = poisson(rng, rate, len(outputs))
        outcome = simulate(constant_step(1), requests(arrivals, outputs)).outcome
        wait = (outcome.scheduled_s - outcome.arrival_s).mean()
        ratios.append(wait / (rate * (service**2).mean() / (2 * (1 - 0.7))))
    assert np.mean(ratios) == pytest.approx(1.0, rel=0.04)


def test_kiefer_wolfowitz_path_by_path():
    """16 seats, first come first served. Steps start together, so a request may lose up to a step at each wait."""
    rng = np.random.default_rng(2)
    outputs = np.maximum(1, np.rint(rng.lognormal(4, 0.6, 20_000))).astype(int)
    arrivals = poisson(rng, 0.9 * 16 / (outputs.mean() * STEP_S), len(outputs))
    free = [0.0] * 16
    expected = np.zeros(len(outputs))
    for i in range(len(outputs)):
        start = max(arrivals[i], heapq.heappop(free))
        expected[i] = start + outputs[i] * STEP_S
        heapq.heappush(free, expected[i])
    late = simulate(constant_step(16), requests(arrivals, outputs)).outcome.last_token_s - expected
    assert np.mean(late) == pytest.approx(STEP_S / 2, rel=0.5)
    assert np.quantile(late, 0.001) > -STEP_S
    assert np.quantile(late, 0.999) < 2 * STEP_S


def erlang_c(servers, load):
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last)


def test_erlang_c():
    """P(wait) and mean wait of M/M/32 at rho = 0.9."""
    shares, waits = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        outputs = rng.geometric(1 / 200, 120_000)
        arrivals = poisson(rng, 0.9 * 32 / (200 * STEP_S), len(outputs))
        outcome = simulate(constant_step(32), requests(arrivals, outputs)).outcome
        wait = outcome.scheduled_s - outcome.arrival_s
        shares.append((wait > STEP_S).mean())
        waits.append(wait.mean())
    busy = erlang_c(32, 0.9 * 32)
    assert np.mean(shares) == pytest.approx(busy, rel=0.06)
    assert np.mean(waits) == pytest.approx(busy * 200 * STEP_S / (32 * 0.1), rel=0.12)


def test_m_g_infinity_and_little():
    """Seats for all: requests in the system are Poisson with mean lambda E[S]; L = lambda W."""
    rng = np.random.default_rng(3)
    outputs = np.maximum(1, np.rint(rng.lognormal(4, 1.0, 100_000))).astype(int)
    rate = 40 / (outputs.mean() * STEP_S)
    arrivals = poisson(rng, rate, len(outputs))
    outcome = simulate(constant_step(4096), requests(arrivals, outputs)).outcome
    moments = np.random.default_rng(4).uniform(arrivals[20_000], arrivals[80_000], 4000)
    inside = np.searchsorted(arrivals, moments) - np.searchsorted(np.sort(outcome.last_token_s), moments)
    assert inside.mean() == pytest.approx(40, rel=0.05)
    assert inside.var() / inside.mean() == pytest.approx(1.0, abs=0.2)
    assert inside.mean() == pytest.approx(rate * outcome.e2e_s.mean(), rel=0.05)


N, MEAN = 40_000, 200
LENGTHS = {
    "exponential": lambda rng: rng.geometric(1 / MEAN, N),
    "lognormal": lambda rng: np.maximum(1, np.rint(rng.lognormal(math.log(MEAN) - 0.32, 0.8, N))),
    "fixed": lambda _: np.full(N, MEAN),
}


@pytest.mark.parametrize("shape", LENGTHS)
def test_processor_sharing_is_insensitive(shape):
    """Steps as long as the batch is large share the engine equally: E[T] = E[S] / (1 - rho), whatever the lengths."""
    ratios = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        drawn = LENGTHS[shape](rng).astype(int)
        seats = 2000
        per_token = 1e-4
        costs = StepCosts((0, seats), (0.0, seats * per_token), 0.0, 0.0, 0.0, 0, 10**9, seats, seats)
        arrivals = poisson(rng, 0.7 / (drawn.mean() * per_token), N)
        outcome = simulate(costs, requests(arrivals, drawn)).outcome
        ratios.append(outcome.e2e_s.mean() / (drawn.mean() * per_token / 0.3))
    assert np.mean(ratios) == pytest.approx(1.0, rel=0.05)


def test_makespan_of_a_gang():
    """All at once, equal lengths, enough seats: prompts in ceil(n * input / budget) chunks, then output - 1 steps."""
    costs = StepCosts((0, 1), (STEP_S, STEP_S), 0.0, 0.0, 0.0, 0, 10**9, 64, 64)
    table = request_table(np.zeros(64), np.ones(64, int), np.full(64, 100))
    assert simulate(costs, table).makespan_s == pytest.approx(100 * STEP_S, rel=1e-12)
    two_waves = request_table(np.zeros(128), np.ones(128, int), np.full(128, 100))
    assert simulate(costs, two_waves).makespan_s == pytest.approx(200 * STEP_S, rel=1e-12)


def test_poisson_thinning():
    """Eight replicas drawn at random at eight times the rate behave as one at the rate."""
    costs = constant_step(8)
    rng = np.random.default_rng(5)
    outputs = rng.geometric(1 / 60, 160_000)
    rate = 0.85 * 8 / (60 * STEP_S)
    one = simulate(costs, requests(poisson(rng, rate, len(outputs)), outputs))
    fleet = Fleet((Pool("a", costs, 8),), Router.RANDOM)
    many = simulate_fleet(fleet, requests(poisson(rng, 8 * rate, len(outputs)), outputs), seed=1)
    assert many.ttft_ms.p50 == pytest.approx(one.ttft_ms.p50, rel=0.05)
    assert many.ttft_ms.p99 == pytest.approx(one.ttft_ms.p99, rel=0.15)
    assert many.e2e_ms.mean == pytest.approx(one.e2e_ms.mean, rel=0.05)
