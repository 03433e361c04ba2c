"""Which replica gets a request, and what becomes of the requests of one that is lost. Compiled, see `_jit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from advisor.serving._jit import inlined

__all__ = ["drawn", "empty_group", "home_of", "pick", "rank_of"]

_NEVER = 1e300
_CROWDED = 1.25  # a prefix-aware router leaves the home replica when it holds so much more than another
# Routers by number: 0 round robin, 1 random, 2 two choices, 3 least outstanding, 4 least cache, 5 prefix-aware.


@inlined
def drawn(s: Any, q: Any, i: int, which: int) -> int:
    """The first or second replica that the router looks at for request i; -1: it looks at no second one."""
    start = s.cand0[q.cls]
    n = s.ncand[q.cls]
    router = s.run[0].router
    if n == 1:
        return int(s.cand[start]) if which == 0 else -1
    if router == 0:
        if which == 1:
            return -1
        s.turn[q.cls] = (s.turn[q.cls] + 1) % n
        return int(s.cand[start + s.turn[q.cls]])
    one = int(s.draw[2 * i] * n) % n
    if which == 0:
        return int(s.cand[start + one])
    if router == 1:
        return -1
    return int(s.cand[start + (one + 1 + int(s.draw[2 * i + 1] * (n - 1)) % (n - 1)) % n])


@inlined
def home_of(s: Any, q: Any) -> int:
    """Group that served the turn before; -1: a new conversation, another router, or a group that takes no more."""
    if s.run[0].router != 5 or q.prev < 0 or s.req[q.prev].rank < 0:
        return -1
    home = s.ranks[s.req[q.prev].rank].group
    start = s.cand0[q.cls]
    for j in range(start, start + s.ncand[q.cls]):
        if s.cand[j] == home:
            return int(home)
    return -1


@inlined
def pick(s: Any, q: Any, one: int, other: int, home: int) -> int:
    """The group for a request, among those that `one`, `other` and `home` name (all of them for `least`)."""
    router = s.run[0].router
    if router == 3 or router == 4:
        return _least(s, q, router)
    if home >= 0:
        crowd = s.groups[home].outstanding
        if crowd <= 2 or _load(s, home) <= _CROWDED * (_load(s, one) + 1.0):
            return home
    if other >= 0 and _load(s, other) < _load(s, one):
        return other
    return one


@inlined
def _load(s: Any, g: int) -> float:
    return float(s.groups[g].outstanding / s.pools[s.groups[g].pool].weight)


@inlined
def _least(s: Any, q: Any, router: int) -> int:
    start = s.cand0[q.cls]
    best = s.cand[start]
    least = _NEVER
    for j in range(start, start + s.ncand[q.cls]):
        g = s.cand[j]
        load = _load(s, g)
        if router == 4:
            group = s.groups[g]
            load = s.ranks[group.rank0].used / s.pools[group.pool].blocks + 1e-9 * load
        if load < least:
            least = load
            best = g
    return int(best)


@inlined
def rank_of(s: Any, group: Any, pool: Any) -> int:
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


@inlined
def empty_group(s: Any, group: Any, back: float) -> int:
    """A replica dies and may work again at `back`. Returns its first request; `next` links the others, oldest first."""
    # Not a literal: the compiler would make a second version of everything that a literal reaches.
    chain: Any = np.int64(-1)
    pool = s.pools[group.pool]
    for r in range(group.rank0, group.rank0 + pool.dp):
        chain = _empty_rank(s, s.ranks[r], pool, chain)
    group.outstanding = 0
    group.clock = back
    group.end = back
    group.k = 0
    return int(chain)


@inlined
def _empty_rank(s: Any, rank: Any, pool: Any, chain: int) -> int:
    """Puts the rank's requests in front of `chain`."""
    for line in range(rank.line0 + s.run[0].levels - 1, rank.line0 - 1, -1):
        if s.lines[line].head >= 0:
            s.req[s.lines[line].tail].next = chain
            chain = int(s.lines[line].head)
        s.lines[line].head = -1
        s.lines[line].tail = -1
    i = int(rank.tail)
    while i >= 0:
        before = int(s.req[i].prev)
        s.req[i].next = chain
        chain = i
        i = before
    for j in range(rank.residue0, rank.residue0 + pool.block_tokens):
        s.residue[j] = 0
    rank.tail = -1
    rank.nwait = 0
    rank.nrun = 0
    rank.ndec = 0
    rank.nheap = 0
    rank.npart = 0
    rank.part = -1
    rank.kind = 0
    rank.read = 0.0
    rank.used = 0.0
    return chain
