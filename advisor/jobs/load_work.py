"""What the process of a long calculation does for each kind of request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from advisor.jobs.answers import CapacityReport, CurveRow
from advisor.jobs.event_work import event_report
from advisor.jobs.fleet_work import fleet_report
from advisor.jobs.messages import (
    CapacityRequest,
    CheapestRequest,
    ChecksRequest,
    EventRequest,
    FleetRequest,
    PolicyRequest,
    Request,
    SustainedRequest,
)
from advisor.jobs.policy_work import policy_report
from advisor.jobs.runs import class_limits, run_length, series_rows, share_of
from advisor.serving.capacity import CurvePoint, Progress, find_replicas, latency_curve
from advisor.serving.control import Sampler
from advisor.serving.estimate import time_alone
from advisor.serving.fleet import Fleet, Pool
from advisor.serving.result import SimulationResult
from advisor.serving.sampling import sample
from advisor.serving.simulate import simulate_fleet
from advisor.serving.steady import MAX_LOAD
from advisor.serving.workload import ArrivalKind, Workload

__all__ = ["Tell", "perform"]

Tell = Callable[[float, str, int], None]  # share of the work 0..1, text key of the phase, what is being tried

CURVE_LOADS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
_SEARCH_SHARE = 0.6
_SERIES_CELL = 16  # replicas that are simulated for the queue over time


def perform(request: Request, tell: Tell) -> object:
    """The answer to the request. Raises FathomError for traffic that cannot be simulated."""
    if isinstance(request, CapacityRequest):
        return _capacity(request, tell)
    if isinstance(request, PolicyRequest):
        return policy_report(request, tell)
    if isinstance(request, FleetRequest):
        return fleet_report(request, tell)
    if isinstance(request, EventRequest):
        return event_report(request, tell)
    return _with_catalogue(request, tell)


def _with_catalogue(request: CheapestRequest | ChecksRequest | SustainedRequest, tell: Tell) -> object:
    """The search over plans and the store of measurements take seconds to load: other calculations do not wait."""
    if isinstance(request, CheapestRequest):
        from advisor.jobs.cheapest_work import cheapest_report

        return cheapest_report(request, tell)
    if isinstance(request, ChecksRequest):
        from advisor.jobs.check_work import checks

        return checks(request, tell)
    from advisor.jobs.sustained_work import sustained_report

    return sustained_report(request.result_id, tell)


def _capacity(request: CapacityRequest, tell: Tell) -> CapacityReport:
    def progress(now: Progress) -> None:
        tell(_SEARCH_SHARE * now.share, "search", now.replicas)

    tell(0.0, "start", 0)
    found = find_replicas(
        request.costs,
        request.workload,
        request.slo,
        options=request.options,
        router=request.router,
        step_shares=dict(request.shares),
        progress=progress,
    )
    replicas = found.replicas or 1
    curve = _curve(request, replicas, tell) if found.keeps_up_req_s > 0 else ()
    tell(0.95, "series", replicas)
    trial, result = found.trial, found.result
    latencies = () if result is None else (("ttft", result.ttft_ms), ("tpot", result.tpot_ms), ("e2e", result.e2e_ms))
    return CapacityReport(
        feasible=found.feasible,
        replicas=found.replicas,
        safe_replicas=found.safe_replicas,
        binding=found.binding,
        next_binding=found.next_binding,
        floor_ms=(found.floor.ttft_ms, found.floor.tpot_ms, found.floor.e2e_ms),
        floor_metric=found.floor.metric,
        floor_worst=found.floor.worst,
        keeps_up_req_s=found.keeps_up_req_s,
        closed_form_replicas=found.closed_form_replicas,
        agrees=found.agrees_with_closed_form,
        at_step_factor=tuple(sorted(found.at_step_factor.items())),
        load=found.load,
        latencies=latencies,
        ttft_is_quotable=result is not None and result.ttft_is_quotable,
        in_slo_share=result.in_slo_share if result else 0.0,
        preemptions=result.preemptions if result else 0,
        mean_running=result.mean_running if result else 0.0,
        peak_cache_use=result.peak_cache_use if result else 0.0,
        simulated_replicas=trial.simulated if trial else 0,
        simulated_requests=result.requests if result else 0,
        runs=found.runs,
        curve=curve,
        series=None if result is None else series_rows(*_over_time(request, replicas)),
    )


def _curve(request: CapacityRequest, replicas: int, tell: Tell) -> tuple[CurveRow, ...]:
    """Without waiting times above the load at which they stop meaning anything."""
    if request.workload.arrivals.kind is ArrivalKind.BURST:
        return ()

    def loads() -> Iterator[float]:
        for index, load in enumerate(CURVE_LOADS):
            tell(_SEARCH_SHARE + 0.33 * index / len(CURVE_LOADS), "curve", round(100 * load))
            yield load

    points = latency_curve(
        request.costs,
        request.workload,
        request.slo,
        replicas=replicas,
        options=request.options,
        router=request.router,
        loads=loads(),
    )
    return tuple(_curve_row(point) for point in points)


def _curve_row(point: CurvePoint) -> CurveRow:
    window = point.trial.window
    known = point.load <= MAX_LOAD + 1e-9
    ttft, e2e = (window.ttft_ms, window.e2e_ms) if known else (np.nan, np.nan)
    return CurveRow(point.load, point.rate_per_s, ttft, window.tpot_ms, e2e, window.worst)


def _over_time(request: CapacityRequest, replicas: int) -> tuple[SimulationResult, int]:
    """A cell of the fleet under the traffic as it changes over the period."""
    cell = min(replicas, _SERIES_CELL)
    workload = share_of(request.workload, cell / replicas)
    table = sample(workload, run_length(workload, request.costs, request.options), seed=4)
    sampler = Sampler(_every(workload, request, table.arrival_s))
    fleet = Fleet((Pool("main", request.costs, cell, request.options),), request.router)
    result = simulate_fleet(fleet, table, seed=4, slos=class_limits(workload, request.slo), controls=(sampler,))
    return replace(result, series=sampler.series(cell)), cell


def _every(workload: Workload, request: CapacityRequest, arrival_s: np.ndarray) -> float:
    """About 240 samples. Closed loops have no arrival times before they run: their length follows from their rounds."""
    arrivals = workload.arrivals
    if arrivals.kind is ArrivalKind.CLOSED_LOOP:
        rounds = len(arrival_s) / max(1, arrivals.users)
        return max(rounds * (arrivals.think_s + time_alone(request.costs, workload, request.options)) / 240, 1e-3)
    return max(float(arrival_s.max() - arrival_s.min()) / 240, 1e-3)
