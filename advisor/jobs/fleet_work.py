"""A mixed fleet under its traffic: figures by class and by pool, with all replicas and with some lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.jobs.answers import FleetReport, FleetRow
from advisor.jobs.messages import FleetRequest
from advisor.jobs.runs import class_levels, class_limits, run_length, series_rows
from advisor.serving.cascade import escalate
from advisor.serving.control import Outage, Outages, Sampler
from advisor.serving.fleet import Fleet, Pool
from advisor.serving.result import RequestOutcome, SimulationResult, latency
from advisor.serving.sampling import sample
from advisor.serving.simulate import simulate_fleet
from advisor.serving.summary import in_slo
from advisor.serving.workload import RequestTable, Slo

__all__ = ["fleet_report"]

_LOST_AT = 0.35  # of the run: after the warm-up, with time left to recover
_SAMPLES = 240


def fleet_report(request: FleetRequest, tell: Callable[[float, str, int], None]) -> FleetReport:
    """One run with all replicas, and one more where some are lost. Raises InputError."""
    table, slos, names = _traffic(request)
    tell(0.1, "fleet", sum(pool.replicas for pool in request.pools))
    report = _run(request, table, slos, names, ())
    if not request.lost:
        return report
    tell(0.55, "outage", len(request.lost))
    return replace(report, lost=_run(request, table, slos, names, request.lost))


def _traffic(request: FleetRequest) -> tuple[RequestTable, tuple[Slo, ...], tuple[str, ...]]:
    workload = request.workload
    count = run_length(workload, request.pools[0].costs)
    table = sample(workload, count, seed=3)
    slos, names = class_limits(workload, request.slo), tuple(c.name for c in workload.classes)
    if request.escalated <= 0:
        return table, slos, names
    if len(request.pools) < 2:
        raise InputError("pools", "at least two for a cascade", len(request.pools))
    table, _ = escalate(table, request.escalated, len(workload.classes), seed=3)
    return table, (*slos, *slos), (*names, *(f"{name} ↑" for name in names))


def _fleet(request: FleetRequest) -> Fleet:
    pools = tuple(Pool(p.name, p.costs, p.replicas, p.options) for p in request.pools)
    classes = len(request.workload.classes)
    if request.escalated > 0:
        last = len(pools) - 1
        return Fleet(pools, request.router, (tuple(range(last)),) * classes + ((last,),) * classes)
    return Fleet(pools, request.router, request.class_pools)


def _run(
    request: FleetRequest, table: RequestTable, slos: tuple[Slo, ...], names: tuple[str, ...], lost: tuple[int, ...]
) -> FleetReport:
    fleet = _fleet(request)
    span = _span(request, table)
    sampler = Sampler(span / _SAMPLES)
    outages = Outages((Outage(_LOST_AT * span, lost, span),)) if lost else None
    levels = class_levels(request.workload)
    result = simulate_fleet(
        fleet,
        table,
        seed=3,
        slos=slos,
        priorities=levels * (len(slos) // len(request.workload.classes)) if levels else (),
        controls=(outages, sampler) if outages else (sampler,),
    )
    series = series_rows(replace(result, series=sampler.series(fleet.replicas)), fleet.replicas)
    assert series is not None  # a sampler always takes a first sample
    classes = tuple(_row(name, table.request_class == c, result, table, slos) for c, name in enumerate(names))
    return FleetReport(
        classes=tuple(row for row in classes if row.requests),
        pools=_pools(fleet, result, table, slos),
        whole_e2e=latency(_whole(result.outcome, table, request)),
        in_slo_share=result.in_slo_share,
        preemptions=result.preemptions,
        unserved=result.requests - result.served,
        requests=result.requests,
        series=series,
        retried=outages.retried if outages else 0,
    )


def _span(request: FleetRequest, table: RequestTable) -> float:
    """Seconds of traffic; of a closed loop about the pauses of its requests."""
    first = table.follows < 0 if len(table.follows) else np.ones(len(table), dtype=np.bool_)
    open_span = float(table.arrival_s[first].max() - table.arrival_s[first].min())
    arrivals = request.workload.arrivals
    rounds = len(table) / max(1, arrivals.users) if arrivals.users else 0.0
    return max(open_span, rounds * arrivals.think_s, 1.0)


def _pools(fleet: Fleet, result: SimulationResult, table: RequestTable, slos: tuple[Slo, ...]) -> tuple[FleetRow, ...]:
    ends = np.cumsum([pool.replicas for pool in fleet.pools])
    where = np.searchsorted(ends, result.outcome.replica, side="right")
    served = result.outcome.status == 0
    rows = []
    for index, pool in enumerate(fleet.pools):
        row = _row(pool.name, served & (where == index), result, table, slos)
        rows.append(replace(row, replicas=pool.replicas))
    return tuple(rows)


def _row(
    name: str, mine: NDArray[np.bool_], result: SimulationResult, table: RequestTable, slos: tuple[Slo, ...]
) -> FleetRow:
    outcome, count = result.outcome, int(mine.sum())
    good = in_slo(outcome, table.request_class, slos)
    span = max(result.makespan_s, 1e-12)
    times = (("ttft", outcome.ttft_s), ("tpot", outcome.tpot_s), ("e2e", outcome.e2e_s))
    served = mine & (outcome.status == 0)
    return FleetRow(
        name=name,
        requests=count,
        share=count / len(table),
        latencies=tuple((key, latency(seconds[mine])) for key, seconds in times),
        in_slo_share=float(good[mine].mean()) if count else 0.0,
        output_tok_s=float(table.output_tokens[served].sum() / span),
        in_flight=float(np.nansum(outcome.e2e_s[mine]) / span),
    )


def _whole(outcome: RequestOutcome, table: RequestTable, request: FleetRequest) -> NDArray[np.float64]:
    """Seconds from the first question to the last answer; second answers count with the question they belong to."""
    classes = len(request.workload.classes)
    whole = outcome.e2e_s.copy()
    again = np.flatnonzero(table.request_class >= classes)
    if not len(again):
        return whole
    whole[table.follows[again]] = outcome.last_token_s[again] - outcome.arrival_s[table.follows[again]]
    whole[again] = np.nan
    return whole
