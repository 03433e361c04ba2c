"""The engine: what a step holds, how many equal steps can be taken at once, and what they leave behind.

Rules of vLLM V1's scheduler: running decodes first, then the prompt in progress, then first come first served;
a prompt enters only if all of it fits; on exhaustion the last admitted is preempted, re-queued at the head and
later recomputed with what it had generated. Nothing is admitted in a step that preempted. k decode-only steps last
k*a + b*k*(k-1)/2, so the engine jumps to the next completion, arrival or exhaustion at once. Compiled, see `_jit`.
"""

from __future__ import annotations

import math
from typing import Any

from advisor.serving._jit import jit
from advisor.serving.kernel_lists import (
    append_running,
    blocks_of,
    drop_head,
    first_step_at,
    growth,
    heap_pop,
    heap_push,
    heap_remove,
    pending_push,
    prepend_waiting,
    remove_running,
    steps_until_full,
)

__all__ = ["advance", "end_request", "plan", "shorten", "step_once"]

_FOREVER = 1 << 60
_NEVER = 1e300


@jit
def advance(s: Any, group: Any, until: float) -> None:
    """Take every step of a group that ends before `until`."""
    while group.end < until:
        step_once(s, group)


@jit
def step_once(s: Any, group: Any) -> None:
    """Take the planned steps of a group and plan the next."""
    _commit(s, group)
    plan(s, group)


@jit
def plan(s: Any, group: Any) -> None:
    """Decide the next steps of a group, which starts them at its clock."""
    pool = s.pools[group.pool]
    k = _FOREVER
    busy = False
    for r in range(group.rank0, group.rank0 + pool.dp):
        rank = s.ranks[r]
        most = _schedule(s, rank, pool, group.clock)
        if rank.kind > 0:
            busy = True
            k = min(k, most)
    if not busy:
        group.end = _NEVER
        group.k = 0
        return
    k = _lockstep(s, group, pool, k)
    if pool.timeout < _NEVER:
        k = _until_timeout(s, group, pool, k)
    group.k = k
    group.end = group.clock + (k * group.a + group.b * k * (k - 1) / 2)


@jit
def _lockstep(s: Any, group: Any, pool: Any, k: int) -> int:
    """Sets the cost of the slowest rank as that of the group; returns for how many of the k steps it stays so."""
    a = -1.0
    b = 0.0
    for r in range(group.rank0, group.rank0 + pool.dp):
        rank = s.ranks[r]
        if rank.kind > 0:
            cost = _cost(s, rank, pool)
            slope = _slope(rank, pool)
            if cost > a or (cost == a and slope > b):
                a = cost
                b = slope
    if pool.dp > 1 and k > 1:
        for r in range(group.rank0, group.rank0 + pool.dp):
            rank = s.ranks[r]
            if rank.kind > 0 and _slope(rank, pool) > b:
                k = min(k, max(1, int((a - _cost(s, rank, pool)) / (_slope(rank, pool) - b)) + 1))
    group.a = a
    group.b = b
    return k


@jit
def _cost(s: Any, rank: Any, pool: Any) -> float:
    """Seconds of the first planned step of a rank."""
    n = rank.tokens
    top = pool.budget
    cost = s.table[pool.table0 + min(n, top)]
    if n > top:  # whole prompts beyond the budget
        cost = cost * n / top
    if rank.kind == 1:
        cost += pool.cdec * (rank.read + rank.ndec + rank.extra) + pool.draft_s
    elif rank.kind == 2:
        cost += pool.cmix * (rank.read + rank.ndec + rank.extra) + pool.cpre * rank.work
    else:
        cost += pool.cpre * rank.work
    return float(cost * pool.scale)


@jit
def _slope(rank: Any, pool: Any) -> float:
    """Growth of a rank's cost from one planned step to the next."""
    return float(pool.cdec * rank.ndec * pool.accepted * pool.scale) if rank.kind == 1 else 0.0


@jit
def _until_timeout(s: Any, group: Any, pool: Any, k: int) -> int:
    levels = s.run[0].levels
    for r in range(group.rank0, group.rank0 + pool.dp):
        for level in range(levels):
            i = s.lines[s.ranks[r].line0 + level].head
            if i >= 0:
                wait = s.req[i].arrival + pool.timeout - group.clock
                k = min(k, first_step_at(group.a, group.b, wait, k))
    return k


@jit
def _schedule(s: Any, rank: Any, pool: Any, now: float) -> int:
    """Fill the next step of a rank; returns how many such steps can follow each other (0: nothing to do)."""
    rank.tokens = 0
    rank.work = 0.0
    rank.extra = 0.0
    rank.kind = 0
    rank.block = 0
    if rank.nrun == 0 and rank.nwait == 0:
        return 0
    if pool.prefill_first == 1 and _prompts_only(s, rank, pool, now):
        return 1
    need = growth(s, rank, pool, 1)
    preempted = False
    while need > pool.blocks - rank.used:
        _preempt(s, rank, pool)
        preempted = True
        need = growth(s, rank, pool, 1)
    decodes = rank.ndec * pool.verify
    rank.tokens = decodes
    if pool.prefill_first == 0:
        if rank.npart == 1:
            kept = _continue_prompt(s, rank, pool, pool.budget - decodes, pool.blocks - rank.used - need)
            preempted = preempted or not kept
        if rank.nwait > 0 and not preempted:
            _admit(s, rank, pool, now, pool.budget - rank.tokens, need)
    if rank.tokens == 0:
        return 0
    rank.kind = 2 if rank.work > 0.0 else 1
    if preempted or rank.work > 0.0 or rank.npart > 0:
        return 1
    most = (s.heap[rank.heap0] >> 32) - rank.step
    return max(1, steps_until_full(s, rank, pool, pool.blocks - rank.used, most))


