"""From the final state of a simulation to its result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advisor.serving.fleet import Fleet
from advisor.serving.result import Latency, RequestOutcome, SimulationResult, TimeShares, latency
from advisor.serving.state import State, column
from advisor.serving.workload import RequestTable, Slo

__all__ = ["in_slo", "outcome_of", "summarise"]

Floats = NDArray[np.float64]


def outcome_of(state: State, fleet: Fleet, table: RequestTable) -> RequestOutcome:
    """Times per request; NaN where something did not happen. Tokens count from when the user sees them.

    What a request spends in the server around the engine delays all engines of a pool alike: it shifts the answer.
    """
    status = column(state.req, "status")
    served = status == 0
    replica = column(state.ranks, "group")[column(state.req, "rank")]
    outside = np.array([pool.costs.outside_s for pool in fleet.pools])[column(state.groups, "pool")[replica]]
    first, last = (np.where(served, column(state.req, name) + outside, np.nan) for name in ("first", "last"))
    arrival, scheduled = column(state.req, "arrival"), column(state.req, "sched")
    steps = table.output_tokens - 1
    tpot = np.full(len(table), np.nan)
    np.divide(last - first, steps, out=tpot, where=served & (steps > 0))
    return RequestOutcome(
        arrival_s=arrival,
        scheduled_s=np.where(scheduled >= 0, scheduled, np.nan),
        first_token_s=first,
        last_token_s=last,
        ttft_s=first - arrival,
        tpot_s=tpot,
        e2e_s=last - arrival,
        replica=replica,
        preemptions=column(state.req, "preempted"),
        status=status,
    )


def in_slo(outcome: RequestOutcome, classes: NDArray[np.int64], slos: tuple[Slo, ...]) -> NDArray[np.bool_]:
    """Served within every limit of its class; answers of one token have no TPOT to miss."""
    good: NDArray[np.bool_] = outcome.status == 0
    for c, slo in enumerate(slos):
        mine = classes == c
        pairs = ((outcome.ttft_s, slo.ttft_ms), (outcome.tpot_s, slo.tpot_ms), (outcome.e2e_s, slo.e2e_ms))
        for value, limit in pairs:
            if limit is not None:
                good &= ~mine | ~(value * 1e3 > limit)
    return good


def summarise(
    state: State,
    fleet: Fleet,
    table: RequestTable,
    *,
    slos: tuple[Slo, ...],
    class_names: tuple[str, ...],
    cpu_s: float,
) -> SimulationResult:
    outcome = outcome_of(state, fleet, table)
    served = outcome.status == 0
    start = float(outcome.arrival_s.min())
    end = float(np.nanmax(outcome.last_token_s)) if served.any() else start
    span = max(end - start, 1e-12)
    good = in_slo(outcome, table.request_class, slos)
    busy, groups = float(column(state.groups, "busy_s").sum()), len(column(state.groups, "busy_s"))
    return SimulationResult(
        requests=len(table),
        served=int(served.sum()),
        rejected=int(np.isin(outcome.status, (1, 3)).sum()),
        timed_out=int((outcome.status == 2).sum()),
        preemptions=int(outcome.preemptions.sum()),
        ttft_ms=latency(outcome.ttft_s),
        tpot_ms=latency(outcome.tpot_s),
        e2e_ms=latency(outcome.e2e_s),
        makespan_s=end - start,
        output_tok_s=float(table.output_tokens[served].sum() / span),
        input_tok_s=float(table.input_tokens[served].sum() / span),
        goodput_req_s=float(good.sum() / span),
        in_slo_share=float(good.mean()),
        utilisation=busy / (groups * span),
        mean_running=float(column(state.groups, "run_s").sum() / busy) if busy > 0 else 0.0,
        peak_cache_use=_peak_cache_use(state),
        steps=int(column(state.groups, "steps").sum()),
        replica_hours=fleet.replicas * span / 3600,
        cpu_s=cpu_s,
        time_shares=_time_shares(state, busy),
        outcome=outcome,
        by_class=_by_class(outcome, table.request_class, class_names),
    )


def _peak_cache_use(state: State) -> float:
    pools = column(state.groups, "pool")[column(state.ranks, "group")]
    return float((column(state.ranks, "peak") / column(state.pools, "blocks")[pools]).max())


def _time_shares(state: State, busy: float) -> TimeShares:
    names = ("mixed_s", "cache_s", "seats_s", "budget_s")
    ranks = len(column(state.ranks, "group")) / len(column(state.groups, "pool"))
    return TimeShares(*(float(column(state.groups, name).sum()) / max(busy * ranks, 1e-12) for name in names))


def _by_class(
    outcome: RequestOutcome, classes: NDArray[np.int64], names: tuple[str, ...]
) -> dict[str, dict[str, Latency]]:
    answer = {}
    for c, name in enumerate(names):
        mine = classes == c
        times = {"ttft_ms": outcome.ttft_s, "tpot_ms": outcome.tpot_s, "e2e_ms": outcome.e2e_s}
        answer[name] = {key: latency(value[mine]) for key, value in times.items()}
    return answer
