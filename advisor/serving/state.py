"""The simulator's state: arrays of records, so that numba and plain Python run the same kernels.

Requests, ranks (engine cores), groups (replicas: the `dp` ranks that step together) and pools (equal replicas) are
numbered from 0; links are such numbers, -1 means none. With numba the arrays are numpy records; without it they are
lists of small objects with the same fields, which plain Python reads several times faster.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from advisor.serving._jit import COMPILED
from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.workload import RequestTable

__all__ = ["NEVER", "State", "build_state", "column"]

NEVER = 1e300  # seconds; larger than any clock
_ROUTERS = tuple(Router)
_CHUNK = 8192

_I, _J, _F = "i4", "i8", "f8"
_REQUEST = {
    "arrival": _F,
    "sched": _F,  # first admitted; -1: never
    "first": _F,  # first token
    "last": _F,  # end
    "off": _F,  # cached tokens minus accepted * step number, while it decodes
    "inp": _I,
    "out": _I,
    "hit": _I,  # input tokens found in the prefix cache
    "shared": _I,  # of those, tokens that all requests of its class share
    "cls": "i2",
    "level": "i1",  # priority, 0 first
    "child": _I,  # request that follows the end of this one
    "gen": _I,  # tokens generated before the last preemption
    "next": _I,  # in the queue or in the running list
    "prev": _I,  # in the running list; before it runs, the request that it follows
    "rank": _I,
    "preempted": _I,
    "status": "i1",
}
_RANK = {
    "group": _J,
    "line0": _J,  # its first queue, one per priority level
    "heap0": _J,
    "residue0": _J,
    "nwait": _J,
    "tail": _J,  # running requests, in order of admission
    "nrun": _J,
    "ndec": _J,
    "step": _J,
    "npart": _J,  # prompts at the tail that are in the planned step
    "part": _J,  # tokens of the last of them that are done after the planned step; -1: all
    "tokens": _J,  # in the planned step
    "kind": _J,  # planned step: 0 none, 1 decode only, 2 mixed, 3 prompts only
    "block": _J,  # why the head of the queue waits: 0 does not, 1 cache, 2 seats, 3 token budget
    "nheap": _J,
    "read": _F,  # cached tokens of all decodes
    "used": _F,  # blocks
    "peak": _F,
    "work": _F,  # prefill attention of the planned step
    "extra": _F,  # cached tokens read by one-token prompts of the planned step
}
_GROUP = {
    "pool": _J,
    "rank0": _J,
    "outstanding": _J,  # requests waiting and running
    "k": _J,  # planned steps; they last k*a + b*k*(k-1)/2
    "steps": _J,
    "a": _F,
    "b": _F,
    "clock": _F,
    "end": _F,  # of the planned steps
    "busy_s": _F,
    "mixed_s": _F,  # added to steps by prompts
    "run_s": _F,  # integral of running requests over time
    "cache_s": _F,  # rank-seconds in which the head of the queue waited for blocks
    "seats_s": _F,
    "budget_s": _F,
}
_POOL = {
    "dp": _J,
    "table0": _J,
    "seats": _J,
    "budget": _J,
    "block_tokens": _J,
    "chunked": _J,
    "prefill_first": _J,
    "reserve": _J,
    "static": _J,
    "max_queue": _J,
    "verify": _J,  # tokens in the batch per decode
    "blocks": _F,
    "cdec": _F,
    "cmix": _F,
    "cpre": _F,
    "cmin": _F,
    "timeout": _F,
    "accepted": _F,
    "draft_s": _F,
    "scale": _F,  # of step times, for clocks that fall
    "weight": _F,
}
_LINE = {"head": _J, "tail": _J}
_RUN = {"next": _J, "router": _J, "levels": _J, "pending": _J}


class State(NamedTuple):
    req: Any
    ranks: Any
    groups: Any
    pools: Any
    lines: Any  # waiting queues: ranks x priority levels
    run: Any  # one record: next request to arrive, router, priority levels, follow-ups that are due
    table: Any  # step seconds of all pools
    heap: Any  # of finishing steps, by rank
    draw: Any  # two uniform numbers per request, for the router
    think: Any  # pause before a follow-up
    residue: Any  # decodes by (cached tokens - step) mod block, by rank
    cand: Any  # groups that may serve a class
    cand0: Any  # start of each class in `cand`
    turn: Any  # round robin, by class
    first: Any  # requests that follow no other, in order of arrival; empty where none follows another
    pending: Any  # heap of follow-ups


def column(records: Any, name: str) -> NDArray[Any]:
    """One field of all records as an array, in either mode."""
    if isinstance(records, np.ndarray):
        return records[name].copy()
    return np.array([getattr(record, name) for record in records])


def build_state(fleet: Fleet, table: RequestTable, *, seed: int, priorities: tuple[int, ...] = ()) -> State:
    """`priorities[c]`: of class c, 0 first; empty: all the same."""
    level = np.asarray(priorities, dtype=np.int64)[table.request_class] if priorities else np.zeros(1, dtype=np.int64)
    level = np.unique(level, return_inverse=True)[1]
    levels = int(level.max()) + 1
    groups = _groups(fleet.pools)
    ranks, seats, sizes = _ranks(fleet.pools, levels)
    first = np.flatnonzero(table.follows < 0)
    first = first[np.argsort(table.arrival_s[first], kind="stable")]
    return State(
        req=_requests(table, level),
        ranks=ranks,
        groups=groups,
        pools=_pools(fleet.pools, _shared_tokens(table)),
        lines=_records(_LINE, len(ranks) * levels, head=-1, tail=-1),
        run=_records(_RUN, 1, router=_ROUTERS.index(fleet.router), levels=levels),
        table=_list(np.concatenate([pool.costs.table() for pool in fleet.pools])),
        heap=_list(np.zeros(seats, dtype=np.int64)),
        draw=_list(np.random.default_rng([seed, 7]).random(2 * len(table), dtype=np.float32)),
        think=_list(table.think_s.astype(np.float64)),
        residue=_list(np.zeros(sizes, dtype=np.int64)),
        first=_list(first.astype(np.int64)),
        pending=_list(np.zeros(len(table.follows), dtype=np.int64)),
        **_routing(fleet, table),
    )


def _records(fields: dict[str, str], n: int, **values: Any) -> Any:
    if COMPILED:
        array = np.zeros(n, dtype=np.dtype(list(fields.items()), align=True))
        wide = {name: np.broadcast_to(np.asarray(value), n) for name, value in values.items()}
        for start in range(0, n, _CHUNK):  # a chunk stays in the processor's cache while its fields are set
            part = slice(start, start + _CHUNK)
            for name, value in wide.items():
                array[name][part] = value[part]
        return array
    kind = type("Record", (), {"__slots__": tuple(fields)})
    records = [kind() for _ in range(n)]
    for name, code in fields.items():
        column = np.broadcast_to(np.asarray(values.get(name, 0), dtype=code), n).tolist()
        for record, value in zip(records, column, strict=True):
            setattr(record, name, value)
    return records


def _list(values: NDArray[Any]) -> Any:
    return values if COMPILED else values.tolist()


def _requests(table: RequestTable, level: NDArray[np.int64]) -> Any:
    n = len(table)
    follows = table.follows if len(table.follows) else -1
    return _records(
        _REQUEST,
        n,
        arrival=table.arrival_s if not len(table.follows) else np.where(table.follows < 0, table.arrival_s, NEVER),
        inp=table.input_tokens,
        out=table.output_tokens,
        hit=table.prefix_hit_tokens,
        shared=table.shared_tokens if len(table.shared_tokens) else 0,
        cls=table.request_class,
        level=level,
        child=_children(table.follows) if len(table.follows) else -1,
        prev=follows,
        **dict.fromkeys(("sched", "first", "last"), -1.0),
        **dict.fromkeys(("next", "rank"), -1),
    )


def _children(follows: NDArray[np.int64]) -> NDArray[np.int64]:
    child = np.full(len(follows), -1)
    later = np.flatnonzero(follows >= 0)
    child[follows[later]] = later
    return child


def _pools(pools: tuple[Pool, ...], shared_tokens: int) -> Any:
    lengths = [pool.costs.max_num_batched_tokens + 1 for pool in pools]
    rules = [pool.options for pool in pools]
    drafts = [o.speculation for o in rules]
    return _records(
        _POOL,
        len(pools),
        table0=np.cumsum([0, *lengths])[:-1],
        **{name: [getattr(p.costs, name) for p in pools] for name in ("dp", "cdec", "cmix", "cpre", "cmin")},
        seats=[p.costs.max_num_seqs for p in pools],
        budget=[p.costs.max_num_batched_tokens for p in pools],
        blocks=[max(0, p.costs.kvcap_tokens - shared_tokens) // p.options.block_tokens for p in pools],
        block_tokens=[o.block_tokens for o in rules],
        chunked=[o.chunked_prefill for o in rules],
        prefill_first=[o.prefill_first for o in rules],
        reserve=[o.reserve_output for o in rules],
        static=[o.static_batching for o in rules],
        max_queue=[o.max_queue for o in rules],
        timeout=[min(o.queue_timeout_s, NEVER) for o in rules],
        accepted=[d.accepted_tokens if d else 1.0 for d in drafts],
        verify=[1 + d.draft_tokens if d else 1 for d in drafts],
        draft_s=[d.draft_s if d else 0.0 for d in drafts],
        scale=1.0,
        weight=[p.weight for p in pools],
    )


def _shared_tokens(table: RequestTable) -> int:
    """Tokens of the prefixes that classes share: kept once, taken off every replica's cache."""
    if not len(table.shared_tokens) or not table.shared_tokens.any():
        return 0
    longest = np.zeros(int(table.request_class.max()) + 1, dtype=np.int64)
    np.maximum.at(longest, table.request_class, table.shared_tokens)
    return int(longest.sum())


