"""One simulated trial of a fleet size: does it meet the limits, and what holds it back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor.serving.engines import EngineOptions
from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.limits import Limit, binding_limits
from advisor.serving.result import SimulationResult
from advisor.serving.sampling import sample
from advisor.serving.simulate import simulate, simulate_fleet
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import ArrivalKind, RequestTable, Slo, Workload

__all__ = ["Bench", "Trial", "Window", "floor_of", "rate_that_keeps_up", "window_of"]

_FLOOR_REQUESTS = 400
_SATURATION_PER_SEAT = 12
_LARGEST_RUN = 60_000
_SMALLEST_RUN = 6_000
_SMALLEST_CELL, _LARGEST_CELL = 8, 64
_RESIDENCE_TIMES = 10  # length of a run
_WARM_UP, _WIND_DOWN = 0.2, 0.9  # requests that arrive in between are counted


@dataclass(frozen=True, slots=True)
class Window:
    """Latency in ms at the SLO's percentile over the steady part of a run, and the worst ratio to a limit."""

    ttft_ms: float
    tpot_ms: float
    e2e_ms: float
    residence_s: float  # E[T^2] / E[T] of the end-to-end time T: how long a fleet remembers
    worst: float  # 1.2: 20 % over its limit; 0 without limits
    metric: str  # ttft | tpot | e2e: the worst; empty without limits


