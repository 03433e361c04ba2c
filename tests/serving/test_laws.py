"""Laws that hold for any workload: nothing is lost, more never hurts, time only scales, runs repeat."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.serving.engines import PRESETS, EngineOptions, Speculation
from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.lengths import LengthDistribution
from advisor.serving.requests import request_table
from advisor.serving.sampling import sample
from advisor.serving.simulate import simulate, simulate_fleet
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import ArrivalKind, ArrivalProcess, RequestClass, Workload

COSTS = StepCosts((0, 64, 1024), (0.01, 0.011, 0.03), 8e-8, 1.6e-7, 1.5e-9, 256, 20_000, 64, 1024)


def traffic(seed, n=300, rate=20.0):
    rng = np.random.default_rng(seed)
    lengths = [np.clip(np.rint(rng.lognormal(m, 0.7, n)), 1, 2000).astype(int) for m in (5.5, 4.5)]
    return request_table(np.cumsum(rng.exponential(1 / rate, n)), *lengths)


traffics = st.builds(traffic, st.integers(0, 10_000), st.integers(20, 300), st.floats(0.5, 200))
few = settings(max_examples=25, deadline=None)


@few
@given(table=traffics, engine=st.sampled_from(sorted(PRESETS)), cache=st.integers(5_000, 50_000))
def test_every_request_is_served_once_and_in_order(table, engine, cache):
    outcome = simulate(replace(COSTS, kvcap_tokens=cache), table, options=PRESETS[engine]).outcome
    assert np.all(outcome.status == 0)
    assert np.all(outcome.arrival_s <= outcome.scheduled_s)
    assert np.all(outcome.scheduled_s < outcome.first_token_s)
    assert np.all(outcome.first_token_s <= outcome.last_token_s)
    multi = table.output_tokens > 1
    assert np.all(outcome.tpot_s[multi] > 0)


@few
@given(table=traffics, factor=st.sampled_from([2.0, 0.5, 4.0]))
def test_time_scales(table, factor):
    slower = replace(table, arrival_s=table.arrival_s * factor)
    base, scaled = simulate(COSTS, table).outcome, simulate(COSTS.scaled(factor), slower).outcome
    np.testing.assert_allclose(scaled.last_token_s, base.last_token_s * factor, rtol=1e-9)


@few
@given(table=traffics, seed=st.integers(0, 100), router=st.sampled_from(list(Router)))
def test_a_run_repeats_itself(table, seed, router):
    fleet = Fleet((Pool("a", COSTS, 3),), router)
    one, two = (simulate_fleet(fleet, table, seed=seed).outcome for _ in range(2))
    np.testing.assert_array_equal(one.last_token_s, two.last_token_s)
    np.testing.assert_array_equal(one.replica, two.replica)


def mean_e2e(costs, replicas=1, seeds=range(4), rate=45.0):
    times = []
    for seed in seeds:
        fleet = Fleet((Pool("a", costs, replicas),), Router.LEAST_OUTSTANDING)
        times.append(simulate_fleet(fleet, traffic(seed, 1500, rate)).e2e_ms.mean)
    return np.mean(times)


def test_more_replicas_never_hurt():
    times = [mean_e2e(COSTS, replicas) for replicas in (1, 2, 3, 5, 8)]
    assert all(later <= earlier * 1.001 for earlier, later in pairwise(times))
    assert times[-1] < times[0]


def test_more_cache_never_hurts():
    times = [mean_e2e(replace(COSTS, kvcap_tokens=cache)) for cache in (6_000, 12_000, 24_000, 48_000, 200_000)]
    assert all(later <= earlier * 1.01 for earlier, later in pairwise(times))


def test_more_bandwidth_never_hurts():
    times = [mean_e2e(COSTS.scaled(factor)) for factor in (1.2, 1.1, 1.0, 0.9, 0.7)]
    assert all(later < earlier for earlier, later in pairwise(times))


def test_one_rank_of_two_without_coupling_costs_is_no_faster_than_two_replicas():
    """Lock step can only wait for the slower rank."""
    table = traffic(1, 800, 60.0)
    locked = simulate(replace(COSTS, dp=2), table).e2e_ms.mean
    fleet = Fleet((Pool("a", COSTS, 2),), Router.LEAST_OUTSTANDING)
    assert locked >= 0.99 * simulate_fleet(fleet, table).e2e_ms.mean


def test_speculation_divides_the_steps():
    """Two tokens per step and free drafts: half the decode steps."""
    table = request_table(np.zeros(1), np.array([100]), np.array([201]))
    plain = replace(COSTS, step_s=(0.01, 0.01, 0.01), cdec=0.0, cpre=0.0)
    fast = simulate(plain, table, options=EngineOptions(speculation=Speculation(3, 2.0)))
    assert fast.makespan_s == pytest.approx(0.01 + 100 * 0.01)
    assert simulate(plain, table).makespan_s == pytest.approx(0.01 + 200 * 0.01)


def test_speculation_in_a_small_cache_keeps_its_books():
    options = EngineOptions(speculation=Speculation(2, 1.8, draft_s=0.002))
    for seed in range(5):
        result = simulate(replace(COSTS, kvcap_tokens=5_000), traffic(seed), options=options)
        assert result.served == result.requests
        assert result.peak_cache_use <= 1 + 1e-9


def test_engines_that_reserve_never_preempt_and_paged_ones_hold_more():
    small = replace(COSTS, kvcap_tokens=6_000)
    table = traffic(3, 600, 100.0)
    paged, reserving = simulate(small, table), simulate(small, table, options=PRESETS["tensorrt-llm"])
    assert paged.preemptions > 0
    assert reserving.preemptions == 0
    assert paged.mean_running > reserving.mean_running


def test_static_batching_is_slower_than_continuous():
    table = traffic(4, 600, 100.0)
    assert simulate(COSTS, table, options=PRESETS["static"]).e2e_ms.mean > 1.2 * simulate(COSTS, table).e2e_ms.mean


def test_prompts_first_trades_token_time_for_first_tokens():
    table, roomy = traffic(5, 600, 25.0), replace(COSTS, kvcap_tokens=500_000)
    first, mixed = simulate(roomy, table, options=PRESETS["sglang"]), simulate(roomy, table)
    assert first.ttft_ms.p50 < mixed.ttft_ms.p50
    assert first.tpot_ms.p99 > mixed.tpot_ms.p99


def test_admission_limit_refuses_and_timeout_gives_up():
    table = traffic(6, 800, 400.0)
    limited = simulate(COSTS, table, options=EngineOptions(max_queue=20))
    assert limited.rejected > 0
    assert limited.served + limited.rejected == limited.requests
    hasty = simulate(COSTS, table, options=EngineOptions(queue_timeout_s=0.5))
    assert hasty.timed_out > 0
    waits = hasty.outcome.scheduled_s - hasty.outcome.arrival_s
    assert np.nanmax(waits) <= 0.5
    assert hasty.ttft_ms.p99 < simulate(COSTS, table).ttft_ms.p99


def test_priority_goes_first():
    table = traffic(7, 800, 200.0)
    classes = np.arange(len(table)) % 2
    table = replace(table, request_class=classes)
    fleet = Fleet((Pool("a", COSTS),))
    result = simulate_fleet(fleet, table, priorities=(1, 0), class_names=("batch", "interactive"))
    assert result.by_class["interactive"]["ttft_ms"].mean < 0.5 * result.by_class["batch"]["ttft_ms"].mean


def test_routers_that_look_beat_those_that_do_not():
    table = traffic(8, 6000, 130.0)
    p99 = {r: simulate_fleet(Fleet((Pool("a", COSTS, 4),), r), table, seed=1).ttft_ms.p99 for r in Router}
    assert p99[Router.LEAST_OUTSTANDING] < p99[Router.RANDOM]
    assert p99[Router.TWO_CHOICES] < p99[Router.RANDOM]


def test_classes_stay_in_their_pools():
    table = replace(traffic(9, 400, 40.0), request_class=np.arange(400) % 2)
    fleet = Fleet((Pool("small", COSTS, 2), Pool("large", COSTS, 3)), class_pools=((0,), (1,)))
    replica = simulate_fleet(fleet, table).outcome.replica
    assert set(replica[table.request_class == 0]) == {0, 1}
    assert set(replica[table.request_class == 1]) == {2, 3, 4}


def test_time_outside_the_engine_delays_every_answer_and_nothing_else():
    table = traffic(3)
    plain, behind = (simulate(replace(COSTS, outside_s=s), table).outcome for s in (0.0, 0.25))
    np.testing.assert_allclose(behind.ttft_s, plain.ttft_s + 0.25, rtol=1e-12)
    np.testing.assert_allclose(behind.e2e_s, plain.e2e_s + 0.25, rtol=1e-12)
    np.testing.assert_allclose(behind.tpot_s, plain.tpot_s, rtol=1e-9)


def test_users_who_wait_ask_again_later_by_the_time_outside_the_engine():
    request = RequestClass("all", LengthDistribution.fixed(200), LengthDistribution.fixed(50))
    table = sample(Workload("w", "w", ArrivalProcess(ArrivalKind.CLOSED_LOOP, users=1), (request,)), 20, seed=1)
    plain, behind = (simulate(replace(COSTS, outside_s=s), table).outcome for s in (0.0, 0.25))
    np.testing.assert_allclose(np.diff(behind.arrival_s), np.diff(plain.arrival_s) + 0.25, rtol=1e-9)
    np.testing.assert_allclose(behind.e2e_s, plain.e2e_s + 0.25, rtol=1e-9)
