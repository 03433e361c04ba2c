"""What happens during a run besides requests: sampling, clocks that fall, outages, rolling updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.serving.kernel_run import run
from advisor.serving.result import TimeSeries
from advisor.serving.state import NEVER, State, assign, candidates, column, set_candidates

__all__ = ["Derating", "Outage", "Outages", "RollingUpdate", "Sampler", "rolling_update"]


@dataclass(slots=True)
class Sampler:
    """Queue, running requests and cache use at equal distances, for charts."""

    every_s: float
    paid: list[float] = field(default_factory=list)  # an autoscaler sets what is paid for at each sample
    _rows: list[tuple[float, ...]] = field(default_factory=list)

    def __call__(self, state: State, now: float) -> float:
        waiting = float(column(state.ranks, "nwait").sum())
        running = float(column(state.ranks, "nrun").sum())
        used, groups = column(state.ranks, "used"), column(state.ranks, "group")
        blocks = column(state.pools, "blocks")[column(state.groups, "pool")[groups]]
        self._rows.append((now, waiting, running, float((used / np.maximum(blocks, 1)).mean())))
        return now + self.every_s

    def series(self, replicas: int) -> TimeSeries:
        rows = np.array(self._rows).reshape(-1, 4)
        paid = np.array(self.paid) if len(self.paid) == len(rows) else np.full(len(rows), float(replicas))
        return TimeSeries(rows[:, 0], rows[:, 1], rows[:, 2], paid, rows[:, 3])


@dataclass(slots=True)
class Derating:
    """Step times over the run: factor `factors[i]` from `times_s[i]` on, as a sustained probe measured them."""

    times_s: Sequence[float]
    factors: Sequence[float]
    pool: int = 0
    _next: int = 0

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.times_s, self.times_s[1:], strict=False))
        if len(self.times_s) != len(self.factors) or not rising or any(f <= 0 for f in self.factors):
            raise InputError("derating", "rising times and as many factors > 0", self.factors)

    def __call__(self, state: State, now: float) -> float:
        while self._next < len(self.times_s) and self.times_s[self._next] <= now:
            assign(state.pools, self.pool, "scale", self.factors[self._next])
            self._next += 1
        return self.times_s[self._next] if self._next < len(self.times_s) else NEVER


@dataclass(frozen=True, slots=True)
class Outage:
    """Replicas that stop at `at_s` and work again `recovery_s` later. Planned: they finish their requests first."""

    at_s: float
    replicas: tuple[int, ...]
    recovery_s: float
    planned: bool = False

    def __post_init__(self) -> None:
        if not self.at_s >= 0 or not self.recovery_s >= 0 or not self.replicas:
            raise InputError("outage", "a time >= 0, a recovery >= 0 and at least one replica", self.at_s)


@dataclass(slots=True)
class Outages:
    """Takes replicas off the router's list and puts them back. `retried`: requests that had to start over."""

    outages: Sequence[Outage]
    retried: int = 0
    _active: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    _allowed: tuple[NDArray[np.int64], ...] = ()

    def __call__(self, state: State, now: float) -> float:
        if not len(self._active):
            self._active = np.ones(len(column(state.groups, "pool")), dtype=np.bool_)
            self._allowed = candidates(state)
            self._check()
        lost = [(g, o) for o in self.outages for g in o.replicas if o.at_s == now]
        for g, _ in lost:
            self._active[g] = False
        for g in {g for o in self.outages for g in o.replicas if o.at_s + o.recovery_s == now}:
            self._active[g] = not any(o.at_s <= now < o.at_s + o.recovery_s for o in self.outages if g in o.replicas)
        set_candidates(state, self._allowed, self._active)
        for g, outage in lost:
            if not outage.planned:
                self.retried += int(run(state, now, int(g), now + outage.recovery_s))
        moments = {m for o in self.outages for m in (o.at_s, o.at_s + o.recovery_s) if m > now}
        return min(moments, default=NEVER)

    def _check(self) -> None:
        for outage in self.outages:
            if any(not 0 <= g < len(self._active) for g in outage.replicas):
                raise InputError("outage", f"replicas 0..{len(self._active) - 1}", outage.replicas)


@dataclass(frozen=True, slots=True)
class RollingUpdate:
    """One batch of replicas after another: drained for `drain_s`, then away for `startup_s` (load of the model)."""

    start_s: float
    startup_s: float
    drain_s: float = 60.0
    at_once: int = 1


def rolling_update(update: RollingUpdate, replicas: int) -> tuple[Outage, ...]:
    """Each batch gets no new requests from the start of its drain on; what still runs at its end starts over.

    Where no other replica is left, requests wait until the batch is back.
    """
    if not 1 <= update.at_once <= replicas:
        raise InputError("at_once", f"1..{replicas}", update.at_once)
    away = update.drain_s + update.startup_s
    batches = range(0, replicas, update.at_once)
    groups = [tuple(range(first, min(first + update.at_once, replicas))) for first in batches]
    starts = [update.start_s + i * away for i in range(len(groups))]
    drains = [Outage(at, g, away, planned=True) for at, g in zip(starts, groups, strict=True)]
    loads = [Outage(at + update.drain_s, g, update.startup_s) for at, g in zip(starts, groups, strict=True)]
    return (*drains, *loads)
