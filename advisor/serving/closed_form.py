"""Latency and replicas without simulation, for whole grids of plans; the simulator answers for the finalists.

Decode: Little's law on a step that grows with the batch, slowed by the share of time that prefill takes.
Waiting for prefill: Pollaczek-Khinchine with an exponential tail. Waiting for a seat: Sakasegawa's
approximation of G/G/c (1977). Arrays in, arrays out: every field may be a scalar or of shape (plans,).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import Slo, Workload

__all__ = ["MAX_LOAD", "ClosedForm", "ReplicaRates", "Traffic", "at_rate", "closed_form", "rates_from_step_costs"]

Floats = NDArray[np.float64]
MAX_LOAD = 0.9  # share of the rate that keeps up; above it a waiting-time percentile means nothing
_BISECTIONS = 40
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class ReplicaRates:
    """What one replica can do with a mean request of the traffic."""

    prefill_s: Any  # alone on the replica
    prefill_work_s: Any  # added to steps that decode anyway; equal to `prefill_s` where unknown
    step_base_s: Any  # decode step of an almost empty batch
    step_per_sequence_s: Any  # each further sequence, its cache reads at mean context included
    max_sequences: Any  # by cache and seats


@dataclass(frozen=True, slots=True)
class Traffic:
    """Load on the whole fleet. `cv`: of the inter-arrival times; `work_cv`: of the work per request."""

    rate_per_s: Any
    output_tokens: Any
    cv: float = 1.0
    work_cv: float = 1.0

    @classmethod
    def of(cls, workload: Workload) -> Traffic:
        return cls(workload.arrivals.rate_per_s, workload.mean_output_tokens, workload.arrivals.cv)


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """Arrays of shape (plans,). Latencies are at the SLO's percentile; infinite where the rate cannot be held.

    `replicas` is infinite where no number of replicas meets the limits. `utilisation`: of the rate that keeps up.
    """

    replicas: Floats
    rate_per_replica_s: Floats  # that meets every limit
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    concurrency: Floats  # per replica
    utilisation: Floats


def rates_from_step_costs(costs: StepCosts, workload: Workload) -> ReplicaRates:
    """Of one engine with mean requests of the workload; all `dp` ranks together."""
    table = costs.table()
    cached = min(workload.mean_cached_tokens, workload.mean_input_tokens - 1)
    new = max(1.0, workload.mean_input_tokens - cached)
    context = workload.running_context_tokens
    budget = costs.max_num_batched_tokens
    chunks = np.ceil(new / budget)
    chunk = int(min(budget, max(1, round(new / chunks))))
    attention = costs.cpre * chunks * max(chunk, costs.cmin) * (cached + new / 2)
    work = chunks * max(0.0, table[chunk] - table[min(1, budget)]) + attention
    seats = np.minimum(costs.max_num_seqs, max(1, costs.kvcap_tokens // max(1.0, context)))
    # With every seat taken, seats / output requests enter per step; reads cost `cmix` in steps that prefill.
    mixed = 1 - np.exp(-seats * chunks / workload.mean_output_tokens)
    at_full = table[int(seats)] + (costs.cdec + mixed * (costs.cmix - costs.cdec)) * seats * context
    base = table[1] + costs.cdec * context
    slope = (at_full - base) / max(1.0, seats - 1)
    ranks = costs.dp
    return ReplicaRates(
        prefill_s=np.float64(chunks * table[chunk] + attention),
        prefill_work_s=np.float64(work / ranks),
        step_base_s=np.float64(base),
        step_per_sequence_s=np.float64(slope / ranks),
        max_sequences=np.float64(seats * ranks),
    )


def closed_form(rates: ReplicaRates, traffic: Traffic, slo: Slo) -> ClosedForm:
    """Fewest replicas that meet `slo` at `traffic`, and the latency then."""
    limit = _rate_that_keeps_up(rates, traffic) * MAX_LOAD
    low, high = np.zeros_like(limit), limit.copy()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        good = _meets(at_rate(rates, traffic, middle, slo), slo)
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    best = np.where(_meets(at_rate(rates, traffic, limit, slo), slo), limit, low)
    possible = best > limit * 1e-6
    fleet = np.ceil(np.asarray(traffic.rate_per_s) / np.maximum(best, _TINY) - 1e-9)
    replicas = np.where(possible, np.maximum(1.0, fleet), np.inf)
    answer = at_rate(rates, traffic, np.asarray(traffic.rate_per_s) / replicas, slo)
    return ClosedForm(replicas, np.where(possible, best, 0.0), *answer)


def at_rate(rates: ReplicaRates, traffic: Traffic, rate: Any, slo: Slo) -> tuple[Floats, ...]:
    """(ttft, tpot, e2e, concurrency, utilisation) of one replica that gets `rate` requests per second."""
    rate = np.asarray(rate, dtype=np.float64)
    share = slo.percentile / 100
    prefill_load = np.minimum(rate * rates.prefill_work_s, 0.999)
    tokens = rate * traffic.output_tokens
    room = 1 - prefill_load - tokens * rates.step_per_sequence_s
    batch = np.where(room > 0, tokens * rates.step_base_s / np.maximum(room, _TINY), np.inf)
    seats = np.asarray(rates.max_sequences, dtype=np.float64)
    crowd = np.minimum(batch + NormalDist().inv_cdf(share) * np.sqrt(np.minimum(batch, 1e12)), seats)
    tpot = (rates.step_base_s + rates.step_per_sequence_s * np.maximum(crowd - 1, 0)) / (1 - prefill_load)
    variation = (traffic.cv**2 + traffic.work_cv**2) / 2
    wait = _prefill_wait(rates, rate, variation, share) + _seat_wait(rates, traffic, rate, variation, share)
    utilisation = rate / np.maximum(_rate_that_keeps_up(rates, traffic), _TINY)
    ttft = np.where(utilisation < 1, rates.prefill_s + tpot / 2 + wait, np.inf)
    tpot = np.where(utilisation < 1, tpot, np.inf)
    e2e = ttft + tpot * np.maximum(np.asarray(traffic.output_tokens) - 1, 0)
    return ttft, tpot, e2e, np.minimum(batch, seats), utilisation


def _rate_that_keeps_up(rates: ReplicaRates, traffic: Traffic) -> Floats:
    """Requests per second at which work equals time, with every seat taken."""
    full_step = rates.step_base_s + rates.step_per_sequence_s * (np.asarray(rates.max_sequences) - 1)
    decode = traffic.output_tokens * full_step / np.maximum(rates.max_sequences, 1)
    per_request = np.asarray(rates.prefill_work_s + decode, dtype=np.float64)
    rate = 1 / np.maximum(per_request, _TINY)
    return np.asarray(np.where(np.asarray(rates.max_sequences) >= 1, rate, 0.0))


def _prefill_wait(rates: ReplicaRates, rate: Floats, variation: float, share: float) -> Floats:
    """Quantile of the wait behind other prompts (M/G/1, exponential tail)."""
    load = np.minimum(rate * rates.prefill_work_s, 0.999)
    mean = load * rates.prefill_s * variation / (1 - load)
    return np.where(
        load > 1 - share, mean / np.maximum(load, _TINY) * np.log(np.maximum(load, _TINY) / (1 - share)), 0.0
    )


def _seat_wait(rates: ReplicaRates, traffic: Traffic, rate: Floats, variation: float, share: float) -> Floats:
    """Quantile of the wait for a seat (G/G/c, exponential tail)."""
    seats = np.maximum(np.asarray(rates.max_sequences, dtype=np.float64), 1.0)
    load = np.minimum(rate / np.maximum(_rate_that_keeps_up(rates, traffic), _TINY), 0.999)
    full_step = rates.step_base_s + rates.step_per_sequence_s * (seats - 1)
    service = traffic.output_tokens * full_step / (1 - np.minimum(rate * rates.prefill_work_s, 0.999))
    busy = load ** (np.sqrt(2 * (seats + 1)) - 1)  # Sakasegawa's probability of waiting
    mean = variation * busy * service / (seats * (1 - load))
    return np.where(
        busy > 1 - share, mean / np.maximum(busy, _TINY) * np.log(np.maximum(busy, _TINY) / (1 - share)), 0.0
    )


def _meets(answer: tuple[Floats, ...], slo: Slo) -> NDArray[np.bool_]:
    ttft, tpot, e2e = answer[:3]
    good = np.isfinite(ttft) & np.isfinite(tpot)
    for value, limit in ((ttft, slo.ttft_ms), (tpot, slo.tpot_ms), (e2e, slo.e2e_ms)):
        if limit is not None:
            good &= value * 1e3 <= limit
    return good
