"""Fewest replicas: feasibility first, monotone in the load, robust to seeds, quick, cancellable."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from advisor.catalog.errors import InputError
from advisor.serving.capacity import CancelledError, find_replicas, latency_curve
from advisor.serving.engines import PRESETS
from advisor.serving.estimate import curve_of, replicas_by_closed_form
from advisor.serving.lengths import LengthDistribution
from advisor.serving.limits import Limit
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import ArrivalKind, ArrivalProcess, RequestClass, Slo, Workload

COSTS = StepCosts((0, 64, 2048), (0.012, 0.0126, 0.072), 7e-8, 1.2e-7, 1.5e-9, 256, 450_000, 256, 2048)
LENGTHS = LengthDistribution.lognormal


def traffic(rate, **arrivals):
    request = RequestClass("all", LENGTHS(mean=800, p50=500), LENGTHS(mean=250, p50=180))
    return Workload("w", "w", ArrivalProcess(rate_per_s=rate, **arrivals), (request,), 32_768)


SLO = Slo(ttft_ms=1500, tpot_ms=35, percentile=95)


def test_replicas_grow_with_the_load_and_hold_it():
    found = [find_replicas(COSTS, traffic(rate), SLO) for rate in (2, 20, 60, 200)]
    counts = [answer.replicas for answer in found]
    assert counts == sorted(counts)
    assert counts[-1] >= 10 * counts[0]
    for answer in found:
        assert answer.feasible
        assert answer.trial.window.worst <= 1
        assert answer.load <= 0.9
        assert answer.replicas <= answer.safe_replicas
        assert answer.at_step_factor[0.9] <= answer.replicas <= answer.at_step_factor[1.1]


def test_one_replica_fewer_does_not_hold_it():
    answer = find_replicas(COSTS, traffic(60), SLO)
    rate = answer.trial.load * answer.keeps_up_req_s * answer.replicas
    assert rate == pytest.approx(60, rel=1e-6)
    fewer = answer.replicas - 1
    assert find_replicas(COSTS, traffic(60.0 * answer.replicas / fewer), SLO).replicas > answer.replicas


def test_very_large_fleets_are_cells():
    answer = find_replicas(COSTS, traffic(4000), SLO)
    tenth = find_replicas(COSTS, traffic(400), SLO)
    assert answer.trial.simulated < answer.replicas
    assert answer.replicas == pytest.approx(10 * tenth.replicas, rel=0.08)


def test_a_limit_below_the_idle_replica_is_infeasible_at_any_size():
    answer = find_replicas(COSTS, traffic(10), Slo(tpot_ms=5))
    assert not answer.feasible
    assert answer.binding is Limit.FLOOR
    assert answer.floor.tpot_ms > 5
    assert answer.trial is None


def test_a_cache_too_small_for_one_request_is_said():
    answer = find_replicas(replace(COSTS, kvcap_tokens=32), traffic(10), SLO)
    assert not answer.feasible
    assert answer.binding is Limit.CACHE


def test_the_binding_limit_has_a_name():
    """Little cache: the queue waits for blocks. Few seats: for seats. Slow steps: decode bandwidth."""
    wait = Slo(ttft_ms=300, percentile=95)
    assert find_replicas(replace(COSTS, kvcap_tokens=12_000), traffic(30), wait).binding is Limit.CACHE
    assert find_replicas(replace(COSTS, max_num_seqs=12), traffic(30), wait).binding is Limit.SEATS
    assert find_replicas(COSTS, traffic(60), Slo(tpot_ms=16, percentile=95)).binding in (Limit.BANDWIDTH, Limit.COMPUTE)
    heavy = replace(COSTS, step_s=(0.012, 0.0126, 0.8))
    request = RequestClass("p", LENGTHS(mean=3000, p50=2500), LENGTHS(mean=20, p50=15))
    prompts = Workload("p", "p", ArrivalProcess(rate_per_s=20), (request,))
    assert find_replicas(heavy, prompts, Slo(tpot_ms=300, percentile=95)).binding is Limit.COMPUTE


def test_shares_of_the_step_name_the_link():
    shares = {"bandwidth": 0.2, "link": 0.7, "compute": 0.05, "host": 0.05}
    answer = find_replicas(COSTS, traffic(60), Slo(tpot_ms=16, percentile=95), step_shares=shares)
    assert Limit.LINK in (answer.binding, answer.next_binding)


def test_users_in_a_closed_loop():
    closed = traffic(0.0, kind=ArrivalKind.CLOSED_LOOP, users=400, think_s=20.0)
    answer = find_replicas(COSTS, closed, SLO)
    more = find_replicas(COSTS, traffic(0.0, kind=ArrivalKind.CLOSED_LOOP, users=1600, think_s=20.0), SLO)
    assert answer.feasible
    assert more.replicas >= 2 * answer.replicas


def test_a_day_is_sized_for_its_peak():
    flat = find_replicas(COSTS, traffic(30), SLO).replicas
    day = find_replicas(COSTS, traffic(30, shape=(0.2, 0.4, 2.0, 1.4), period_s=3600.0), SLO).replicas
    assert day >= 1.7 * flat


def test_progress_rises_and_cancelling_stops():
    seen = []
    find_replicas(COSTS, traffic(60), SLO, progress=lambda p: seen.append(p.share))
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] < 1
    with pytest.raises(CancelledError):
        find_replicas(COSTS, traffic(60), SLO, cancelled=lambda: True)


def test_answers_repeat_themselves():
    one, two = (find_replicas(COSTS, traffic(60), SLO) for _ in range(2))
    assert (one.replicas, one.safe_replicas, one.trial.window) == (two.replicas, two.safe_replicas, two.trial.window)


def test_fewer_than_three_seeds_are_refused():
    with pytest.raises(InputError):
        find_replicas(COSTS, traffic(6), SLO, seeds=(1,))


def test_a_search_takes_seconds():
    started = time.process_time()
    find_replicas(COSTS, traffic(10_000), SLO)
    assert time.process_time() - started < 10


def test_latency_curve_has_a_knee():
    points = latency_curve(COSTS, traffic(1), SLO, replicas=4, loads=(0.1, 0.5, 0.8, 0.98))
    ttft = [p.trial.window.ttft_ms for p in points]
    tpot = [p.trial.window.tpot_ms for p in points]
    assert tpot == sorted(tpot)
    assert ttft[-1] > 2 * ttft[0]
    assert points[0].trial.result.ttft_is_quotable
    assert not points[-1].trial.result.ttft_is_quotable


def test_closed_form_and_simulator_agree_at_moderate_load():
    for rate in (20, 60, 200):
        answer = find_replicas(COSTS, traffic(rate), SLO)
        assert answer.agrees_with_closed_form, (rate, answer.replicas, answer.closed_form_replicas)


def test_closed_form_of_users_is_that_of_their_rate():
    """Users who think for long are arrivals at users / (pause + time of a request)."""
    users = traffic(0.0, kind=ArrivalKind.CLOSED_LOOP, users=6000, think_s=100.0)
    slow = replicas_by_closed_form(COSTS, users, SLO, PRESETS["vllm"])
    assert slow == pytest.approx(replicas_by_closed_form(COSTS, traffic(57), SLO, PRESETS["vllm"]), rel=0.15)


def test_closed_form_on_ranks_in_lock_step():
    """Two ranks hold twice the sequences; a step costs about what one rank takes for half of them (prompts of the
    other rank fall into more steps)."""
    one, two = (curve_of(replace(COSTS, dp=dp), traffic(1), PRESETS["vllm"]) for dp in (1, 2))
    assert two.seats[0] == 2 * one.seats[0]
    twice, _ = two.at(np.array([128.0]))
    once, _ = one.at(np.array([64.0]))
    assert twice[0] == pytest.approx(once[0], rel=0.1)
    simulated = find_replicas(replace(COSTS, dp=2), traffic(60), SLO)
    assert simulated.agrees_with_closed_form, (simulated.replicas, simulated.closed_form_replicas)
