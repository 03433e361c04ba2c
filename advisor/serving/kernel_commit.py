"""What a step leaves behind: tokens, completions, preemptions, blocks given back. Compiled, see `_jit`."""

from __future__ import annotations

import math
from typing import Any

from advisor.serving._jit import inlined, jit
from advisor.serving.kernel_lists import (
    blocks_of,
    growth,
    heap_pop,
    heap_push,
    heap_remove,
    pending_push,
    prepend_waiting,
    remove_running,
)

__all__ = ["commit", "end_request", "preempt"]


@jit
def commit(s: Any, group: Any) -> None:
    """Take the planned steps of a group."""
    k = group.k
    now = group.end
    spent = now - group.clock
    group.clock = now
    if k == 0:  # woken up by an arrival
        return
    pool = s.pools[group.pool]
    group.steps += k
    group.busy_s += spent
    for r in range(group.rank0, group.rank0 + pool.dp):
        rank = s.ranks[r]
        kind = rank.kind
        if kind == 0:
            continue
        group.run_s += spent * rank.nrun
        _account(s, group, rank, pool, spent)
        if kind != 3:
            rank.used += growth(s, rank, pool, k)
            rank.read += pool.accepted * rank.ndec * k
            rank.step += k
        rank.peak = max(rank.peak, rank.used)
        if kind != 3:
            _finish(s, rank, pool, now)
        if rank.npart > 0:
            _end_prompts(s, rank, pool, now)


@inlined
def _account(s: Any, group: Any, rank: Any, pool: Any, spent: float) -> None:
    """Where the time goes, for the name of the binding limit: what prompts add to a step that decodes anyway."""
    if rank.kind == 3 or rank.ndec == 0:
        group.mixed_s += spent if rank.kind != 1 else 0.0
    elif rank.kind == 2:
        decode = s.table[pool.table0 + min(rank.ndec * pool.verify, pool.budget)] + pool.cdec * rank.read
        group.mixed_s += max(0.0, spent - decode * pool.scale)
    if rank.block == 1:
        group.cache_s += spent
    elif rank.block == 2:
        group.seats_s += spent
    elif rank.block == 3:
        group.budget_s += spent


@inlined
def _finish(s: Any, rank: Any, pool: Any, now: float) -> None:
    while rank.nheap > 0:
        entry = s.heap[rank.heap0]
        if entry >> 32 > rank.step:
            return
        i = int(entry & 0xFFFFFFFF)
        heap_pop(s, rank)
        _leave_decodes(s, rank, pool, i, s.req[i].off + pool.accepted * rank.step)
        remove_running(s, rank, i)
        end_request(s, i, now)


@inlined
def _end_prompts(s: Any, rank: Any, pool: Any, now: float) -> None:
    """Prompts of this step emit their token and start to decode; the last one may need more steps."""
    i = int(rank.tail)
    count = rank.npart
    rank.npart = 0
    if rank.part >= 0:
        i = int(s.req[i].prev)
        count -= 1
        rank.npart = 1
    for _ in range(count):
        q = s.req[i]
        before = int(q.prev)
        if q.first < 0.0:
            q.first = now
        left = q.out - q.gen - 1
        total = q.inp + q.gen
        if left <= 0:
            rank.used -= blocks_of(pool, q, total)
            remove_running(s, rank, i)
            end_request(s, i, now)
        else:
            q.off = total - pool.accepted * rank.step
            rank.ndec += 1
            rank.read += total
            if pool.accepted == 1.0:
                s.residue[rank.residue0 + int(q.off) % pool.block_tokens] += 1
            heap_push(s, rank, rank.step + math.ceil(left / pool.accepted), i)
        i = before


@jit
def preempt(s: Any, rank: Any, pool: Any) -> None:
    """The last admitted gives its blocks back and waits at the head of the queue."""
    i = int(rank.tail)
    q = s.req[i]
    remove_running(s, rank, i)
    if rank.npart > 0:
        rank.npart = 0
        rank.used -= blocks_of(pool, q, rank.part)
        rank.part = -1
    else:
        cached = q.off + pool.accepted * rank.step
        heap_remove(s, rank, i)
        _leave_decodes(s, rank, pool, i, cached)
        q.gen = min(q.out - 1, int(cached) - q.inp + 1)
    q.preempted += 1
    prepend_waiting(s, rank, i)


@inlined
def _leave_decodes(s: Any, rank: Any, pool: Any, i: int, cached: float) -> None:
    q = s.req[i]
    rank.ndec -= 1
    rank.read -= cached
    if pool.accepted == 1.0:
        rank.used -= blocks_of(pool, q, int(cached))
        s.residue[rank.residue0 + int(q.off) % pool.block_tokens] -= 1
    else:
        rank.used -= blocks_of(pool, q, cached)


@jit
def end_request(s: Any, i: int, now: float) -> None:
    """Request i leaves the system, with the status that the caller set; the one that follows it gets its arrival."""
    q = s.req[i]
    q.last = now
    s.groups[s.ranks[q.rank].group].outstanding -= 1
    if q.child >= 0:
        after = s.req[q.child]
        after.arrival = now + s.think[q.child]
        pending_push(s, int(q.child))
