"""Small structures of the simulator: heap of finishing steps, queues, block counts. Compiled, see `_jit`.

`q` is a request, `rank`, `group` and `pool` are records of those arrays of the state `s`.
"""

from __future__ import annotations

from typing import Any

from advisor.serving._jit import inlined, jit

__all__ = [
    "append_running",
    "append_waiting",
    "blocks_of",
    "drop_head",
    "first_step_at",
    "growth",
    "heap_pop",
    "heap_push",
    "heap_remove",
    "pending_pop",
    "pending_push",
    "prepend_waiting",
    "remove_running",
    "steps_until_full",
]


@inlined
def heap_push(s: Any, rank: Any, fin: int, i: int) -> None:
    """Request i ends at step `fin` of a rank. Entries are fin * 2**32 + i, so that comparisons stay in the heap."""
    j = rank.nheap
    rank.nheap = j + 1
    _sift_up(s, rank.heap0, j, (fin << 32) + i)


@inlined
def heap_pop(s: Any, rank: Any) -> None:
    """Take out the request that ends first."""
    rank.nheap -= 1
    if rank.nheap > 0:
        _sift_down(s, rank.heap0, rank.nheap, 0, s.heap[rank.heap0 + rank.nheap])


@inlined
def heap_remove(s: Any, rank: Any, i: int) -> None:
    """Take request i out, wherever it is; only preemptions need this."""
    base = rank.heap0
    j = 0
    while s.heap[base + j] & 0xFFFFFFFF != i:
        j += 1
    last = rank.nheap - 1
    rank.nheap = last
    if j == last:
        return
    moved = s.heap[base + last]
    if j > 0 and moved < s.heap[base + ((j - 1) >> 1)]:
        _sift_up(s, base, j, moved)
    else:
        _sift_down(s, base, last, j, moved)


@inlined
def _sift_up(s: Any, base: int, j: int, entry: int) -> None:
    while j > 0:
        up = (j - 1) >> 1
        above = s.heap[base + up]
        if above <= entry:
            break
        s.heap[base + j] = above
        j = up
    s.heap[base + j] = entry


@inlined
def _sift_down(s: Any, base: int, n: int, j: int, entry: int) -> None:
    c = 2 * j + 1
    while c < n:
        below = s.heap[base + c]
        if c + 1 < n and s.heap[base + c + 1] < below:
            c += 1
            below = s.heap[base + c]
        if below >= entry:
            break
        s.heap[base + j] = below
        j = c
        c = 2 * j + 1
    s.heap[base + j] = entry


@inlined
def append_waiting(s: Any, rank: Any, i: int) -> None:
    q = s.req[i]
    line = s.lines[rank.line0 + q.level]
    q.next = -1
    if line.head < 0:
        line.head = i
    else:
        s.req[line.tail].next = i
    line.tail = i
    rank.nwait += 1


@inlined
def prepend_waiting(s: Any, rank: Any, i: int) -> None:
    q = s.req[i]
    line = s.lines[rank.line0 + q.level]
    q.next = line.head
    if line.head < 0:
        line.tail = i
    line.head = i
    rank.nwait += 1


@inlined
def drop_head(s: Any, rank: Any, i: int) -> None:
    """Take request i, the head of its level, out of the queue."""
    q = s.req[i]
    line = s.lines[rank.line0 + q.level]
    line.head = q.next
    if q.next < 0:
        line.tail = -1
    rank.nwait -= 1


@inlined
def append_running(s: Any, rank: Any, i: int) -> None:
    q = s.req[i]
    tail = rank.tail
    q.prev = tail
    q.next = -1
    if tail >= 0:
        s.req[tail].next = i
    rank.tail = i
    rank.nrun += 1


@inlined
def remove_running(s: Any, rank: Any, i: int) -> None:
    q = s.req[i]
    if q.prev >= 0:
        s.req[q.prev].next = q.next
    if q.next >= 0:
        s.req[q.next].prev = q.prev
    else:
        rank.tail = q.prev
    rank.nrun -= 1


@jit
def blocks_of(pool: Any, q: Any, tokens: float) -> float:
    """Blocks that request q holds with `tokens` cached; with speculation, growth is spread evenly."""
    size = pool.block_tokens
    shared = q.shared // size if q.shared > 0 else 0
    if pool.reserve == 1:
        return float((q.inp + q.out + size - 1) // size - shared)
    start = q.inp + q.gen
    if pool.accepted > 1.0 and tokens > start:
        return float((start + size - 1) // size - shared + (tokens - start) / size)
    return float((tokens + size - 1) // size - shared)


@jit
def growth(s: Any, rank: Any, pool: Any, k: int) -> float:
    """Blocks that the decodes of a rank take in the next k steps."""
    n = rank.ndec
    if n == 0 or pool.reserve == 1:
        return 0.0
    size = pool.block_tokens
    if pool.accepted > 1.0:
        return float(k * pool.accepted * n / size)
    total = (k // size) * n
    at = -rank.step % size
    for _ in range(k % size):
        total += s.residue[rank.residue0 + at]
        at = at - 1 if at > 0 else size - 1
    return float(total)


@inlined
def steps_until_full(s: Any, rank: Any, pool: Any, free: float, most: int) -> int:
    """Largest k <= most whose growth fits into `free` blocks."""
    n = rank.ndec
    size = pool.block_tokens
    if pool.reserve == 1 or free * size >= n * float(most + size) * pool.accepted:
        return most
    if pool.accepted > 1.0:
        return int(min(most, free * size / (pool.accepted * n)))
    k = (int(free) // n) * size
    left = int(free) % n
    at = -(rank.step + k) % size
    while k < most and s.residue[rank.residue0 + at] <= left:
        left -= s.residue[rank.residue0 + at]
        at = at - 1 if at > 0 else size - 1
        k += 1
    return int(min(k, most))


@jit
def first_step_at(a: float, b: float, wait: float, most: int) -> int:
    """Smallest k in 1..most with k*a + b*k*(k-1)/2 >= wait; `most` if there is none."""
    if wait <= a:
        return 1
    if b > 0.0:
        h = a / b - 0.5
        root = 2.0 * wait / b / (h + (h * h + 2.0 * wait / b) ** 0.5)  # the form that does not cancel
    else:
        root = wait / a
    if root >= most:
        return most
    k = max(1, int(root))
    while k > 1 and (k - 1) * a + b * (k - 1) * (k - 2) / 2 >= wait:
        k -= 1
    while k < most and k * a + b * k * (k - 1) / 2 < wait:
        k += 1
    return k


@inlined
def pending_push(s: Any, i: int) -> None:
    """Add a follow-up request, ordered by arrival."""
    run = s.run[0]
    j = run.pending
    run.pending = j + 1
    key = s.req[i].arrival
    while j > 0:
        up = (j - 1) >> 1
        above = s.pending[up]
        if s.req[above].arrival <= key:
            break
        s.pending[j] = above
        j = up
    s.pending[j] = i


@inlined
def pending_pop(s: Any) -> int:
    """Take out the follow-up that arrives first."""
    run = s.run[0]
    top = s.pending[0]
    last = run.pending - 1
    run.pending = last
    moved = s.pending[last]
    key = s.req[moved].arrival
    j = 0
    c = 1
    while c < last:
        if c + 1 < last and s.req[s.pending[c + 1]].arrival < s.req[s.pending[c]].arrival:
            c += 1
        if s.req[s.pending[c]].arrival >= key:
            break
        s.pending[j] = s.pending[c]
        j = c
        c = 2 * j + 1
    s.pending[j] = moved
    return int(top)
