"""From a workload to a table of requests. The same seed gives the same requests at every rate: only time scales."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.serving.requests import MAX_REQUESTS
from advisor.serving.workload import ArrivalKind, ArrivalProcess, RequestClass, RequestTable, Workload

__all__ = ["MAX_RATE", "check_workload", "sample"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_BLOCK = 16  # cached prefixes end at a block
MAX_RATE = 1e6


def sample(workload: Workload, n: int, seed: int = 0) -> RequestTable:
    """`n` requests (fewer only if conversations cannot be cut so short). Raises InputError."""
    check_workload(workload)
    if not 1 <= n <= MAX_REQUESTS:
        raise InputError("requests", f"1..{MAX_REQUESTS:,}", n)
    streams = [np.random.default_rng([seed, stream]) for stream in range(6)]
    shares = np.array([c.share for c in workload.classes])
    kinds = streams[0].choice(len(shares), n, p=shares / shares.sum())
    columns = _lengths(workload, kinds, streams[1:4])
    table = _table(workload, columns, kinds)
    if workload.arrivals.kind is ArrivalKind.CLOSED_LOOP:
        return _closed_loop(table, workload.arrivals, streams[4])
    if any(c.turns > 1 for c in workload.classes):
        return _conversations(table, workload, streams[4], streams[5])
    return _at(table, arrival_times(workload.arrivals, n, streams[4]))


def check_workload(workload: Workload) -> None:
    """Raises InputError for traffic that cannot be simulated."""
    arrivals = workload.arrivals
    if not workload.classes:
        raise InputError("classes", "at least one class of requests", 0)
    if arrivals.kind is ArrivalKind.CLOSED_LOOP:
        if arrivals.users < 1:
            raise InputError("users", "a whole number >= 1", arrivals.users)
    elif arrivals.kind is not ArrivalKind.BURST and not 0 < arrivals.rate_per_s <= MAX_RATE:
        raise InputError(
            "rate_per_s", f"more than 0 and at most {MAX_RATE:g} requests per second", arrivals.rate_per_s
        )
    if not (math.isfinite(arrivals.cv) and 0 < arrivals.cv <= 50):
        raise InputError("cv", "more than 0 and at most 50", arrivals.cv)
    if arrivals.shape and (min(arrivals.shape) < 0 or not 0 < sum(arrivals.shape) < math.inf):
        raise InputError("shape", "finite relative rates >= 0, not all 0", list(arrivals.shape))
    if not (math.isfinite(arrivals.think_s) and arrivals.think_s >= 0):
        raise InputError("think_s", "seconds >= 0", arrivals.think_s)
    for c in workload.classes:
        _check_class(c)


def _check_class(c: RequestClass) -> None:
    if not (math.isfinite(c.share) and c.share > 0):
        raise InputError(f"share of class '{c.name}'", "a number > 0", c.share)
    if c.turns < 1 or c.shared_prefix_tokens < 0 or not 0 <= c.prefix_hit_share <= 1:
        raise InputError(f"class '{c.name}'", "turns >= 1, shared_prefix_tokens >= 0, prefix_hit_share 0..1", c.turns)


def arrival_times(arrivals: ArrivalProcess, n: int, rng: np.random.Generator) -> Floats:
    """Unit-rate arrivals, warped by the rate over time."""
    if arrivals.kind is ArrivalKind.BURST:
        return np.zeros(n)
    if arrivals.kind is ArrivalKind.CONSTANT:
        units = np.arange(n, dtype=np.float64)
    elif arrivals.kind is ArrivalKind.GAMMA:
        k = 1 / arrivals.cv**2
        units = np.cumsum(rng.gamma(k, 1 / k, n))
    else:
        units = np.cumsum(rng.exponential(1.0, n))
    return _warp(units / arrivals.rate_per_s, arrivals)


def _warp(mean_time: Floats, arrivals: ArrivalProcess) -> Floats:
    """Times of a process at the mean rate -> times at the shaped rate (inverse of the integrated rate)."""
    if not arrivals.shape:
        return mean_time
    rate = np.array([*arrivals.shape, arrivals.shape[0]], dtype=np.float64)
    fine = np.linspace(0, len(arrivals.shape), 64 * len(arrivals.shape) + 1)
    rates = np.interp(fine, np.arange(len(rate)), rate)
    passed = np.concatenate([[0.0], np.cumsum((rates[1:] + rates[:-1]) / 2)])
    passed *= arrivals.period_s / passed[-1]
    periods, rest = np.divmod(mean_time, arrivals.period_s)
    clock = np.linspace(0, arrivals.period_s, len(passed))
    return np.asarray(periods * arrivals.period_s + np.interp(rest, passed, clock), dtype=np.float64)


def _lengths(workload: Workload, kinds: Ints, streams: list[np.random.Generator]) -> tuple[Ints, Ints, Ints]:
    """Input, output (reasoning included) and reasoning tokens; each from its own stream, so they are independent."""
    n = len(kinds)
    inputs, outputs, reasoning = (np.zeros(n, dtype=np.int64) for _ in range(3))
    for index, c in enumerate(workload.classes):
        mine = np.flatnonzero(kinds == index)
        inputs[mine] = c.input.sample(streams[0], len(mine))
        outputs[mine] = c.output.sample(streams[1], len(mine))
        if c.reasoning is not None:
            reasoning[mine] = c.reasoning.sample(streams[2], len(mine))
    inputs = np.maximum(inputs, np.array([c.shared_prefix_tokens + 1 for c in workload.classes])[kinds])
    outputs = outputs + reasoning
    if workload.max_context_tokens is not None:
        outputs = np.clip(outputs, 1, max(1, workload.max_context_tokens - 1))
        inputs = np.clip(inputs, 1, np.maximum(1, workload.max_context_tokens - outputs))
    return inputs, outputs, np.minimum(reasoning, outputs)


def _table(workload: Workload, columns: tuple[Ints, Ints, Ints], kinds: Ints) -> RequestTable:
    inputs, outputs, reasoning = columns
    prefix = np.array([c.shared_prefix_tokens for c in workload.classes])[kinds]
    shared = np.minimum(prefix, inputs - 1) // _BLOCK * _BLOCK
    share = np.array([c.prefix_hit_share for c in workload.classes])[kinds]
    hits = (shared + share * (inputs - shared)).astype(np.int64) // _BLOCK * _BLOCK
    zeros = np.zeros(len(kinds))
    return RequestTable(zeros, inputs, outputs, hits, kinds, shared, reasoning_tokens=reasoning)


def _at(table: RequestTable, times: Floats, **links: NDArray[np.generic]) -> RequestTable:
    columns = {name: getattr(table, name) for name in table.__slots__}
    return RequestTable(**{**columns, "arrival_s": times, **links})


def _closed_loop(table: RequestTable, arrivals: ArrivalProcess, rng: np.random.Generator) -> RequestTable:
    """Users start within one think time; request i is followed by request i + users."""
    n, users = len(table), min(arrivals.users, len(table))
    think = rng.exponential(arrivals.think_s, n) if arrivals.think_s > 0 else np.zeros(n)
    follows = np.where(np.arange(n) < users, -1, np.arange(n) - users)
    return _at(table, np.where(follows < 0, think, 0.0), follows=follows, think_s=think)


def _conversations(
    table: RequestTable, workload: Workload, rng: np.random.Generator, think_rng: np.random.Generator
) -> RequestTable:
    """Consecutive rows of a class become the turns of one conversation; each turn's input holds what was said."""
    n = len(table)
    turns = np.array([c.turns for c in workload.classes])
    follows = np.full(n, -1)
    inputs, hits = table.input_tokens.copy(), table.prefix_hit_tokens.copy()
    limit = workload.max_context_tokens or 2**31
    last: dict[int, tuple[int, int]] = {}  # class -> (row of the turn before, its number)
    for i in range(n):
        c = int(table.request_class[i])
        before, number = last.get(c, (-1, turns[c]))
        said = int(inputs[before] + table.output_tokens[before]) if number < turns[c] else 0
        new = int(table.input_tokens[i] - table.shared_tokens[i])
        fits = said + new + int(table.output_tokens[i]) <= limit
        if number < turns[c] and fits:
            follows[i], inputs[i], hits[i] = before, said + new, said // _BLOCK * _BLOCK
            last[c] = (i, number + 1)
        else:
            last[c] = (i, 1)
    starts = np.flatnonzero(follows < 0)
    times = np.zeros(n)
    per_second = workload.arrivals.rate_per_s * len(starts) / n
    arrivals = workload.arrivals.at_rate(per_second) if per_second > 0 else workload.arrivals
    times[starts] = arrival_times(arrivals, len(starts), rng)
    pause = np.array([c.think_s for c in workload.classes])[table.request_class]
    think = think_rng.exponential(1.0, n) * pause
    return _at(table, times, input_tokens=inputs, prefix_hit_tokens=hits, follows=follows, think_s=think)
