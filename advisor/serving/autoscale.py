"""Autoscaling as Kubernetes does it (HPA v2, KEDA), with the time that a model takes to load as start-up delay.

Every `period_s`: desired = ceil(total metric / target), ignored within `tolerance`; upwards at most doubling or four
more; downwards the largest recommendation of the last `stabilisation_s`
(kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.serving.control import Sampler
from advisor.serving.fleet import Fleet
from advisor.serving.result import SimulationResult
from advisor.serving.simulate import Control, simulate_fleet
from advisor.serving.state import State, candidates, column, set_candidates
from advisor.serving.workload import RequestTable, Slo

__all__ = ["AutoscalePolicy", "Metric", "simulate_autoscaled"]

_SAMPLES = 400


class Metric(StrEnum):
    IN_FLIGHT = "in_flight"  # waiting and running
    WAITING = "waiting"  # as KEDA on vllm:num_requests_waiting


@dataclass(frozen=True, slots=True)
class AutoscalePolicy:
    """`target`: of the metric, per replica. `startup_s`: from the decision until a replica takes requests."""

    target: float
    min_replicas: int = 1
    startup_s: float = 60.0
    metric: Metric = Metric.IN_FLIGHT
    period_s: float = 15.0
    tolerance: float = 0.1
    stabilisation_s: float = 300.0
    up_factor: float = 2.0
    up_pods: int = 4

    def __post_init__(self) -> None:
        if not (self.target > 0 and self.period_s > 0 and self.startup_s >= 0 and self.min_replicas >= 1):
            raise InputError("autoscaling", "target and period > 0, start-up >= 0, min_replicas >= 1", self.target)


@dataclass(slots=True)
class _Autoscaler:
    policy: AutoscalePolicy
    replicas: int  # most there can be
    paid_s: float = 0.0
    paid_now: int = 0
    _ready_at: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # inf: off
    _draining: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    _allowed: tuple[NDArray[np.int64], ...] = ()
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _last: float = 0.0

    def __call__(self, state: State, now: float) -> float:
        if not len(self._ready_at):
            self._start(state)
        self.paid_s += (now - self._last) * self.paid_now
        self._last = now
        outstanding = column(state.groups, "outstanding")
        stopped = self._draining & (outstanding == 0)
        self._ready_at[stopped], self._draining[stopped] = np.inf, False
        self._resize(self._desired(state, now), outstanding, now)
        set_candidates(state, self._allowed, (self._ready_at <= now) & ~self._draining)
        self.paid_now = int(np.isfinite(self._ready_at).sum())
        return now + self.policy.period_s

    def _start(self, state: State) -> None:
        self._allowed = candidates(state)
        self._ready_at = np.full(self.replicas, np.inf)
        self._ready_at[: self.policy.min_replicas] = 0.0
        self._draining = np.zeros(self.replicas, dtype=np.bool_)
        self.paid_now = self.policy.min_replicas

    def _desired(self, state: State, now: float) -> int:
        policy, current = self.policy, self._current()
        waiting = policy.metric is Metric.WAITING
        total = column(state.ranks, "nwait").sum() if waiting else column(state.groups, "outstanding").sum()
        ratio = float(total) / (policy.target * current)
        wanted = current if abs(ratio - 1) <= policy.tolerance else math.ceil(float(total) / policy.target)
        wanted = min(max(wanted, policy.min_replicas), self.replicas)
        recent = now - policy.stabilisation_s
        self._recommended = [(t, n) for t, n in self._recommended if t >= recent] + [(now, wanted)]
        if wanted < current:
            return min(current, max(n for _, n in self._recommended))
        return min(wanted, max(math.ceil(current * policy.up_factor), current + policy.up_pods))

    def _current(self) -> int:
        return int((np.isfinite(self._ready_at) & ~self._draining).sum())

    def _resize(self, desired: int, outstanding: NDArray[np.int64], now: float) -> None:
        change = desired - self._current()
        if change > 0:
            back = np.flatnonzero(self._draining)[:change]  # a replica that drains is still loaded
            self._draining[back] = False
            new = np.flatnonzero(~np.isfinite(self._ready_at))[: change - len(back)]
            self._ready_at[new] = now + self.policy.startup_s
        elif change < 0:
            kept = np.flatnonzero(np.isfinite(self._ready_at) & ~self._draining)
            # Starting ones first, then the emptiest.
            order = np.lexsort((outstanding[kept], self._ready_at[kept] <= now))
            gone = kept[order[:-change]]
            starting = gone[self._ready_at[gone] > now]
            self._ready_at[starting] = np.inf
            self._draining[np.setdiff1d(gone, starting)] = True


@dataclass(slots=True)
class _PaidSampler(Sampler):
    scaler: _Autoscaler | None = None

    def __call__(self, state: State, now: float) -> float:
        self.paid.append(float(self.scaler.paid_now if self.scaler else 0))
        return Sampler.__call__(self, state, now)


def simulate_autoscaled(
    fleet: Fleet,
    table: RequestTable,
    policy: AutoscalePolicy,
    *,
    seed: int = 0,
    slos: tuple[Slo, ...] = (),
    priorities: tuple[int, ...] = (),
    controls: Sequence[Control] = (),
) -> SimulationResult:
    """A fleet of one pool whose size is the most there can be. The result's replica hours are those paid for."""
    if len(fleet.pools) != 1 or policy.min_replicas > fleet.replicas:
        raise InputError("autoscaling", "one pool with at least min_replicas replicas", len(fleet.pools))
    scaler = _Autoscaler(policy, fleet.replicas)
    span = max(float(table.arrival_s.max() - table.arrival_s.min()), policy.period_s)
    sampler = _PaidSampler(max(policy.period_s, span / _SAMPLES), scaler=scaler)
    result = simulate_fleet(
        fleet, table, seed=seed, slos=slos, priorities=priorities, controls=(scaler, sampler, *controls)
    )
    return replace(result, replica_hours=scaler.paid_s / 3600, series=sampler.series(fleet.replicas))
