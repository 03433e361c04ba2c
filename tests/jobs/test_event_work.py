"""Failures, updates and falling clocks: what they cost, beside the same requests without them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.catalog.errors import InputError
from advisor.jobs.event_work import event_report
from advisor.jobs.messages import EventKind, EventRequest
from advisor.serving.lengths import LengthDistribution
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import ArrivalKind, ArrivalProcess, RequestClass, Slo, Workload

COSTS = StepCosts((0, 64, 2048), (0.012, 0.0126, 0.072), 7e-8, 1.2e-7, 1.5e-9, 256, 450_000, 64, 2048)
LENGTHS = LengthDistribution.lognormal


def traffic(**arrivals):
    request = RequestClass("all", LENGTHS(mean=800, p50=500), LENGTHS(mean=250, p50=180))
    return Workload("w", "w", ArrivalProcess(**arrivals), (request,), 32_768)


def request(kind, **changes):
    base = EventRequest(COSTS, traffic(rate_per_s=14.0), Slo(ttft_ms=1500, tpot_ms=40), 3, kind, recovery_s=60.0)
    return replace(base, **changes)


def quiet(*_):
    return None


def test_a_failure_costs_more_the_fewer_replicas_are_left():
    small = event_report(request(EventKind.FAILURE), quiet)
    large = event_report(request(EventKind.FAILURE, replicas=6), quiet)
    assert small.retried > 0
    assert small.without.in_slo_share >= small.during.in_slo_share
    assert large.during.in_slo_share >= small.during.in_slo_share
    assert small.without.requests == small.during.requests > 200
    assert small.end_s - small.start_s == pytest.approx(60)
    assert small.series is not None
    assert small.series.time_s[-1] > small.end_s


def test_losing_all_replicas_stops_everything_for_a_while():
    report = event_report(request(EventKind.FAILURE, count=3), quiet)
    waits = dict(report.during.latencies)["ttft"]
    assert waits.p99 > 50_000  # nearly as long as the fleet is away
    assert report.during.most_waiting > 10 * max(1.0, report.without.most_waiting)


def test_an_update_retries_nothing_and_lasts_for_all_batches():
    report = event_report(request(EventKind.UPDATE, drain_s=30.0, recovery_s=60.0), quiet)
    assert report.retried == 0
    assert report.end_s - report.start_s == pytest.approx(3 * 90)
    together = event_report(request(EventKind.UPDATE, drain_s=30.0, recovery_s=60.0, count=3), quiet)
    assert together.end_s - together.start_s == pytest.approx(90)
    assert together.during.in_slo_share < report.during.in_slo_share
    assert dict(together.during.latencies)["ttft"].p99 > 50_000  # nobody serves while all of them load the model


def test_rare_requests_do_not_stretch_what_is_shown():
    report = event_report(request(EventKind.UPDATE, workload=traffic(rate_per_s=0.01), drain_s=30.0, replicas=1), quiet)
    assert report.series is not None
    assert report.end_s < report.series.time_s[-1] < 3 * report.end_s


def test_falling_clocks_slow_every_token():
    report = event_report(request(EventKind.DERATING, derating=((0.0, 1.3), (300.0, 1.0))), quiet)
    before, after = (dict(side.latencies)["tpot"].p50 for side in (report.without, report.during))
    assert after > 1.25 * before  # the batch grows as well
    same = event_report(request(EventKind.DERATING, derating=((0.0, 1.0), (300.0, 1.0))), quiet)
    assert same.during == same.without


def test_users_in_a_closed_loop_take_part():
    users = traffic(kind=ArrivalKind.CLOSED_LOOP, users=200, think_s=10.0)
    report = event_report(request(EventKind.FAILURE, workload=users), quiet)
    assert report.during.requests > 100
    assert report.retried > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": EventKind.FAILURE, "count": 4}, "1..3"),
        ({"kind": EventKind.FAILURE, "count": 0}, "1..3"),
        ({"kind": EventKind.FAILURE, "recovery_s": 1e9}, "14,400"),
        ({"kind": EventKind.FAILURE, "workload": traffic(rate_per_s=9e5)}, "at this rate"),
        ({"kind": EventKind.DERATING}, "derating"),
        ({"kind": EventKind.FAILURE, "workload": traffic(kind=ArrivalKind.BURST)}, "traffic"),
    ],
)
def test_events_that_cannot_be_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        event_report(request(**changes), quiet)
