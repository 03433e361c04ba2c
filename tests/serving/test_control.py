"""Autoscaling, outages, updates and falling clocks during a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from advisor.catalog.errors import InputError
from advisor.serving.autoscale import AutoscalePolicy, Metric, simulate_autoscaled
from advisor.serving.control import Derating, Outage, Outages, RollingUpdate, Sampler, rolling_update
from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.requests import request_table
from advisor.serving.simulate import simulate_fleet
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import Slo

COSTS = StepCosts((0, 64, 1024), (0.03, 0.033, 0.09), 2e-7, 4e-7, 4e-9, 256, 60_000, 16, 1024)


def traffic(rate, seconds, seed=1):
    rng = np.random.default_rng(seed)
    n = int(rate * seconds)
    arrivals = np.sort(rng.uniform(0, seconds, n))
    lengths = [np.clip(np.rint(rng.lognormal(m, 0.7, n)), 1, 2000).astype(int) for m in (5.5, 4.5)]
    return request_table(arrivals, *lengths)


def wave(seconds=3600.0):
    """One slow swell from 2 to 30 requests per second and back."""
    rng = np.random.default_rng(2)
    times = np.sort(rng.uniform(0, seconds, 60_000))
    keep = rng.random(len(times)) < (0.05 + 0.95 * np.sin(np.pi * times / seconds) ** 2)
    n = int(keep.sum())
    return request_table(times[keep], np.full(n, 300), np.full(n, 100))


def fleet(replicas, router=Router.TWO_CHOICES):
    return Fleet((Pool("a", COSTS, replicas),), router)


SLO = (Slo(ttft_ms=2000),)


def test_autoscaling_pays_less_and_follows_the_load():
    table = wave()
    static = simulate_fleet(fleet(12), table, slos=SLO)
    scaled = simulate_autoscaled(fleet(12), table, AutoscalePolicy(target=10, startup_s=60), slos=SLO)
    assert scaled.served == static.served == len(table)
    assert scaled.replica_hours < 0.75 * static.replica_hours
    assert scaled.in_slo_share > 0.9
    paid = scaled.series.replicas
    assert paid.max() > 2 * paid[0]
    middle = len(paid) // 2
    assert paid[middle] > paid[5]


def test_slow_start_up_costs_service():
    table = wave()
    quick, slow = (
        simulate_autoscaled(fleet(12), table, AutoscalePolicy(target=16, startup_s=s), slos=SLO) for s in (15, 600)
    )
    assert slow.in_slo_share < quick.in_slo_share


def test_scaling_on_the_queue_works_too():
    policy = AutoscalePolicy(target=2, startup_s=30, metric=Metric.WAITING)
    result = simulate_autoscaled(fleet(12), wave(), policy, slos=SLO)
    assert result.served == result.requests
    assert result.series.replicas.max() > 1


def test_a_steady_load_within_tolerance_does_not_flap():
    table = traffic(4, 1800)
    in_flight = simulate_fleet(fleet(4), table).mean_running
    result = simulate_autoscaled(fleet(8), table, AutoscalePolicy(target=max(1.0, in_flight), min_replicas=4))
    changes = np.abs(np.diff(result.series.replicas[20:-20])).sum()
    assert changes <= 8


def test_a_lost_replica_gives_its_requests_back():
    table = traffic(10, 300)
    outages = Outages((Outage(100.0, (0,), 60.0),))
    result = simulate_fleet(fleet(3), table, controls=(outages,))
    calm = simulate_fleet(fleet(3), table)
    assert result.served == len(table)
    assert outages.retried > 0
    during = (table.arrival_s > 100.5) & (table.arrival_s < 159)
    assert set(result.outcome.replica[during]) == {1, 2}
    after = table.arrival_s > 170
    assert 0 in set(result.outcome.replica[after])
    assert result.e2e_ms.mean > calm.e2e_ms.mean


def test_the_only_replica_lost_keeps_its_queue_until_it_is_back():
    table = traffic(2, 60)
    result = simulate_fleet(fleet(1), table, controls=(Outages((Outage(20.0, (0,), 30.0),)),))
    assert result.served == len(table)
    away = (table.arrival_s > 20) & (table.arrival_s < 50)
    assert np.all(result.outcome.first_token_s[away] > 50)


def test_n_plus_one_survives_what_n_does_not():
    table = traffic(17, 600)
    outages = [Outages((Outage(100.0, (0,), 400.0),)) for _ in range(2)]
    tight, spare = (
        simulate_fleet(fleet(n), table, slos=SLO, controls=(o,)) for n, o in zip((2, 3), outages, strict=True)
    )
    assert spare.in_slo_share > tight.in_slo_share


def test_a_rolling_update_loses_no_request():
    outages = Outages(rolling_update(RollingUpdate(30.0, 40.0, drain_s=20.0), 3))
    result = simulate_fleet(fleet(3), traffic(6, 300), controls=(outages,))
    assert result.served == result.requests
    assert outages.retried == 0


def test_falling_clocks_stretch_the_second_half():
    table = traffic(5, 400)
    plain = simulate_fleet(fleet(1), table).outcome
    hot = simulate_fleet(fleet(1), table, controls=(Derating((0.0, 200.0), (1.0, 1.5)),)).outcome
    early, late = table.arrival_s < 150, table.arrival_s > 210
    np.testing.assert_allclose(hot.e2e_s[early][:100], plain.e2e_s[early][:100])
    assert hot.tpot_s[late][:200].mean() > 1.4 * plain.tpot_s[late][:200].mean()


def test_samples_show_the_queue():
    sampler = Sampler(5.0)
    simulate_fleet(fleet(1), traffic(40, 60), controls=(sampler,))
    series = sampler.series(1)
    np.testing.assert_allclose(np.diff(series.time_s), 5.0)
    assert series.waiting.max() > 10
    assert 0 < series.cache_use.max() <= 1


def test_controls_do_not_change_a_run_that_they_only_watch():
    table = traffic(12, 120)
    watched = simulate_fleet(fleet(2, Router.LEAST_OUTSTANDING), table, controls=(Sampler(1.0),)).outcome
    alone = simulate_fleet(fleet(2, Router.LEAST_OUTSTANDING), table).outcome
    np.testing.assert_allclose(watched.last_token_s, alone.last_token_s, atol=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AutoscalePolicy(target=0),
        lambda: AutoscalePolicy(target=1, min_replicas=0),
        lambda: Outage(-1.0, (0,), 5.0),
        lambda: Outage(1.0, (), 5.0),
        lambda: Derating((1.0, 0.5), (1.0, 1.0)),
        lambda: rolling_update(RollingUpdate(0.0, 1.0, at_once=9), 3),
        lambda: simulate_fleet(fleet(2), traffic(2, 5), controls=(Outages((Outage(1.0, (7,), 5.0),)),)),
        lambda: simulate_autoscaled(fleet(2), traffic(2, 5), AutoscalePolicy(target=1, min_replicas=3)),
        lambda: replace(Pool("a", COSTS), replicas=0),
    ],
)
def test_senseless_settings_are_refused(make):
    with pytest.raises(InputError):
        make()
