"""The order of events over the fleet: the only kernel that is called from outside. Compiled, see `_jit`."""

from __future__ import annotations

from typing import Any

from advisor.serving._jit import inlined, jit
from advisor.serving.kernel import advance, shorten
from advisor.serving.kernel_commit import end_request
from advisor.serving.kernel_lists import append_waiting, blocks_of, pending_pop
from advisor.serving.kernel_route import drawn, empty_group, home_of, pick, rank_of

__all__ = ["run"]

_NEVER = 1e300


@jit
def run(s: Any, until: float, lost: int, back: float) -> int:
    """Everything that happens before `until`. Returns 0.

    With `lost` >= 0 that group dies at `until` instead and may work again at `back`: its requests start over
    elsewhere (the caller has taken it off the router's list); returns how many.
    """
    if lost >= 0:
        return _lose(s, lost, until, back)
    if len(s.first) > 0:
        _follow_ups(s, until)
    else:
        n = len(s.req)
        i = s.run[0].next
        while i < n and s.req[i].arrival < until:
            _dispatch(s, i, s.req[i].arrival)
            i += 1
        s.run[0].next = i
    for g in range(len(s.groups)):
        if s.groups[g].end < until:
            advance(s, s.groups[g], until)
    return 0


@jit
def _follow_ups(s: Any, until: float) -> None:
    """Requests may follow the end of others, so all groups keep pace: one event at a time."""
    now = s.run[0]
    while True:
        g = 0
        for j in range(1, len(s.groups)):
            if s.groups[j].end < s.groups[g].end:
                g = j
        end = s.groups[g].end
        arrival = s.req[s.first[now.next]].arrival if now.next < len(s.first) else _NEVER
        follow = s.req[s.pending[0]].arrival if now.pending > 0 else _NEVER
        moment = min(arrival, follow)
        if min(moment, end) >= until:
            return
        if end < moment:
            advance(s, s.groups[g], 0.0)
        else:
            i = 0
            if arrival <= follow:
                i = int(s.first[now.next])
                now.next += 1
            else:
                i = pending_pop(s)
            _dispatch(s, i, moment)


@inlined
def _lose(s: Any, lost: int, now: float, back: float) -> int:
    i = empty_group(s, s.groups[lost], back)
    count = 0
    while i >= 0:
        q = s.req[i]
        after = int(q.next)
        q.prev = -1
        q.gen = 0
        q.first = -1.0
        q.hit = min(q.hit, q.shared)
        count += 1
        _dispatch(s, i, now)
        i = after
    return count


@jit
def _dispatch(s: Any, i: int, now: float) -> None:
    """Request i arrives at the router at `now`: look at some replicas as they are now, choose, queue."""
    q = s.req[i]
    one = drawn(s, q, i, 0)
    other = drawn(s, q, i, 1)
    home = home_of(s, q)
    router = s.run[0].router
    everyone = router == 3 or router == 4
    looks = s.ncand[q.cls] if everyone else 3
    for j in range(looks):
        g = one if j == 0 else (other if j == 1 else home)
        if everyone:
            g = int(s.cand[s.cand0[q.cls] + j])
        if g >= 0 and s.groups[g].end < now:
            advance(s, s.groups[g], now)
    _queue(s, s.groups[pick(s, q, one, other, home)], i, now)


@inlined
def _queue(s: Any, group: Any, i: int, now: float) -> None:
    q = s.req[i]
    pool = s.pools[group.pool]
    q.rank = rank_of(s, group, pool)
    rank = s.ranks[q.rank]
    group.outstanding += 1
    if q.prev >= 0 and s.ranks[s.req[q.prev].rank].group != rank.group:
        q.hit = min(q.hit, q.shared)  # another replica holds what was said before
    if pool.max_queue > 0 and rank.nwait >= pool.max_queue:
        q.status = 1
        end_request(s, i, now)
        return
    if blocks_of(pool, q, q.inp + q.out) > pool.blocks:
        q.status = 3
        end_request(s, i, now)
        return
    waited = rank.nwait > 0 and s.run[0].levels == 1 and pool.timeout >= _NEVER
    append_waiting(s, rank, i)
    if group.end >= _NEVER:  # idle: wake up, and let everything that arrives now in together
        group.clock = now
        group.end = now
        group.k = 0
    elif not waited:
        shorten(s, group, rank, i, now)
