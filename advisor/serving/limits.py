"""What holds a replica back, by name, from where its time went."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from advisor.serving.result import SimulationResult

__all__ = ["Limit", "binding_limits"]

_BLOCKED = 0.01  # share of the time in which the queue stands still for one reason, to count at all
_NOTICEABLE = 0.02


class Limit(StrEnum):
    """Sentences are `serving.limit.<value>`."""

    CACHE = "cache"
    SEATS = "seats"
    BANDWIDTH = "bandwidth"
    COMPUTE = "compute"
    QUEUEING = "queueing"
    LINK = "link"
    HOST = "host"
    FLOOR = "floor"  # the limit lies below the latency of an idle replica


def binding_limits(
    result: SimulationResult, metric: str, shares: Mapping[str, float] | None = None
) -> tuple[Limit, ...]:
    """Most binding first. `metric`: the latency nearest to its limit (ttft, tpot, e2e or empty).

    Waiting requests name what they waited for; a slow step names decode (bandwidth, or the link or host where
    `shares` of the step's time says so) or prefill.
    """
    time = result.time_shares
    waits = {Limit.CACHE: time.cache, Limit.SEATS: time.seats, Limit.COMPUTE: time.budget}
    steps = {_decode_limit(shares or {}): 1 - time.prompts, Limit.COMPUTE: time.prompts}
    stuck = {limit: share for limit, share in waits.items() if share >= _BLOCKED}
    by_wait = sorted(stuck, key=lambda limit: -stuck[limit]) or [Limit.QUEUEING]
    by_step = sorted((limit for limit in steps if steps[limit] >= _NOTICEABLE), key=lambda limit: -steps[limit])
    waiting_first = metric == "ttft" or (metric != "tpot" and bool(stuck))
    order = [*by_wait, *by_step] if waiting_first else [*by_step, *by_wait]
    return tuple(dict.fromkeys(order))


def _decode_limit(shares: Mapping[str, float]) -> Limit:
    known = {Limit(name): share for name, share in shares.items() if name in ("bandwidth", "link", "host")}
    return max(known, key=lambda limit: known[limit]) if known else Limit.BANDWIDTH
