"""Requests that pass through two fleets: prefill and decode apart, small model first, edge before centre.

The second fleet does not slow the first, so the two are simulated one after the other, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.serving.fleet import Fleet
from advisor.serving.result import Latency, SimulationResult, latency
from advisor.serving.simulate import simulate_fleet
from advisor.serving.workload import RequestTable

__all__ = ["StagedResult", "Transfer", "cascade", "disaggregated", "edge_then_central"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Time to move a request from one fleet to the other."""

    latency_s: float = 0.0
    s_per_token: float = 0.0  # cache bytes per token over the link's bytes per second

    def __post_init__(self) -> None:
        if not (self.latency_s >= 0 and self.s_per_token >= 0):
            raise InputError("transfer", "times >= 0", self.latency_s)


@dataclass(frozen=True, slots=True)
class StagedResult:
    """Latencies as the user sees them, over both stages. `passed_on`: share of requests in the second."""

    ttft_ms: Latency
    tpot_ms: Latency
    e2e_ms: Latency
    ttft_s: Floats
    e2e_s: Floats
    passed_on: float
    first: SimulationResult
    second: SimulationResult | None


def disaggregated(
    prefill: Fleet, decode: Fleet, table: RequestTable, transfer: Transfer, *, seed: int = 0
) -> StagedResult:
    """Prompts on one fleet, answers on the other; the cache of the prompt moves in between.

    The first token comes from the prefill fleet.
    """
    ones = np.ones(len(table), dtype=np.int64)
    first = simulate_fleet(prefill, replace(table, output_tokens=ones), seed=seed)
    longer = np.flatnonzero((table.output_tokens > 1) & (first.outcome.status == 0))
    moved = transfer.latency_s + transfer.s_per_token * table.input_tokens[longer]
    known = table.input_tokens[longer]
    second, _, end = _second(
        decode,
        first.outcome.last_token_s[longer] + moved,
        (known + 1, table.output_tokens[longer] - 1, known),
        table.request_class[longer],
        seed,
    )
    last = first.outcome.last_token_s.copy()
    last[longer] = end
    return _staged(table, first.outcome.first_token_s, last, len(longer) / len(table), first, second)


def cascade(
    small: Fleet, large: Fleet, table: RequestTable, *, escalated_share: float, judge_s: float = 0.0, seed: int = 0
) -> StagedResult:
    """Every request goes to the small model; a share of the answers is judged poor and asked of the large one.

    The first token that counts for those is the large model's. Which ones: at random, the same for a seed.
    """
    _check_share("escalated_share", escalated_share)
    first = simulate_fleet(small, table, seed=seed)
    chosen = np.random.default_rng([seed, 11]).random(len(table)) < escalated_share
    again = np.flatnonzero(chosen & (first.outcome.status == 0))
    lengths = (table.input_tokens[again], table.output_tokens[again], table.prefix_hit_tokens[again])
    arrivals = first.outcome.last_token_s[again] + judge_s
    return _replaced(table, first, _second(large, arrivals, lengths, table.request_class[again], seed), again)


def edge_then_central(
    edge: Fleet,
    central: Fleet,
    table: RequestTable,
    *,
    summary_tokens: int,
    passed_share: float,
    link: Transfer,
    seed: int = 0,
) -> StagedResult:
    """The edge answers by itself or writes a summary that the central model answers from.

    Requests that stay get their whole answer at the edge; those passed on cost the edge `summary_tokens` of output
    and the centre as many of input.
    """
    _check_share("passed_share", passed_share)
    if summary_tokens < 1:
        raise InputError("summary_tokens", "a whole number >= 1", summary_tokens)
    passed = np.random.default_rng([seed, 13]).random(len(table)) < passed_share
    at_edge = np.where(passed, summary_tokens, table.output_tokens)
    first = simulate_fleet(edge, replace(table, output_tokens=at_edge), seed=seed)
    on = np.flatnonzero(passed & (first.outcome.status == 0))
    sent = np.full(len(on), summary_tokens, dtype=np.int64)
    arrivals = first.outcome.last_token_s[on] + link.latency_s + link.s_per_token * summary_tokens
    lengths = (sent, table.output_tokens[on], np.zeros(len(on), dtype=np.int64))
    return _replaced(table, first, _second(central, arrivals, lengths, table.request_class[on], seed), on)


def _second(
    fleet: Fleet, arrivals: Floats, lengths: tuple[NDArray[np.int64], ...], classes: NDArray[np.int64], seed: int
) -> tuple[SimulationResult | None, Floats, Floats]:
    """Run the second stage; returns its result, first tokens and ends of its requests in the order given."""
    if not len(arrivals):
        return None, np.zeros(0), np.zeros(0)
    order = np.argsort(arrivals, kind="stable")
    inputs, outputs, hits = (values[order] for values in lengths)
    result = simulate_fleet(fleet, RequestTable(arrivals[order], inputs, outputs, hits, classes[order]), seed=seed)
    begins, ends = np.empty(len(arrivals)), np.empty(len(arrivals))
    begins[order], ends[order] = result.outcome.first_token_s, result.outcome.last_token_s
    return result, begins, ends


def _replaced(
    table: RequestTable,
    first: SimulationResult,
    second: tuple[SimulationResult | None, Floats, Floats],
    rows: NDArray[np.intp],
) -> StagedResult:
    """Requests at `rows` get the times of the second stage."""
    result, begins, ends = second
    begin, last = first.outcome.first_token_s.copy(), first.outcome.last_token_s.copy()
    begin[rows], last[rows] = begins, ends
    return _staged(table, begin, last, len(rows) / len(table), first, result)


def _staged(
    table: RequestTable,
    begin: Floats,
    last: Floats,
    passed_on: float,
    first: SimulationResult,
    second: SimulationResult | None,
) -> StagedResult:
    ttft, e2e = begin - table.arrival_s, last - table.arrival_s
    steps = table.output_tokens - 1
    tpot = np.full(len(table), np.nan)
    np.divide(last - begin, steps, out=tpot, where=steps > 0)
    return StagedResult(latency(ttft), latency(tpot), latency(e2e), ttft, e2e, passed_on, first, second)


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise InputError(name, "0..1", share)
