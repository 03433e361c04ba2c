"""The simulator's state: arrays of records, so that numba and plain Python run the same kernels.

Requests, ranks (engine cores), groups (replicas: the `dp` ranks that step together) and pools (equal replicas) are
numbered from 0; links are such numbers, -1 means none. With numba the arrays are numpy records; without it they are
lists of small objects with the same fields, which plain Python reads several times faster.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from advisor.serving import state_fields as fields
from advisor.serving._jit import COMPILED
from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.workload import RequestTable

__all__ = ["NEVER", "State", "assign", "build_state", "candidates", "column", "set_candidates"]

NEVER = 1e300  # seconds; larger than any clock
_ROUTERS = tuple(Router)
_CHUNK = 8192


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
    cand: Any  # groups that take requests, by class
    cand0: Any  # start of each class in `cand`
    ncand: Any  # how many each class has there
    turn: Any  # round robin, by class
    first: Any  # requests that follow no other, in order of arrival; empty where none follows another
    pending: Any  # heap of follow-ups


def column(records: Any, name: str) -> NDArray[Any]:
    """One field of all records as an array, in either mode."""
    if isinstance(records, np.ndarray):
        return records[name].copy()
    return np.array([getattr(record, name) for record in records])


def assign(records: Any, index: int, name: str, value: float) -> None:
    """Set one field of one record, in either mode."""
    if isinstance(records, np.ndarray):
        records[name][index] = value
    else:
        setattr(records[index], name, value)


def set_candidates(state: State, allowed: tuple[NDArray[np.int64], ...], active: NDArray[np.bool_]) -> None:
    """The router offers class c the active groups of `allowed[c]`; all of them where none is active."""
    for c, groups in enumerate(allowed):
        chosen = groups[active[groups]]
        chosen = chosen if len(chosen) else groups
        start = int(state.cand0[c])
        for j, g in enumerate(chosen):
            state.cand[start + j] = int(g)
        state.ncand[c] = len(chosen)


def candidates(state: State) -> tuple[NDArray[np.int64], ...]:
    """Groups that may serve each class, before anything failed."""
    starts = [int(start) for start in state.cand0]
    cand = np.asarray(state.cand, dtype=np.int64)
    return tuple(cand[a:b].copy() for a, b in pairwise(starts))


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
        lines=_records(fields.LINE, len(ranks) * levels, head=-1, tail=-1),
        run=_records(fields.RUN, 1, router=_ROUTERS.index(fleet.router), levels=levels),
        table=_list(np.concatenate([pool.costs.table() for pool in fleet.pools])),
        heap=_list(np.zeros(seats, dtype=np.int64)),
        draw=_list(np.random.default_rng([seed, 7]).random(2 * len(table), dtype=np.float32)),
        think=_list(table.think_s + max(pool.costs.outside_s for pool in fleet.pools)),
        residue=_list(np.zeros(sizes, dtype=np.int64)),
        first=_list(first.astype(np.int64)),
        pending=_list(np.zeros(len(table.follows), dtype=np.int64)),
        **_routing(fleet, table),
    )


def _records(spec: dict[str, str], n: int, **values: Any) -> Any:
    if COMPILED:
        array = np.zeros(n, dtype=np.dtype(list(spec.items()), align=True))
        wide = {name: np.broadcast_to(np.asarray(value), n) for name, value in values.items()}
        for start in range(0, n, _CHUNK):  # a chunk stays in the processor's cache while its fields are set
            part = slice(start, start + _CHUNK)
            for name, value in wide.items():
                array[name][part] = value[part]
        return array
    kind = type("Record", (), {"__slots__": tuple(spec)})
    records = [kind() for _ in range(n)]
    for name, code in spec.items():
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
        fields.REQUEST,
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
        fields.POOL,
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
    return _records(fields.GROUP, len(pool), pool=pool, rank0=np.cumsum(dp) - dp, end=NEVER)


def _ranks(pools: tuple[Pool, ...], levels: int) -> tuple[Any, int, int]:
    """The ranks, and the lengths of all their heaps and residue tables."""
    count = [p.replicas * p.costs.dp for p in pools]
    group = np.repeat(
        np.arange(sum(p.replicas for p in pools)), np.repeat([p.costs.dp for p in pools], [p.replicas for p in pools])
    )
    seats = np.repeat([p.costs.max_num_seqs for p in pools], count)
    sizes = np.repeat([p.options.block_tokens for p in pools], count)
    starts = {"heap0": np.cumsum(seats) - seats, "residue0": np.cumsum(sizes) - sizes}
    ranks = _records(
        fields.RANK, len(group), group=group, line0=np.arange(len(group)) * levels, tail=-1, part=-1, **starts
    )
    return ranks, int(seats.sum()), int(sizes.sum())


def _routing(fleet: Fleet, table: RequestTable) -> dict[str, Any]:
    classes = int(table.request_class.max(initial=0)) + 1
    pool = np.repeat(np.arange(len(fleet.pools)), [p.replicas for p in fleet.pools])
    allowed = [fleet.class_pools[c] if c < len(fleet.class_pools) else range(len(fleet.pools)) for c in range(classes)]
    groups = [np.flatnonzero(np.isin(pool, list(pools))) for pools in allowed]
    return {
        "cand": _list(np.concatenate(groups).astype(np.int64)),
        "cand0": _list(np.cumsum([0, *[len(g) for g in groups]]).astype(np.int64)),
        "ncand": _list(np.array([len(g) for g in groups], dtype=np.int64)),
        "turn": _list(np.full(classes, -1, dtype=np.int64)),
    }
