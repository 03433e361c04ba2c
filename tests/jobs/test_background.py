"""Long calculations in processes of their own: progress, answers, the same question once, cancelling, failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from advisor.catalog.errors import InputError
from advisor.jobs.answers import CapacityReport, FleetReport, PolicyReport
from advisor.jobs.background import Background, Job, JobState
from advisor.jobs.load_work import perform
from advisor.jobs.messages import CapacityRequest, FleetMode, FleetRequest, PolicyRequest, PoolRequest, Request
from advisor.serving.autoscale import Metric
from advisor.serving.capacity import find_replicas
from advisor.serving.lengths import LengthDistribution
from advisor.serving.limits import Limit
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import ArrivalKind, ArrivalProcess, RequestClass, Slo, Workload

COSTS = StepCosts((1, 256, 2048), (0.01, 0.02, 0.1), 1e-8, 2e-8, 1e-10, 256, 200_000, 64, 2048)
FAST = COSTS.scaled(0.5)
LENGTHS = LengthDistribution.lognormal(mean=300, p50=250)
CLASSES = (RequestClass("short", LENGTHS, LengthDistribution.fixed(40)), RequestClass("long", LENGTHS, LENGTHS))
TRAFFIC = Workload("t", "t", ArrivalProcess(ArrivalKind.POISSON, 20.0), CLASSES[:1])
SLO = Slo(ttft_ms=1000, tpot_ms=60)
SEARCH = CapacityRequest(COSTS, TRAFFIC, SLO)
POOLS = (PoolRequest("a", COSTS, 3), PoolRequest("b", FAST, 2))


def _silent(share: float, phase: str, number: int) -> None:
    assert 0 <= share <= 1
    assert phase
    assert number >= 0


@pytest.fixture
def background() -> Iterator[Background]:
    one = Background(most_at_once=1)
    yield one
    one.close()


def _finished(background: Background, request: Request, within_s: float = 120.0) -> Job:
    pause, end = threading.Event(), time.monotonic() + within_s
    while time.monotonic() < end:
        job = background.job(request)
        assert job is not None
        if job.state.is_final:
            return job
        pause.wait(0.02)
    raise AssertionError(background.job(request))


def test_a_search_in_its_own_process_gives_the_answer_of_a_direct_call(background: Background) -> None:
    background.start(SEARCH)
    job = _finished(background, SEARCH)
    direct = find_replicas(COSTS, TRAFFIC, SLO)
    assert job.state is JobState.DONE
    assert isinstance(job.answer, CapacityReport)
    assert (job.answer.replicas, job.answer.safe_replicas) == (direct.replicas, direct.safe_replicas)
    assert dict(job.answer.at_step_factor) == dict(direct.at_step_factor)
    assert job.answer.binding is direct.binding
    background.start(SEARCH)  # answered: the same job, at once
    assert background.job(SEARCH) == job


def test_cancelling_ends_the_process_and_the_queue_goes_on(background: Background) -> None:
    before = _workers()  # of pages that other tests opened
    long = replace(SEARCH, workload=replace(TRAFFIC, arrivals=ArrivalProcess(ArrivalKind.POISSON, 50_000.0)))
    waiting = replace(SEARCH, slo=Slo(ttft_ms=900))
    background.start(long)
    background.start(waiting)
    assert background.job(waiting).state is JobState.QUEUED  # type: ignore[union-attr]
    background.cancel(long)
    background.cancel(waiting)
    assert _finished(background, long).state is JobState.CANCELLED
    assert _finished(background, waiting).state is JobState.CANCELLED
    background.close()
    assert _workers() <= before


def _workers() -> set[int]:
    children = psutil.Process().children(recursive=True)
    return {c.pid for c in children if c.is_running() and "advisor.jobs.worker" in " ".join(c.cmdline())}


def test_bad_traffic_comes_back_as_the_same_clear_problem(background: Background) -> None:
    bad = replace(SEARCH, workload=replace(TRAFFIC, arrivals=ArrivalProcess(ArrivalKind.POISSON, 0.0)))
    background.start(bad)
    job = _finished(background, bad)
    assert job.state is JobState.FAILED
    assert isinstance(job.problem, InputError)
    assert job.problem.field == "rate_per_s"


def test_no_waiting_time_is_quoted_above_ninety_percent_load() -> None:
    report = perform(SEARCH, _silent)
    assert isinstance(report, CapacityReport)
    over = [row for row in report.curve if row.load > 0.9]
    assert over
    assert all(row.ttft_ms != row.ttft_ms and row.e2e_ms != row.e2e_ms for row in over)  # NaN
    assert all(row.tpot_ms > 0 for row in report.curve)
    assert report.series is not None
    assert len(report.series.time_s) <= 300


def test_a_limit_below_an_idle_replica_names_the_floor() -> None:
    report = perform(replace(SEARCH, slo=Slo(tpot_ms=1)), _silent)
    assert isinstance(report, CapacityReport)
    assert not report.feasible
    assert report.binding is Limit.FLOOR
    assert report.floor_metric == "tpot"
    assert report.floor_worst > 1


def test_scaling_policies_pay_for_less_than_a_static_fleet() -> None:
    day = ArrivalProcess(ArrivalKind.POISSON, 20.0, shape=(0.2, 1.0, 1.8, 1.0), period_s=1800.0)
    report = perform(PolicyRequest(COSTS, replace(TRAFFIC, arrivals=day), SLO, 6, (4.0, 12.0), 60.0), _silent)
    assert isinstance(report, PolicyReport)
    static, generous, tight = report.rows
    assert static.target is None
    assert static.paid_share == 1.0
    assert tight.paid_share < generous.paid_share < 1.0
    assert tight.in_slo_share <= static.in_slo_share + 1e-9


def test_a_queue_that_is_empty_asks_for_the_smallest_fleet() -> None:
    """Scaled by the queue, a fleet that keeps up shrinks until requests wait: it pays less and misses more."""
    day = ArrivalProcess(ArrivalKind.POISSON, 20.0, shape=(0.2, 1.0, 1.8, 1.0), period_s=1800.0)
    request = PolicyRequest(COSTS, replace(TRAFFIC, arrivals=day), SLO, 6, (4.0,), 60.0)
    in_flight, waiting = (perform(replace(request, metric=metric), _silent) for metric in Metric)
    assert isinstance(in_flight, PolicyReport)
    assert isinstance(waiting, PolicyReport)
    assert waiting.rows[1].paid_share < in_flight.rows[1].paid_share
    assert waiting.rows[1].in_slo_share <= in_flight.rows[1].in_slo_share


def test_classes_go_to_their_pools_and_a_loss_is_felt() -> None:
    traffic = replace(TRAFFIC, classes=CLASSES)
    request = FleetRequest(POOLS, traffic, SLO, FleetMode.BY_CLASS, ((0,), (1,)), lost=(1, 0))
    report = perform(request, _silent)
    assert isinstance(report, FleetReport)
    assert [row.name for row in report.classes] == ["short", "long"]
    assert [row.requests for row in report.classes] == [row.requests for row in report.pools]
    assert report.lost is not None
    assert report.lost.pools[0].replicas == 2
    before, after = (dict(r.latencies)["e2e"].mean for r in (report, report.lost))
    assert after >= before


def test_losing_the_only_pool_of_a_class_leaves_it_stranded() -> None:
    traffic = replace(TRAFFIC, classes=CLASSES)
    request = FleetRequest(POOLS, traffic, SLO, FleetMode.BY_CLASS, ((0,), (1,)), lost=(0, 2))
    report = perform(request, _silent)
    assert isinstance(report, FleetReport)
    assert report.stranded == ("long",)
    assert report.lost is None


def test_a_cascade_asks_the_share_again_and_makes_those_answers_later() -> None:
    none, third = (
        perform(FleetRequest(POOLS, TRAFFIC, SLO, FleetMode.CASCADE, passed_share=share), _silent)
        for share in (0.0, 0.3)
    )
    assert isinstance(none, FleetReport)
    assert isinstance(third, FleetReport)
    assert len(none.pools) == 1
    assert third.pools[1].share == pytest.approx(0.3, abs=0.05)
    assert dict(third.latencies)["ttft"].mean > dict(none.latencies)["ttft"].mean


def test_two_stages_refuse_what_they_cannot_simulate() -> None:
    users = replace(TRAFFIC, arrivals=ArrivalProcess(ArrivalKind.CLOSED_LOOP, users=5, think_s=1.0))
    with pytest.raises(InputError, match="arrive on their own"):
        perform(FleetRequest(POOLS, users, SLO, FleetMode.CASCADE, passed_share=0.5), _silent)
    with pytest.raises(InputError, match="at least two"):
        perform(FleetRequest(POOLS[:1], TRAFFIC, SLO, FleetMode.EDGE, passed_share=0.5), _silent)
