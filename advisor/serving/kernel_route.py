"""Which replica gets a request, and the order of events over the fleet. Compiled, see `_jit`."""

from __future__ import annotations

from typing import Any

from advisor.serving._jit import jit
from advisor.serving.kernel import advance, shorten, step_once
from advisor.serving.kernel_commit import end_request
from advisor.serving.kernel_lists import append_waiting, blocks_of, pending_pop

__all__ = ["dispatch", "finish_all", "run_arrivals", "run_follow_ups"]

_NEVER = 1e300
_CROWDED = 1.25  # a prefix-aware router leaves the home replica when it holds so much more than another


@jit
def run_arrivals(s: Any, until: float) -> None:
    """Deliver every request that arrives before `until`, in order."""
    n = len(s.req)
    i = s.run[0].next
    while i < n and s.req[i].arrival < until:
        dispatch(s, i, s.req[i].arrival)
        i += 1
    s.run[0].next = i


@jit
def run_follow_ups(s: Any, until: float) -> None:
    """As `run_arrivals` where requests may follow the end of others: all groups keep pace."""
    run = s.run[0]
    while True:
        g = 0
        for j in range(1, len(s.groups)):
            if s.groups[j].end < s.groups[g].end:
                g = j
        end = s.groups[g].end
        arrival = s.req[s.first[run.next]].arrival if run.next < len(s.first) else _NEVER
        follow = s.req[s.pending[0]].arrival if run.pending > 0 else _NEVER
        moment = min(arrival, follow)
        if min(moment, end) >= until:
            return
        if end < moment:
            step_once(s, s.groups[g])
        elif arrival <= follow:
            run.next += 1
            dispatch(s, s.first[run.next - 1], moment)
        else:
            dispatch(s, pending_pop(s), moment)


@jit
def finish_all(s: Any, until: float) -> None:
    """Take every step that ends before `until`."""
    for g in range(len(s.groups)):
        advance(s, s.groups[g], until)


@jit
def dispatch(s: Any, i: int, now: float) -> None:
    """Request i arrives at the router at `now`."""
    q = s.req[i]
    group = s.groups[_choose(s, q, i, now)]
    advance(s, group, now)
    pool = s.pools[group.pool]
    q.rank = _rank(s, group, pool)
    rank = s.ranks[q.rank]
    group.outstanding += 1
    if q.prev >= 0 and s.ranks[s.req[q.prev].rank].group != s.ranks[q.rank].group:
        q.hit = min(q.hit, q.shared)  # another replica holds what was said before
    if pool.max_queue > 0 and rank.nwait >= pool.max_queue:
        end_request(s, i, now, 1)
        return
    if blocks_of(pool, q, q.inp + q.out) > pool.blocks:
        end_request(s, i, now, 3)
        return
    waited = rank.nwait > 0 and s.run[0].levels == 1 and pool.timeout >= _NEVER
    append_waiting(s, rank, i)
    if group.end >= _NEVER:  # idle: wake up, and let everything that arrives now in together
        group.clock = now
        group.end = now
        group.k = 0
    elif not waited:
        shorten(s, group, rank, i, now)


@jit
def _rank(s: Any, group: Any, pool: Any) -> int:
    """vLLM's choice among data-parallel ranks: least 4 * waiting + running, the first of equals."""
    best = group.rank0
    least = 1 << 60
    if pool.dp == 1:
        return int(best)
    for r in range(group.rank0, group.rank0 + pool.dp):
        score = 4 * s.ranks[r].nwait + s.ranks[r].nrun
        if score < least:
            least = score
            best = r
    return int(best)


@jit
def _choose(s: Any, q: Any, i: int, now: float) -> int:
    """Index of the group, by the router's rule, among those that may serve the request's class."""
    start = s.cand0[q.cls]
    n = s.ncand[q.cls]
    if n == 1:
        return int(s.cand[start])
    router = s.run[0].router
    if router == 0:
        s.turn[q.cls] = (s.turn[q.cls] + 1) % n
        return int(s.cand[start + s.turn[q.cls]])
    one = int(s.draw[2 * i] * n) % n
    if router == 1:
        return int(s.cand[start + one])
    if router == 3 or router == 4:
        return _least(s, start, n, now, router)
    other = s.cand[start + (one + 1 + int(s.draw[2 * i + 1] * (n - 1)) % (n - 1)) % n]
    first = s.cand[start + one]
    advance(s, s.groups[first], now)
    if router == 5:
        home = _home(s, q, start, n)
        if home >= 0:
            advance(s, s.groups[home], now)
            crowd = s.groups[home].outstanding
            if crowd <= 2 or _load(s, home) <= _CROWDED * (_load(s, first) + 1.0):
                return home
    advance(s, s.groups[other], now)
    return int(other) if _load(s, other) < _load(s, first) else int(first)


@jit
def _home(s: Any, q: Any, start: int, n: int) -> int:
    """Group that served the turn before; -1: a new conversation, or a replica that takes no more."""
    if q.prev < 0 or s.req[q.prev].rank < 0:
        return -1
    home = s.ranks[s.req[q.prev].rank].group
    for j in range(start, start + n):
        if s.cand[j] == home:
            return int(home)
    return -1


@jit
def _load(s: Any, g: int) -> float:
    return float(s.groups[g].outstanding / s.pools[s.groups[g].pool].weight)


@jit
def _least(s: Any, start: int, n: int, now: float, router: int) -> int:
    best = s.cand[start]
    least = _NEVER
    for j in range(start, start + n):
        g = s.cand[j]
        group = s.groups[g]
        advance(s, group, now)
        load = _load(s, g)
        if router == 4:
            load = s.ranks[group.rank0].used / s.pools[group.pool].blocks + 1e-9 * load
        if load < least:
            least = load
            best = g
    return int(best)
