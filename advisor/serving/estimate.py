"""What `steady` says about one engine given by its step costs: how many replicas, before anything is simulated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from advisor.serving.engines import EngineOptions
from advisor.serving.steady import Demand, StepCurve, fewest_replicas
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import ArrivalKind, Slo, Workload

__all__ = ["curve_of", "replicas_by_closed_form", "time_alone"]

_SEQUENCES = (1.0, 8.0, 32.0, 64.0, 256.0, 1024.0)


def curve_of(costs: StepCosts, workload: Workload, options: EngineOptions) -> StepCurve:
    """The steps of one replica, all `dp` ranks of it, with mean requests of the workload.

    The prompts of several ranks that fall into one step share its time, since the ranks wait for each other.
    """
    table, budget, dp = costs.table(), costs.max_num_batched_tokens, costs.dp
    prompt, output = workload.mean_input_tokens, workload.mean_output_tokens
    cached = min(workload.mean_cached_tokens, prompt - 1)
    new = max(1.0, prompt - cached)
    chunks = math.ceil(new / budget)
    tokens = new / chunks
    attention = costs.cpre * max(tokens, costs.cmin) * (cached + new / 2)
    held = np.array(_SEQUENCES) / dp
    prompts = np.array(_SEQUENCES) * chunks / (output + chunks - 1)
    reads = costs.cdec - np.expm1(-prompts) * (costs.cmix - costs.cdec)
    decode = _at(table, held) + reads * held * workload.running_context_tokens
    beside = np.zeros_like(held) if options.prefill_first else held
    chunk = _at(table, beside + tokens) - (0 if options.prefill_first else _at(table, held)) + attention
    alone = chunks * (float(_at(table, np.array([tokens]))[0]) + attention)
    room = costs.kvcap_tokens // max(1.0, prompt - workload.mean_cached_tokens + output)
    speed = options.speculation.accepted_tokens if options.speculation else 1.0
    one = np.ones(1)
    return StepCurve(
        sequences=np.array(_SEQUENCES),
        decode_s=decode[:, None],
        chunk_s=np.maximum(chunk * (1 / dp + (1 - 1 / dp) * np.exp(-prompts)), 0.0)[:, None],
        alone_s=one * alone,
        outside_s=one * costs.outside_s,
        chunks=one * chunks,
        chunks_per_step=one * max(dp * budget / tokens, 1.0),
        output_tokens=one * output / speed,
        seats=one * dp * min(costs.max_num_seqs, max(1, int(room))),
    )


def replicas_by_closed_form(costs: StepCosts, workload: Workload, slo: Slo, options: EngineOptions) -> float:
    """At the busiest moment. Infinite: no number is enough; NaN: requests that arrive all at once have no answer."""
    arrivals = workload.arrivals
    if arrivals.kind is ArrivalKind.BURST:
        return math.nan
    demand = Demand(arrivals.peak_rate_per_s)
    if arrivals.kind is ArrivalKind.CLOSED_LOOP:
        demand = Demand(users=arrivals.users, pause_s=arrivals.think_s)
    limits = [slo if c.slo.is_empty else c.slo for c in workload.classes]
    return float(fewest_replicas(curve_of(costs, workload, options), demand, _tightest(limits)).replicas[0])


def time_alone(costs: StepCosts, workload: Workload, options: EngineOptions) -> float:
    """Seconds of a mean request on an idle replica."""
    curve = curve_of(costs, workload, options)
    return float(curve.outside_s[0] + curve.alone_s[0] + curve.output_tokens[0] * curve.decode_s[0, 0])


def _at(table: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return np.asarray(np.interp(tokens, np.arange(len(table)), table), dtype=np.float64)


def _tightest(limits: list[Slo]) -> Slo:
    """The formula knows one mean request: the strictest limit of any class."""

    def least(name: str) -> float | None:
        return min((v for slo in limits if (v := getattr(slo, name)) is not None), default=None)

    names = ("ttft_ms", "tpot_ms", "e2e_ms")
    return replace(limits[0], **{name: least(name) for name in names}, percentile=max(s.percentile for s in limits))