@dataclass(frozen=True, slots=True)
class Trial:
    replicas: int
    simulated: int  # replicas of the cell
    meets: bool
    load: float  # arrivals over the rate that keeps up
    window: Window
    limits: tuple[Limit, ...]  # most binding first
    result: SimulationResult


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that stays the same between trials."""

    costs: StepCosts
    workload: Workload
    slo: Slo
    options: EngineOptions
    router: Router
    max_load: float
    keeps_up: float  # requests per second of one replica that is never idle
    residence_s: float  # how long the fleet remembers, about
    shares: Mapping[str, float]

    def trial(self, replicas: int, seed: int) -> Trial:
        """Simulates all replicas, or a cell of them with its share of the traffic."""
        cell = min(replicas, self.cell())
        table = self._table(replicas, cell, seed)
        fleet = Fleet((Pool("main", self.costs, cell, self.options),), self.router)
        slos = tuple(self.slo if c.slo.is_empty else c.slo for c in self.workload.classes)
        result = simulate_fleet(fleet, table, seed=seed, slos=slos, priorities=_priorities(self.workload))
        window = window_of(result, table, slos)
        load = self.load(replicas) if self._open else result.served / result.makespan_s / (cell * self.keeps_up)
        meets = window.worst <= 1 and (load <= self.max_load or not self._open)
        quotable = replace(result, ttft_is_quotable=load <= self.max_load or not self._open)
        limits = binding_limits(result, window.metric, self.shares)
        return Trial(replicas, cell, meets, load, window, limits, quotable)

    def load(self, replicas: int) -> float:
        return self.workload.arrivals.rate_per_s / (replicas * self.keeps_up)

    def cell(self) -> int:
        """Replicas that are simulated for a larger fleet: enough requests for a percentile, few enough to be quick."""
        per_replica = max(1.0, self.keeps_up * self.residence_s)  # requests in flight
        return int(np.clip(_LARGEST_RUN / (_RESIDENCE_TIMES * per_replica), _SMALLEST_CELL, _LARGEST_CELL))

    @property
    def _open(self) -> bool:
        return self.workload.arrivals.kind is not ArrivalKind.CLOSED_LOOP

    def _table(self, replicas: int, cell: int, seed: int) -> RequestTable:
        arrivals = self.workload.arrivals
        share = cell / replicas
        if not self._open:
            users = max(1, math.ceil(arrivals.users * share))
            per_user = _RESIDENCE_TIMES * max(1.0, _SMALLEST_RUN / (_RESIDENCE_TIMES * users))
            scaled = replace(self.workload, arrivals=replace(arrivals, users=users))
            return sample(scaled, int(min(users * per_user, 2 * _LARGEST_RUN)), seed)
        rate = arrivals.rate_per_s * share
        wanted = int(np.clip(_RESIDENCE_TIMES * rate * self.residence_s, _SMALLEST_RUN, 4 * _LARGEST_RUN))
        return sample(self.workload.at_rate(rate), wanted, seed)


def floor_of(costs: StepCosts, workload: Workload, slo: Slo, options: EngineOptions) -> Window:
    """Latencies of requests that have a replica to themselves."""
    table = _alone(sample(_open_workload(workload), _FLOOR_REQUESTS, seed=1))
    result = simulate(costs, table, options=options)
    slos = tuple(slo if c.slo.is_empty else c.slo for c in workload.classes)
    return window_of(result, table, slos, whole=True)


def rate_that_keeps_up(costs: StepCosts, workload: Workload, options: EngineOptions) -> float:
    """Requests per second of a replica that always has a queue; 0 if nothing fits into its cache."""
    n = int(np.clip(_SATURATION_PER_SEAT * costs.max_num_seqs * costs.dp, 1_000, 20_000))
    table = sample(_open_workload(workload), n, seed=1)
    together = RequestTable(
        np.zeros(n), table.input_tokens, table.output_tokens, table.prefix_hit_tokens, table.request_class
    )
    unlimited = replace(options, max_queue=0, queue_timeout_s=float("inf"))
    result = simulate(replace(costs, outside_s=0.0), together, options=unlimited)
    if result.served == 0:
        return 0.0
    # The last requests run in ever smaller batches: count up to the time by which 80 % are done.
    ends = np.sort(result.outcome.last_token_s[result.outcome.status == 0])
    steady = int(0.8 * len(ends))
    return steady / max(float(ends[steady - 1]), 1e-12) if steady else result.served / result.makespan_s


def window_of(result: SimulationResult, table: RequestTable, slos: tuple[Slo, ...], *, whole: bool = False) -> Window:
    """Percentiles over the requests that arrived in the steady part; refused requests count as missed."""
    arrival = result.outcome.arrival_s
    start, end = float(arrival.min()), float(arrival.max())
    low, high = (0.0, 1.0) if whole or end <= start else (_WARM_UP, _WIND_DOWN)
    steady = (arrival >= start + low * (end - start)) & (arrival <= start + high * (end - start))
    worst, metric = 0.0, ""
    for c, slo in enumerate(slos):
        mine = steady & (table.request_class == c)
        for name, ratio in _ratios(result, mine, slo).items():
            if ratio > worst:
                worst, metric = ratio, name
    percentile = max((slo.percentile for slo in slos), default=99.0)
    values = [_percentile(v[steady], percentile) * 1e3 for v in _seconds(result).values()]
    known = result.outcome.e2e_s[steady & (result.outcome.status == 0)]
    residence = float((known**2).sum() / known.sum()) if len(known) else 0.0
    return Window(values[0], values[1], values[2], residence, worst, metric)


def _ratios(result: SimulationResult, mine: NDArray[np.bool_], slo: Slo) -> dict[str, float]:
    limits = {"ttft": slo.ttft_ms, "tpot": slo.tpot_ms, "e2e": slo.e2e_ms}
    answer = {}
    for name, seconds in _seconds(result).items():
        limit = limits[name]
        if limit is not None and mine.any():
            served = seconds[mine & (result.outcome.status == 0)]
            lost = int((result.outcome.status[mine] != 0).sum())
            answer[name] = _percentile(served, slo.percentile, lost) * 1e3 / limit
    return answer


def _seconds(result: SimulationResult) -> dict[str, NDArray[np.float64]]:
    outcome = result.outcome
    return {"ttft": outcome.ttft_s, "tpot": outcome.tpot_s, "e2e": outcome.e2e_s}


def _percentile(values: NDArray[np.float64], percentile: float, lost: int = 0) -> float:
    """Of the values that are not NaN and of `lost` infinite ones; 0 without any."""
    known = values[~np.isnan(values)]
    if lost:
        known = np.concatenate([known, np.full(lost, np.inf)])
    if not len(known):
        return 0.0
    return float(np.percentile(known, percentile, method="lower" if lost else "linear"))


def _alone(table: RequestTable) -> RequestTable:
    """The same requests, each long after the one before."""
    far = 1e5 * np.arange(len(table), dtype=np.float64)
    return RequestTable(far, table.input_tokens, table.output_tokens, table.prefix_hit_tokens, table.request_class)


def _open_workload(workload: Workload) -> Workload:
    """Only the lengths matter."""
    arrivals = replace(workload.arrivals, kind=ArrivalKind.POISSON, rate_per_s=1.0, shape=())
    return replace(workload, arrivals=arrivals)


def _priorities(workload: Workload) -> tuple[int, ...]:
    levels = tuple(c.priority for c in workload.classes)
    return levels if len(set(levels)) > 1 else ()