def _groups(pools: tuple[Pool, ...]) -> Any:
    replicas = [p.replicas for p in pools]
    pool = np.repeat(np.arange(len(pools)), replicas)
    dp = np.array([p.costs.dp for p in pools])[pool]
    return _records(_GROUP, len(pool), pool=pool, rank0=np.cumsum(dp) - dp, end=NEVER)


def _ranks(pools: tuple[Pool, ...], levels: int) -> tuple[Any, int, int]:
    """The ranks, and the lengths of all their heaps and residue tables."""
    count = [p.replicas * p.costs.dp for p in pools]
    group = np.repeat(
        np.arange(sum(p.replicas for p in pools)), np.repeat([p.costs.dp for p in pools], [p.replicas for p in pools])
    )
    seats = np.repeat([p.costs.max_num_seqs for p in pools], count)
    sizes = np.repeat([p.options.block_tokens for p in pools], count)
    starts = {"heap0": np.cumsum(seats) - seats, "residue0": np.cumsum(sizes) - sizes}
    ranks = _records(_RANK, len(group), group=group, line0=np.arange(len(group)) * levels, tail=-1, part=-1, **starts)
    return ranks, int(seats.sum()), int(sizes.sum())


def _routing(fleet: Fleet, table: RequestTable) -> dict[str, Any]:
    classes = int(table.request_class.max(initial=0)) + 1
    pool = np.repeat(np.arange(len(fleet.pools)), [p.replicas for p in fleet.pools])
    allowed = [fleet.class_pools[c] if c < len(fleet.class_pools) else range(len(fleet.pools)) for c in range(classes)]
    groups = [np.flatnonzero(np.isin(pool, list(pools))) for pools in allowed]
    return {
        "cand": _list(np.concatenate(groups).astype(np.int64)),
        "cand0": _list(np.cumsum([0, *[len(g) for g in groups]]).astype(np.int64)),
        "turn": _list(np.full(classes, -1, dtype=np.int64)),
    }
