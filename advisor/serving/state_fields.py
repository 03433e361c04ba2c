"""Fields of the simulator's records, with their types."""

from __future__ import annotations

__all__ = ["GROUP", "LINE", "POOL", "RANK", "REQUEST", "RUN"]

_I, _J, _F = "i4", "i8", "f8"
REQUEST = {
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
RANK = {
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
GROUP = {
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
POOL = {
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
LINE = {"head": _J, "tail": _J}
RUN = {"next": _J, "router": _J, "levels": _J, "pending": _J}
