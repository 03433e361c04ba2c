"""A fleet at its peak while something happens to it: replicas fail, an update rolls through, clocks fall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from advisor.catalog.errors import InputError
from advisor.jobs.answers import EventReport, EventSide, Series
from advisor.jobs.messages import EVENT_CELL, EventKind, EventRequest
from advisor.jobs.runs import class_levels, class_limits, series_rows, share_of
from advisor.serving.control import Derating, Outage, Outages, RollingUpdate, Sampler, rolling_update
from advisor.serving.estimate import time_alone
from advisor.serving.fleet import Fleet, Pool
from advisor.serving.result import SimulationResult, TimeSeries, latency
from advisor.serving.sampling import sample
from advisor.serving.simulate import Control, simulate_fleet
from advisor.serving.summary import in_slo
from advisor.serving.workload import ArrivalKind, RequestTable, Workload

__all__ = ["event_report"]

_MOST_REQUESTS = 300_000
_SEED = 6
_SAMPLES = 240
_LONGEST_S = 14_400.0


@dataclass(frozen=True, slots=True)
class _Stage:
    """What is simulated. The event lasts from `start_s` to `end_s`; queues are shown up to `shown_s`."""

    fleet: Fleet
    table: RequestTable
    workload: Workload
    start_s: float
    end_s: float
    shown_s: float


def event_report(request: EventRequest, tell: Callable[[float, str, int], None]) -> EventReport:
    """The same requests with and without the event. Raises InputError for an event that cannot be."""
    stage = _stage(request)
    replicas = stage.fleet.replicas
    tell(0.1, "calm", replicas)
    calm, before = _run(request, stage, None)
    tell(0.55, "event", replicas)
    control = _control(request, stage)
    result, after = _run(request, stage, control)
    return EventReport(
        replicas=replicas,
        requests=len(stage.table),
        start_s=stage.start_s,
        end_s=stage.end_s,
        without=_side(request, stage, calm, before),
        during=_side(request, stage, result, after),
        retried=control.retried if isinstance(control, Outages) else 0,
        recovered_s=_recovered(stage, after, before),
        series=after,
        calm=before,
    )


def _stage(request: EventRequest) -> _Stage:
    """As long before the event as a fleet needs to settle, and as long after it as the event lasts."""
    if request.workload.arrivals.kind is ArrivalKind.BURST:
        raise InputError("traffic", "requests that keep arriving, not all at once", request.workload.name)
    cell = min(request.replicas, EVENT_CELL)
    if request.kind is not EventKind.DERATING and not 1 <= request.count <= cell:
        raise InputError("count", f"1..{cell} replicas", request.count)
    alone = time_alone(request.costs, request.workload, request.options)
    settle = max(60.0, 4 * alone)
    lasts = _lasts(request, cell)
    if not lasts <= _LONGEST_S:
        raise InputError("duration", f"an event of at most {_LONGEST_S:,.0f} s", round(lasts))
    span = settle + 2 * lasts + settle
    workload = _busiest(share_of(request.workload, cell / request.replicas))
    rate = _rate(workload, alone)
    if rate * span > _MOST_REQUESTS and cell > 1 and request.kind is EventKind.DERATING:
        smaller = max(1, int(cell * _MOST_REQUESTS / (rate * span)))
        workload, rate, cell = share_of(workload, smaller / cell), rate * smaller / cell, smaller
    if rate * span > 4 * _MOST_REQUESTS:
        longest = (4 * _MOST_REQUESTS / rate - 2 * settle) / 2
        raise InputError("duration", f"an event of at most {longest:,.0f} s at this rate", f"{lasts:,.0f} s")
    table = sample(workload, max(200, int(rate * span)), seed=_SEED)
    fleet = Fleet((Pool("main", request.costs, cell, request.options),), request.router)
    return _Stage(fleet, table, workload, settle, settle + lasts, span)


def _lasts(request: EventRequest, cell: int) -> float:
    if request.kind is EventKind.FAILURE:
        return request.recovery_s
    if request.kind is EventKind.UPDATE:
        return (request.drain_s + request.recovery_s) * -(-cell // request.count)
    if not request.derating:
        raise InputError("derating", "at least one time and factor", "none")
    return max(60.0, request.derating[-1][0] - request.derating[0][0])


def _control(request: EventRequest, stage: _Stage) -> Control:
    replicas = stage.fleet.replicas
    if request.kind is EventKind.FAILURE:
        return Outages([Outage(stage.start_s, tuple(range(request.count)), request.recovery_s)])
    if request.kind is EventKind.UPDATE:
        update = RollingUpdate(stage.start_s, request.recovery_s, request.drain_s, request.count)
        return Outages(rolling_update(update, replicas))
    first = request.derating[0][0]
    times = [stage.start_s + t - first for t, _ in request.derating]
    return Derating(times, [factor for _, factor in request.derating])


def _run(request: EventRequest, stage: _Stage, event: Control | None) -> tuple[SimulationResult, Series | None]:
    sampler = Sampler(stage.shown_s / _SAMPLES)
    controls: tuple[Control, ...] = (sampler,) if event is None else (event, sampler)
    result = simulate_fleet(
        stage.fleet,
        stage.table,
        seed=_SEED,
        slos=class_limits(stage.workload, request.slo),
        priorities=class_levels(stage.workload),
        controls=controls,
    )
    replicas = stage.fleet.replicas
    shown = _until(sampler.series(replicas), stage.shown_s)
    return result, series_rows(replace(result, series=shown), replicas)


def _until(series: TimeSeries, end_s: float) -> TimeSeries:
    """Rare requests go on arriving long after the event."""
    kept = series.time_s <= end_s
    columns = (series.time_s, series.waiting, series.running, series.replicas, series.cache_use)
    return TimeSeries(*(column[kept] for column in columns))


def _side(request: EventRequest, stage: _Stage, result: SimulationResult, series: Series | None) -> EventSide:
    outcome = result.outcome
    mine = (outcome.arrival_s >= stage.start_s) & (outcome.arrival_s < stage.end_s)
    good = in_slo(outcome, stage.table.request_class, class_limits(stage.workload, request.slo))
    times = (("ttft", outcome.ttft_s), ("tpot", outcome.tpot_s), ("e2e", outcome.e2e_s))
    return EventSide(
        requests=int(mine.sum()),
        in_slo_share=float(good[mine].mean()) if mine.any() else float("nan"),
        latencies=tuple((name, latency(seconds[mine])) for name, seconds in times),
        most_waiting=max(series.waiting, default=0.0) if series else 0.0,
    )


def _recovered(stage: _Stage, after: Series | None, before: Series | None) -> float | None:
    """Seconds after the event until as few wait as without it (or one for each replica)."""
    if after is None or before is None:
        return None
    usual = max(1.0, max(before.waiting, default=0.0))
    later = [t for t, waiting in zip(after.time_s, after.waiting, strict=True) if t >= stage.end_s and waiting <= usual]
    return max(0.0, later[0] - stage.end_s) if later else None


def _busiest(workload: Workload) -> Workload:
    arrivals = workload.arrivals
    return replace(workload, arrivals=replace(arrivals, rate_per_s=arrivals.peak_rate_per_s, shape=()))


def _rate(workload: Workload, alone_s: float) -> float:
    arrivals = workload.arrivals
    if arrivals.kind is ArrivalKind.CLOSED_LOOP:
        return arrivals.users / max(arrivals.think_s + alone_s, 1e-3)
    return arrivals.rate_per_s


