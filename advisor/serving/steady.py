"""Latency and replicas of continuous batching without simulation, for whole grids of plans.

A request spends one step per output token and one per further prompt chunk. With `x` other requests on its replica
a step takes `decode(1 + x) + f·chunk`, where f = x·chunks/steps is the mean number of prompt chunks that share it.
Mean value analysis (Reiser and Lavenberg 1980) then gives everything from x: the time T(x) of a request, the rate
(x = rate·T for Poisson arrivals; users with pauses see one user fewer), and the spread of x: a rate of
completions that is linear in x makes the number negative binomial, variance x/(1 - d ln T/d ln x).
Waits for a place among the prompt tokens of a step and for a seat: Sakasegawa's G/G/c (1977), exponential tail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import log
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from advisor.serving.workload import Slo

__all__ = ["MAX_LOAD", "Demand", "Steady", "StepCurve", "fewest_replicas"]

Floats = NDArray[np.float64]
MAX_LOAD = 0.9  # share of the rate that keeps up; above it a waiting-time percentile means nothing
_HALVINGS = 18
_FEWEST_OTHERS = 1e-4
_BUSY = 0.999


@dataclass(frozen=True, slots=True)
class StepCurve:
    """Seconds of the steps of one replica by sequences in flight; arrays of shape (plans,) unless said."""

    sequences: Floats  # shape (points,), ascending from 1
    decode_s: Floats  # shape (points, plans): a step that decodes that many
    chunk_s: Floats  # shape (points, plans): what one prompt chunk adds to it
    alone_s: Floats  # in the engine to the first token, on an idle replica
    outside_s: Floats  # of a request before it reaches the engine's steps: it waits then, but takes no seat
    chunks: Floats  # of one prompt
    chunks_per_step: Floats  # the most that fit into the token budget of a step
    output_tokens: Floats
    seats: Floats  # sequences at once, by cache and engine

    def take(self, rows: NDArray[np.bool_]) -> StepCurve:
        columns = {item.name: getattr(self, item.name)[..., rows] for item in fields(self) if item.name != "sequences"}
        return StepCurve(sequences=self.sequences, **columns)

    @property
    def steps(self) -> Floats:
        """Steps of one request."""
        return np.asarray(self.output_tokens + self.chunks - 1)

    def at(self, sequences: Floats) -> tuple[Floats, Floats]:
        """(decode step, what a chunk adds to it), linear between the points."""
        plans = len(self.chunks)
        k = np.zeros(plans, dtype=np.intp)
        for point in self.sequences[1:-1]:  # few points: counting those below is quicker than searching
            k += sequences >= point
        part = np.maximum((sequences - self.sequences.take(k)) / np.diff(self.sequences).take(k), 0)
        here = k * plans + np.arange(plans)
        decode_s, chunk_s = self.decode_s.ravel(), self.chunk_s.ravel()
        first, chunk = decode_s.take(here), chunk_s.take(here)
        decode = first + part * (decode_s.take(here + plans) - first)
        return decode, np.maximum(chunk + part * (chunk_s.take(here + plans) - chunk), 0.0)


@dataclass(frozen=True, slots=True)
class Demand:
    """Traffic on the whole fleet: requests per second, or users who pause between an answer and the next request."""

    rate_per_s: float | None = None
    users: float = 0.0
    pause_s: float = 0.0

    @property
    def total(self) -> float:
        return self.users if self.rate_per_s is None else self.rate_per_s


@dataclass(frozen=True, slots=True)
class Steady:
    """Arrays of shape (plans,); seconds at the SLO's percentile. Infinite `replicas`: no number meets the limits."""

    replicas: Floats
    sequences: Floats  # in flight on each replica
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    utilisation: Floats  # of the rate that keeps up; of the seats for users without pauses
    requests_per_s: Floats  # of the whole fleet


