"""The engine's clock: k decode-only steps last k*a + b*k*(k-1)/2, so it jumps to the next completion, arrival or
exhaustion of the cache at once. Compiled, see `_jit`.

A compiled function contains all that it calls, so few functions call `advance`: each costs seconds of compilation.
"""

from __future__ import annotations

from typing import Any

from advisor.serving._jit import inlined, jit
from advisor.serving.kernel_commit import commit
from advisor.serving.kernel_lists import blocks_of, first_step_at
from advisor.serving.kernel_plan import plan

__all__ = ["advance", "shorten"]


@jit
def advance(s: Any, group: Any, until: float) -> None:
    """Take the planned steps of a group and plan the next, until a plan ends at or after `until`; at least once."""
    while True:
        commit(s, group)
        plan(s, group)
        if group.end >= until:
            return


@inlined
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
