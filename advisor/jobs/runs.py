"""What the simulations of a page have in common: their length, their share of the traffic, their samples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from advisor.jobs.answers import Series
from advisor.serving.engines import EngineOptions
from advisor.serving.estimate import time_alone
from advisor.serving.result import SimulationResult
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import ArrivalKind, Slo, Workload

__all__ = ["class_levels", "class_limits", "run_length", "series_rows", "share_of"]

_LEAST, _MOST = 6_000, 200_000  # requests of a run
_LEAST_ROUNDS = 600  # requests of users who wait for their answers
_RESIDENCE_TIMES = 20  # length of a run whose traffic does not change
_SAMPLES = 120  # two lines of them stay below 300 marks


def class_limits(workload: Workload, slo: Slo) -> tuple[Slo, ...]:
    """The limits of each class: its own, or else those of the page."""
    return tuple(slo if c.slo.is_empty else c.slo for c in workload.classes)


def class_levels(workload: Workload) -> tuple[int, ...]:
    """Priorities; empty where all are equal."""
    levels = tuple(c.priority for c in workload.classes)
    return levels if len(set(levels)) > 1 else ()


def share_of(workload: Workload, share: float) -> Workload:
    """The traffic of a part of the fleet."""
    arrivals = workload.arrivals
    users = max(1, math.ceil(arrivals.users * share)) if arrivals.users else 0
    return replace(workload, arrivals=replace(arrivals, rate_per_s=arrivals.rate_per_s * share, users=users))


def run_length(workload: Workload, costs: StepCosts, options: EngineOptions) -> int:
    """Requests: a whole period of traffic that changes, else many times the time that a request takes."""
    arrivals = workload.arrivals
    if arrivals.kind is ArrivalKind.CLOSED_LOOP:
        return int(np.clip(12 * arrivals.users, _LEAST_ROUNDS, _MOST))
    if arrivals.shape:
        return int(np.clip(arrivals.rate_per_s * arrivals.period_s, _LEAST, _MOST))
    return int(np.clip(_RESIDENCE_TIMES * time_alone(costs, workload, options) * arrivals.rate_per_s, _LEAST, _MOST))


def series_rows(result: SimulationResult, replicas: int) -> Series | None:
    """At most 120 samples; queues as the mean of a replica."""
    found = result.series
    if found is None or not len(found.time_s):
        return None
    rows = np.unique(np.linspace(0, len(found.time_s) - 1, min(_SAMPLES, len(found.time_s))).astype(int))

    def values(column: np.ndarray, scale: float = 1.0) -> tuple[float, ...]:
        return tuple(float(v) for v in column[rows] / scale)

    return Series(
        time_s=values(found.time_s),
        waiting=values(found.waiting, replicas),
        running=values(found.running, replicas),
        replicas=values(found.replicas),
        cache_use=values(found.cache_use),
    )