@jit
def _prompts_only(s: Any, rank: Any, pool: Any, now: float) -> bool:
    """Fill the step with prompts alone, if there are any that may enter."""
    kept = rank.npart == 0 or _continue_prompt(s, rank, pool, pool.budget, pool.blocks - rank.used)
    if rank.nwait > 0 and kept:
        _admit(s, rank, pool, now, pool.budget - rank.tokens, 0.0)
    if rank.tokens > 0:
        rank.kind = 3
    return bool(rank.tokens > 0)


@jit
def _continue_prompt(s: Any, rank: Any, pool: Any, room: int, free: float) -> bool:
    """The next chunk of the prompt in progress; False if there was no room in the cache and it was preempted."""
    q = s.req[rank.tail]
    done = rank.part
    total = q.inp + q.gen
    chunk = min(total - done, room)
    if chunk <= 0:
        return True
    need = blocks_of(pool, q, done + chunk) - blocks_of(pool, q, done)
    if need > free:
        _preempt(s, rank, pool)
        return False
    _take(rank, pool, done, chunk, total)
    rank.used += need
    return True


@jit
def _take(rank: Any, pool: Any, done: int, chunk: int, total: int) -> None:
    """Put a chunk of a prompt into the step. One token after a cached prefix is a decode in all but name."""
    rank.tokens += chunk
    if chunk == 1 and done > 0:
        rank.extra += done + 1
    else:
        rank.work += max(float(chunk), pool.cmin) * (done + chunk / 2)
    rank.part = done + chunk if done + chunk < total else -1


@jit
def _admit(s: Any, rank: Any, pool: Any, now: float, room: int, need: float) -> None:
    """First come first served, by priority level, while tokens, seats and blocks last."""
    line = rank.line0
    end = line + s.run[0].levels
    closed = pool.static == 1 and rank.nrun > 0
    while line < end:
        i = s.lines[line].head
        if i < 0:
            line += 1
            continue
        q = s.req[i]
        if q.arrival + pool.timeout <= now and q.gen == 0:
            drop_head(s, rank, i)
            end_request(s, i, now, 2)
            continue
        rank.block = 3
        if room <= 0:
            return
        rank.block = 2
        if closed or rank.nrun >= pool.seats:
            return
        rank.block = 1
        total = q.inp + q.gen
        if blocks_of(pool, q, total) > pool.blocks - rank.used - need:
            return
        hit = min(q.hit, total - 1)
        chunk = total - hit
        if pool.chunked == 1:
            chunk = min(chunk, room)
        elif chunk > room and rank.tokens > 0:
            rank.block = 3
            return
        rank.block = 0
        drop_head(s, rank, i)
        append_running(s, rank, i)
        if q.sched < 0.0:
            q.sched = now
        _take(rank, pool, hit, chunk, total)
        rank.used += blocks_of(pool, q, hit + chunk)
        rank.npart += 1
        room -= chunk


@jit
def _preempt(s: Any, rank: Any, pool: Any) -> None:
    """The last admitted gives its blocks back and waits at the head of the queue."""
    i = rank.tail
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


@jit
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
def _commit(s: Any, group: Any) -> None:
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


@jit
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


@jit
def _finish(s: Any, rank: Any, pool: Any, now: float) -> None:
    while rank.nheap > 0:
        entry = s.heap[rank.heap0]
        if entry >> 32 > rank.step:
            return
        i = entry & 0xFFFFFFFF
        heap_pop(s, rank)
        _leave_decodes(s, rank, pool, i, s.req[i].off + pool.accepted * rank.step)
        remove_running(s, rank, i)
        end_request(s, i, now, 0)


@jit
def _end_prompts(s: Any, rank: Any, pool: Any, now: float) -> None:
    """Prompts of this step emit their token and start to decode; the last one may need more steps."""
    i = rank.tail
    count = rank.npart
    rank.npart = 0
    if rank.part >= 0:
        i = s.req[i].prev
        count -= 1
        rank.npart = 1
    for _ in range(count):
        q = s.req[i]
        before = q.prev
        if q.first < 0.0:
            q.first = now
        left = q.out - q.gen - 1
        total = q.inp + q.gen
        if left <= 0:
            rank.used -= blocks_of(pool, q, total)
            remove_running(s, rank, i)
            end_request(s, i, now, 0)
        else:
            q.off = total - pool.accepted * rank.step
            rank.ndec += 1
            rank.read += total
            if pool.accepted == 1.0:
                s.residue[rank.residue0 + int(q.off) % pool.block_tokens] += 1
            heap_push(s, rank, rank.step + math.ceil(left / pool.accepted), i)
        i = before


@jit
def end_request(s: Any, i: int, now: float, status: int) -> None:
    """Request i leaves the system; the one that follows it gets its time of arrival."""
    q = s.req[i]
    q.last = now
    q.status = status
    s.groups[s.ranks[q.rank].group].outstanding -= 1
    if q.child >= 0:
        after = s.req[q.child]
        after.arrival = now + s.think[q.child]
        pending_push(s, q.child)


@jit
def shorten(s: Any, group: Any, rank: Any, i: int, now: float) -> None:
    """Request i arrived at a rank: end the planned decode steps at the next boundary if it may enter there."""
    pool = s.pools[group.pool]
    if group.k <= 1 or rank.nrun >= pool.seats or (pool.static == 1 and rank.nrun > 0):
        return
    q = s.req[i]
    if blocks_of(pool, q, q.inp) > pool.blocks - rank.used:
        return
    k = first_step_at(group.a, group.b, now - group.clock, group.k)
    group.k = k
    group.end = group.clock + (k * group.a + group.b * k * (k - 1) / 2)
