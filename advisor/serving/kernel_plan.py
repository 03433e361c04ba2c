"""What a step holds, and how many equal steps can be taken at once. Compiled, see `_jit`.

Rules of vLLM V1's scheduler: running decodes first, then the prompt in progress, then first come first served;
a prompt enters only if all of it fits; on exhaustion the last admitted is preempted, re-queued at the head and
later recomputed with what it had generated. Nothing is admitted in a step that preempted.
"""

from __future__ import annotations

from typing import Any

from advisor.serving._jit import inlined, jit
from advisor.serving.kernel_commit import end_request, preempt
from advisor.serving.kernel_lists import append_running, blocks_of, drop_head, first_step_at, growth, steps_until_full

__all__ = ["plan"]

_NEVER = 1e300


@jit
def plan(s: Any, group: Any) -> None:
    """Decide the next steps of a group, which starts them at its clock."""
    pool = s.pools[group.pool]
    k = group.k
    busy = False
    for r in range(group.rank0, group.rank0 + pool.dp):
        rank = s.ranks[r]
        most = _schedule(s, rank, pool, group.clock)
        if rank.kind > 0:
            k = min(k, most) if busy else most
            busy = True
    if not busy:
        group.end = _NEVER
        group.k = 0
        return
    k = _lockstep(s, group, pool, k)
    if pool.timeout < _NEVER:
        k = _until_timeout(s, group, pool, k)
    group.k = k
    group.end = group.clock + (k * group.a + group.b * k * (k - 1) / 2)


@inlined
def _lockstep(s: Any, group: Any, pool: Any, k: int) -> int:
    """Sets the cost of a step of the group; returns for how many of the k steps it grows evenly.

    Ranks wait for each other in every layer of experts, not once per step: the largest batch sets the pace of the
    matrices and the longest attention that of the attention, even where they are on different ranks.
    """
    matrices = 0.0
    a = -1.0
    b = 0.0
    for r in range(group.rank0, group.rank0 + pool.dp):
        rank = s.ranks[r]
        if rank.kind > 0:
            matrices = max(matrices, _matrices(s, rank, pool))
            cost = _attention(rank, pool)
            slope = _slope(rank, pool)
            if cost > a or (cost == a and slope > b):
                a = cost
                b = slope
    if pool.dp > 1 and k > 1:
        for r in range(group.rank0, group.rank0 + pool.dp):
            rank = s.ranks[r]
            if rank.kind > 0 and _slope(rank, pool) > b:
                k = min(k, max(1, int((a - _attention(rank, pool)) / (_slope(rank, pool) - b)) + 1))
    group.a = matrices + a
    group.b = b
    return k


@inlined
def _matrices(s: Any, rank: Any, pool: Any) -> float:
    """Seconds of a planned step of a rank, attention left out."""
    n = rank.tokens
    top = pool.budget
    cost = s.table[pool.table0 + min(n, top)]
    if n > top:  # whole prompts beyond the budget
        cost = cost * n / top
    if rank.kind == 1:
        cost += pool.draft_s
    return float(cost * pool.scale)


@inlined
def _attention(rank: Any, pool: Any) -> float:
    """Seconds of attention in the first planned step of a rank."""
    if rank.kind == 1:
        return float(pool.cdec * (rank.read + rank.ndec + rank.extra) * pool.scale)
    if rank.kind == 2:
        return float((pool.cmix * (rank.read + rank.ndec + rank.extra) + pool.cpre * rank.work) * pool.scale)
    return float(pool.cpre * rank.work * pool.scale)


@inlined
def _slope(rank: Any, pool: Any) -> float:
    """Growth of a rank's cost from one planned step to the next."""
    return float(pool.cdec * rank.ndec * pool.accepted * pool.scale) if rank.kind == 1 else 0.0


@inlined
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
        preempt(s, rank, pool)
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


@inlined
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
        preempt(s, rank, pool)
        return False
    _take(rank, pool, done, chunk, total)
    rank.used += need
    return True


@inlined
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
        i = int(s.lines[line].head)
        if i < 0:
            line += 1
            continue
        q = s.req[i]
        if q.arrival + pool.timeout <= now and q.gen == 0:
            drop_head(s, rank, i)
            q.status = 2
            end_request(s, i, now)
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