def fewest_replicas(curve: StepCurve, demand: Demand, slo: Slo) -> Steady:
    """Fewest replicas that meet `slo`, and the latency then."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        most = _most_others(curve, demand)
        none = np.full_like(most, _FEWEST_OTHERS)
        meets = _Meets(curve, demand, slo)
        low = _largest(meets, none, np.maximum(most, none))
        possible = (curve.seats >= 1) & meets(none)
        each = _state(curve, demand, low).demand
        fleet = np.maximum(1.0, np.ceil(demand.total / each - 1e-9))
        replicas = np.where(possible, fleet, np.inf)
        share = np.where(possible, demand.total / fleet, 0.0)
        others = _largest(lambda x: _state(curve, demand, x).demand <= share, none, np.maximum(most, none))
        others = np.where(meets(others), others, low)
        state = _state(curve, demand, others)
        ttft, tpot, e2e = _latencies(curve, state, slo.percentile / 100, meets.keeps_up)
        busy = None if meets.keeps_up is None else state.rate / meets.keeps_up
    return Steady(
        replicas=replicas,
        sequences=state.sequences,
        ttft_s=ttft,
        tpot_s=tpot,
        e2e_s=e2e,
        utilisation=np.minimum(state.sequences / np.maximum(curve.seats, 1), 1.0) if busy is None else busy,
        requests_per_s=state.rate * fleet if demand.rate_per_s is None else np.full_like(fleet, demand.rate_per_s),
    )


@dataclass(frozen=True, slots=True)
class _State:
    """A replica on which a request meets `others` on average."""

    others: Floats
    step_s: Floats  # mean
    decode_s: Floats
    chunk_s: Floats
    prompts: Floats  # chunks of others per step
    time_s: Floats  # of a request in the engine on average, without waits
    inside: Floats  # share of its time that a user waits for an answer; 0 for arrivals at a rate
    rate: Floats  # requests per second of the replica
    demand: Floats  # in the unit of `Demand.total`

    @property
    def sequences(self) -> Floats:
        return self.others + self.inside


def _state(curve: StepCurve, demand: Demand, others: Floats) -> _State:
    decode, chunk = curve.at(1 + others)
    prompts = others * curve.chunks / curve.steps
    step = decode + prompts * chunk
    time = curve.alone_s + (decode - curve.decode_s[0]) + prompts * chunk + (curve.output_tokens - 1) * step
    if demand.rate_per_s is not None:
        rate = others / time
        return _State(others, step, decode, chunk, prompts, time, 0 * time, rate, rate)
    turn = demand.pause_s + curve.outside_s + time
    users = 1 + others * turn / time
    inside = time / turn
    return _State(others, step, decode, chunk, prompts, time, inside, users / turn, users)


def _most_others(curve: StepCurve, demand: Demand) -> Floats:
    """As many as there are seats and as the prompts of a step leave room for."""
    room = curve.chunks_per_step * curve.steps / curve.chunks
    return np.minimum(curve.seats - (0 if demand.rate_per_s is not None or demand.pause_s else 1), room)


def _keeps_up(curve: StepCurve) -> Floats:
    """Requests per second with every seat taken."""
    full = _most_others(curve, Demand(rate_per_s=1.0))
    return _state(curve, Demand(rate_per_s=1.0), np.maximum(full, _FEWEST_OTHERS)).rate


def _latencies(curve: StepCurve, s: _State, share: float, keeps_up: Floats | None) -> tuple[Floats, Floats, Floats]:
    """(ttft, tpot, e2e) at the percentile: means plus normal deviations that add up in squares, plus queueing.

    `keeps_up`: requests per second with every seat taken; None where nobody queues for a seat.
    """
    z = NormalDist().inv_cdf(share)
    later = np.maximum(curve.output_tokens - 1, 0)
    busy = -np.expm1(-s.others)
    prompts_var = s.chunk_s**2 * s.prompts
    alone, beside = curve.outside_s + curve.alone_s, s.decode_s - curve.decode_s[0] + s.prompts * s.chunk_s
    ttft_mean = alone + beside + busy * s.step_s / 2
    ttft_var = busy * s.step_s**2 * (1 / 3 - busy / 4) + prompts_var
    tpot_var = (_crowded_step(curve, s, z) - s.step_s) ** 2 + z**2 * prompts_var / np.maximum(later, 1)
    wait = _prompt_wait(curve, s, share) + _seat_wait(curve, s, share, keeps_up)
    e2e = ttft_mean + later * s.step_s + np.sqrt(z**2 * ttft_var + later**2 * tpot_var) + wait
    return ttft_mean + z * np.sqrt(ttft_var) + wait, s.step_s + np.sqrt(tpot_var), e2e


def _crowded_step(curve: StepCurve, s: _State, z: float) -> Floats:
    """The step with as many others as there are at the percentile. The slope of T is that from one sequence on."""
    variance = s.others * (1 - s.inside) * s.step_s / curve.decode_s[0]
    crowd = np.minimum(s.others + z * np.sqrt(variance), np.maximum(curve.seats, s.others))
    decode, chunk = curve.at(1 + crowd)
    step = decode + crowd * curve.chunks / curve.steps * chunk
    return np.asarray(np.maximum(step, s.step_s), dtype=np.float64)


def _prompt_wait(curve: StepCurve, s: _State, share: float) -> Floats:
    """For room among the prompt tokens of a step; at most for all the others."""
    service = curve.chunks * s.step_s
    wait = _tail(s.prompts / curve.chunks_per_step, curve.chunks_per_step, service / 2, share)
    every: Floats = s.others * service / curve.chunks_per_step
    return np.asarray(np.minimum(wait, every), dtype=np.float64)


def _seat_wait(curve: StepCurve, s: _State, share: float, keeps_up: Floats | None) -> Floats:
    if keeps_up is None:
        return np.zeros_like(s.others)
    load: Floats = s.rate / keeps_up
    return _tail(load, np.maximum(curve.seats, 1), s.time_s, share)


def _tail(load: Floats, servers: Floats, service_s: Floats, share: float) -> Floats:
    """Quantile of the wait in front of `servers`."""
    load = np.minimum(load, _BUSY)
    some_wait = (np.sqrt(2 * (servers + 1)) - 1) * np.log(np.maximum(load, 1e-300))  # logarithm of their share
    mean = service_s / (servers * (1 - load))
    return np.asarray(mean * np.maximum(some_wait - log(1 - share), 0.0), dtype=np.float64)


class _Meets:
    """Do the limits hold with that many others?"""

    def __init__(self, curve: StepCurve, demand: Demand, slo: Slo) -> None:
        self._curve, self._demand, self._slo = curve, demand, slo
        queues = demand.rate_per_s is not None or demand.pause_s > 0
        self.keeps_up = _keeps_up(curve) if queues else None

    def __call__(self, others: Floats) -> NDArray[np.bool_]:
        state = _state(self._curve, self._demand, others)
        ttft, tpot, e2e = _latencies(self._curve, state, self._slo.percentile / 100, self.keeps_up)
        good = np.isfinite(e2e)
        if self.keeps_up is not None and self._demand.rate_per_s is not None:
            good &= state.rate <= MAX_LOAD * self.keeps_up
        for seconds, limit in ((ttft, self._slo.ttft_ms), (tpot, self._slo.tpot_ms), (e2e, self._slo.e2e_ms)):
            if limit is not None:
                good &= seconds * 1e3 <= limit
        return np.asarray(good)


def _largest(good: Callable[[Floats], NDArray[np.bool_]], low: Floats, high: Floats) -> Floats:
    """Largest number of others for which `good` holds; latency and demand grow with it. Halved on a log scale."""
    best = np.where(good(high), high, low)
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high)
        holds = good(middle)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return np.maximum(best, low)
