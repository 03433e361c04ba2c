"""Sudden changes: a replica that is lost gives its requests back to the router. Compiled, see `_jit`."""

from __future__ import annotations

from typing import Any

from advisor.serving._jit import jit
from advisor.serving.kernel_route import dispatch

__all__ = ["lose_group"]

_NEVER = 1e300


@jit
def lose_group(s: Any, g: int, now: float, back: float) -> int:
    """Group g dies at `now` and may work again at `back`. Its requests start over elsewhere; returns how many.

    The caller has taken the group off the router's list (unless it is the only one: its queue then waits).
    """
    group = s.groups[g]
    chain = -1
    for r in range(group.rank0, group.rank0 + s.pools[group.pool].dp):
        chain = _empty_rank(s, s.ranks[r], s.pools[group.pool], chain)
    group.outstanding = 0
    group.clock = back
    group.end = back
    group.k = 0
    count = 0
    while chain >= 0:
        i = chain
        q = s.req[i]
        chain = q.next
        q.prev = -1
        q.gen = 0
        q.first = -1.0
        q.hit = min(q.hit, q.shared)
        count += 1
        dispatch(s, i, now)
    return count


@jit
def _empty_rank(s: Any, rank: Any, pool: Any, chain: int) -> int:
    """Puts the rank's requests in front of `chain` (linked by `next`), the oldest first."""
    for line in range(rank.line0 + s.run[0].levels - 1, rank.line0 - 1, -1):
        if s.lines[line].head >= 0:
            s.req[s.lines[line].tail].next = chain
            chain = s.lines[line].head
        s.lines[line].head = -1
        s.lines[line].tail = -1
    i = rank.tail
    while i >= 0:
        before = s.req[i].prev
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
