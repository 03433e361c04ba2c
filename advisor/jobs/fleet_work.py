"""A mixed fleet under its traffic: figures by class and by pool, with all replicas and without those that are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.jobs.answers import FleetReport, FleetRow
from advisor.jobs.messages import FleetMode, FleetRequest
from advisor.jobs.runs import class_levels, class_limits, run_length
from advisor.serving.fleet import Fleet, Pool
from advisor.serving.result import SimulationResult, latency
from advisor.serving.sampling import sample
from advisor.serving.simulate import simulate_fleet
from advisor.serving.stages import Transfer, cascade, disaggregated, edge_then_central
from advisor.serving.workload import RequestTable

__all__ = ["fleet_report"]

Floats = NDArray[np.float64]
_SEED = 3
_STAGED = (FleetMode.CASCADE, FleetMode.EDGE, FleetMode.DISAGGREGATED)


@dataclass(frozen=True, slots=True)
class _Run:
    """Seconds as the user sees them, arrays of shape (requests,), and the runs of the fleets behind them."""

    ttft_s: Floats
    e2e_s: Floats
    fleets: tuple[tuple[Fleet, SimulationResult], ...]


def fleet_report(request: FleetRequest, tell: Callable[[float, str, int], None]) -> FleetReport:
    """One run with all replicas, and one more where some are lost. Raises InputError."""
    if request.mode in _STAGED and len(request.pools) < 2:
        raise InputError("pools", "at least two, one to ask first and one behind it", len(request.pools))
    first = request.pools[0]
    table = sample(request.workload, run_length(request.workload, first.costs, first.options), seed=_SEED)
    if request.mode in _STAGED and len(table.follows):
        expected = "requests that arrive on their own for two stages: no closed loop, no conversations of several turns"
        raise InputError("traffic", expected, request.workload.name)
    counts = tuple(pool.replicas for pool in request.pools)
    tell(0.1, "fleet", sum(counts))
    report = _report(request, table, counts)
    if not sum(request.lost):
        return report
    left = tuple(count - gone for count, gone in zip(counts, request.lost, strict=True))
    tell(0.55, "outage", sum(request.lost))
    stranded = _stranded(request, left)
    if stranded:
        return replace(report, stranded=stranded)
    return replace(report, lost=_report(request, table, left))


def _stranded(request: FleetRequest, left: tuple[int, ...]) -> tuple[str, ...]:
    """Classes without a replica; all of them where one stage of two is gone."""
    names = tuple(c.name for c in request.workload.classes)
    if request.mode in _STAGED:
        return names if left[-1] < 1 or sum(left[:-1]) < 1 else ()
    rules = _rules(request)
    return tuple(name for name, pools in zip(names, rules, strict=True) if sum(left[p] for p in pools) < 1)


def _rules(request: FleetRequest) -> tuple[tuple[int, ...], ...]:
    everywhere = tuple(range(len(request.pools)))
    if request.mode is FleetMode.BY_CLASS:
        return request.class_pools
    return (everywhere,) * len(request.workload.classes)


def _report(request: FleetRequest, table: RequestTable, counts: tuple[int, ...]) -> FleetReport:
    run = _run(request, table, counts)
    tpot = np.full(len(table), np.nan)
    later = table.output_tokens - 1
    np.divide(run.e2e_s - run.ttft_s, later, out=tpot, where=later > 0)
    seconds = {"ttft": run.ttft_s, "tpot": tpot, "e2e": run.e2e_s}
    good = _within(request, table, seconds)
    span = max(run.fleets[0][1].makespan_s, 1e-12)
    names = tuple(c.name for c in request.workload.classes)
    classes = (_class_row(name, table.request_class == c, table, seconds, good, span) for c, name in enumerate(names))
    pools = tuple(row for fleet, result in run.fleets for row in _pool_rows(fleet, result, len(table)))
    return FleetReport(
        classes=tuple(row for row in classes if row.requests),
        pools=pools,
        latencies=tuple((name, latency(values)) for name, values in seconds.items()),
        in_slo_share=float(good.mean()),
        preemptions=sum(result.preemptions for _, result in run.fleets),
        unserved=int(np.isnan(run.e2e_s).sum()),
        requests=len(table),
    )


def _run(request: FleetRequest, table: RequestTable, counts: tuple[int, ...]) -> _Run:
    kept = [index for index, count in enumerate(counts) if count > 0]
    pools = tuple(
        Pool(request.pools[i].name, request.pools[i].costs, counts[i], request.pools[i].options) for i in kept
    )
    if request.mode in _STAGED:
        return _staged(request, table, Fleet(pools[:-1], request.router), Fleet(pools[-1:], request.router))
    rules = tuple(tuple(kept.index(p) for p in rule if p in kept) for rule in _rules(request))
    fleet = Fleet(pools, request.router, rules)
    levels = class_levels(request.workload)
    slos = class_limits(request.workload, request.slo)
    result = simulate_fleet(fleet, table, seed=_SEED, slos=slos, priorities=levels)
    return _Run(result.outcome.ttft_s, result.outcome.e2e_s, ((fleet, result),))


def _staged(request: FleetRequest, table: RequestTable, first: Fleet, last: Fleet) -> _Run:
    link = Transfer(request.link_s, request.link_s_per_token)
    if request.mode is FleetMode.DISAGGREGATED:
        found = disaggregated(first, last, table, link, seed=_SEED)
    elif request.mode is FleetMode.CASCADE:
        found = cascade(first, last, table, escalated_share=request.passed_share, seed=_SEED)
    else:
        found = edge_then_central(
            first,
            last,
            table,
            summary_tokens=request.summary_tokens,
            passed_share=request.passed_share,
            link=link,
            seed=_SEED,
        )
    second = ((last, found.second),) if found.second is not None else ()
    return _Run(found.ttft_s, found.e2e_s, ((first, found.first), *second))


def _within(request: FleetRequest, table: RequestTable, seconds: dict[str, Floats]) -> NDArray[np.bool_]:
    """Served, and within every limit of its class; answers of one token have no time per token to miss."""
    good = ~np.isnan(seconds["e2e"])
    for c, slo in enumerate(class_limits(request.workload, request.slo)):
        mine = table.request_class == c
        for name, limit in (("ttft", slo.ttft_ms), ("tpot", slo.tpot_ms), ("e2e", slo.e2e_ms)):
            if limit is not None:
                good &= ~mine | ~(seconds[name] * 1e3 > limit)
    return good


def _class_row(
    name: str,
    mine: NDArray[np.bool_],
    table: RequestTable,
    seconds: dict[str, Floats],
    good: NDArray[np.bool_],
    span: float,
) -> FleetRow:
    count = int(mine.sum())
    served = mine & ~np.isnan(seconds["e2e"])
    return FleetRow(
        name=name,
        requests=count,
        share=count / len(table),
        latencies=tuple((key, latency(values[mine])) for key, values in seconds.items()),
        in_slo_share=float(good[mine].mean()) if count else 0.0,
        output_tok_s=float(table.output_tokens[served].sum() / span),
        in_flight=float(np.nansum(seconds["e2e"][mine]) / span),
    )


def _pool_rows(fleet: Fleet, result: SimulationResult, requests: int) -> tuple[FleetRow, ...]:
    """What each pool did itself; a cascaded request counts in both pools that worked on it."""
    outcome, span = result.outcome, max(result.makespan_s, 1e-12)
    ends = np.cumsum([pool.replicas for pool in fleet.pools])
    where = np.searchsorted(ends, outcome.replica, side="right")
    rows = []
    for index, pool in enumerate(fleet.pools):
        mine = (where == index) & (outcome.status == 0)
        times = (("ttft", outcome.ttft_s), ("tpot", outcome.tpot_s), ("e2e", outcome.e2e_s))
        generated = np.where(np.isnan(outcome.tpot_s), 1, (outcome.e2e_s - outcome.ttft_s) / outcome.tpot_s + 1)
        rows.append(
            FleetRow(
                name=pool.name,
                requests=int(mine.sum()),
                share=float(mine.sum()) / requests,
                latencies=tuple((key, latency(seconds[mine])) for key, seconds in times),
                in_slo_share=float("nan"),
                output_tok_s=float(np.nansum(generated[mine]) / span),
                in_flight=float(np.nansum(outcome.e2e_s[mine]) / span),
                replicas=pool.replicas,
            )
        )
    return tuple(rows)
