"""Fewest replicas that meet an SLO under load, by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from advisor.catalog.errors import InputError
from advisor.serving.engines import PRESETS, EngineOptions
from advisor.serving.estimate import replicas_by_closed_form
from advisor.serving.fleet import MAX_REPLICAS, Router
from advisor.serving.limits import Limit
from advisor.serving.result import SimulationResult
from advisor.serving.sampling import check_workload
from advisor.serving.steady import MAX_LOAD
from advisor.serving.step_costs import StepCosts
from advisor.serving.trial import Bench, Trial, Window, floor_of, rate_that_keeps_up
from advisor.serving.workload import ArrivalKind, Slo, Workload

__all__ = ["CancelledError", "CapacityAnswer", "CurvePoint", "Limit", "Progress", "find_replicas", "latency_curve"]

STEP_FACTORS = (0.9, 1.0, 1.1)
_GRAIN = 0.005  # of the replicas: a finer answer is lost in the noise
_LOADED = 1.5  # time of a request at the load of interest, over that of one alone
_USUAL_RUNS = 12
_CURVE_LOADS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)


class CancelledError(Exception):
    """The caller asked to stop."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Sent to the callback after each simulated size: share 0..1 of the work, and what was just learnt."""

    share: float
    replicas: int
    meets: bool


@dataclass(frozen=True, slots=True)
class CapacityAnswer:
    """`replicas` meets the limits with most seeds, `safe_replicas` with every seed.

    Not feasible: both are 0, `binding` is FLOOR (or CACHE: not one request fits) and `trial` is None; `floor` says
    what an idle replica takes. `at_step_factor`: replicas when every step takes that many times as long (0: no
    number is enough). `trial`: the run at `replicas`, of a cell of `trial.simulated` replicas for large fleets.
    """

    feasible: bool
    replicas: int
    safe_replicas: int
    binding: Limit
    next_binding: Limit | None
    floor: Window
    keeps_up_req_s: float  # of one replica
    closed_form_replicas: float
    at_step_factor: Mapping[float, int] = field(default_factory=dict)
    trial: Trial | None = None
    runs: int = 0

    @property
    def result(self) -> SimulationResult | None:
        return self.trial.result if self.trial else None

    @property
    def load(self) -> float:
        return self.trial.load if self.trial else math.inf

    @property
    def agrees_with_closed_form(self) -> bool:
        """Within a quarter, or one replica."""
        gap = abs(self.closed_form_replicas - self.replicas)
        return gap <= max(1.0, 0.25 * self.replicas)


@dataclass(slots=True)
class _Search:
    """Counts runs, remembers trials, tells the caller, stops when asked."""

    progress: Callable[[Progress], None] | None
    cancelled: Callable[[], bool] | None
    runs: int = 0

    def trial(self, bench: Bench, replicas: int, seed: int, known: dict[tuple[int, int], Trial]) -> Trial:
        if (replicas, seed) in known:
            return known[replicas, seed]
        if self.cancelled and self.cancelled():
            raise CancelledError
        trial = known[replicas, seed] = bench.trial(replicas, seed)
        self.runs += 1
        if self.progress:
            self.progress(Progress(min(0.99, self.runs / max(_USUAL_RUNS, self.runs + 2)), replicas, trial.meets))
        return trial


def find_replicas(
    costs: StepCosts,
    workload: Workload,
    slo: Slo,
    *,
    options: EngineOptions | None = None,
    router: Router = Router.TWO_CHOICES,
    seeds: tuple[int, ...] = (1, 2, 3),
    step_shares: Mapping[str, float] | None = None,
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> CapacityAnswer:
    """Bisection with common random numbers, at the busiest moment of a shaped workload.

    `step_shares`: share of a decode step by resource (bandwidth, link, host), to name the limit. Raises InputError
    for bad traffic and CancelledError when `cancelled()` says so.
    """
    check_workload(workload)
    if len(seeds) < 3:
        raise InputError("seeds", "at least three", len(seeds))
    rules, busiest = options or PRESETS["vllm"], _busiest(workload)
    floor = floor_of(costs, busiest, slo, rules)
    bench = _bench(costs, busiest, slo, rules, router, step_shares or {}, floor)
    estimate = _estimate(costs, busiest, slo, rules)
    if bench.keeps_up <= 0 or floor.worst > 1:
        limit = Limit.FLOOR if bench.keeps_up > 0 else Limit.CACHE
        return CapacityAnswer(False, 0, 0, limit, None, floor, bench.keeps_up, estimate)
    search = _Search(progress, cancelled)
    known: dict[tuple[int, int], Trial] = {}
    fewest = _bisect(bench, search, seeds[:1], estimate, known)
    if fewest == 0:
        return CapacityAnswer(False, 0, 0, Limit.QUEUEING, None, floor, bench.keeps_up, estimate, runs=search.runs)
    likely = _climb(bench, search, seeds, fewest, known, needed=len(seeds) // 2 + 1)
    safe = _climb(bench, search, seeds, likely, known, needed=len(seeds))
    factors = {f: _at_factor(bench, search, seeds[:1], f, likely) for f in STEP_FACTORS}
    trial = search.trial(bench, likely, seeds[0], known)
    if likely > 1 and not any(n < likely for n, _ in known):  # only the load cap ruled fewer out: what is it made of?
        search.trial(bench, likely - 1, seeds[0], known)
    limits = _limits(known, likely, trial)
    return CapacityAnswer(
        feasible=True,
        replicas=likely,
        safe_replicas=safe,
        binding=limits[0],
        next_binding=limits[1] if len(limits) > 1 else None,
        floor=floor,
        keeps_up_req_s=bench.keeps_up,
        closed_form_replicas=estimate,
        at_step_factor=factors,
        trial=trial,
        runs=search.runs,
    )


@dataclass(frozen=True, slots=True)
class CurvePoint:
    load: float  # of the rate that keeps up
    rate_per_s: float  # on all replicas
    trial: Trial


def latency_curve(
    costs: StepCosts,
    workload: Workload,
    slo: Slo,
    *,
    replicas: int,
    options: EngineOptions | None = None,
    router: Router = Router.TWO_CHOICES,
    loads: Iterable[float] = _CURVE_LOADS,
    seed: int = 1,
) -> tuple[CurvePoint, ...]:
    """Latency against load for a fleet of one size; the knee is where it leaves the floor."""
    rules = options or PRESETS["vllm"]
    floor = floor_of(costs, workload, slo, rules)
    bench = _bench(costs, _busiest(workload), slo, rules, router, {}, floor)
    points = []
    for load in loads:
        rate = load * bench.keeps_up * replicas
        arrivals = replace(bench.workload.arrivals, rate_per_s=rate)
        if arrivals.kind is ArrivalKind.CLOSED_LOOP:
            arrivals = replace(arrivals, kind=ArrivalKind.POISSON)
        traffic = replace(bench.workload, arrivals=arrivals)
        points.append(CurvePoint(load, rate, replace(bench, workload=traffic).trial(replicas, seed)))
    return tuple(points)


def _bench(
    costs: StepCosts,
    workload: Workload,
    slo: Slo,
    options: EngineOptions,
    router: Router,
    shares: Mapping[str, float],
    floor: Window,
) -> Bench:
    keeps_up = rate_that_keeps_up(costs, workload, options)
    residence = _LOADED * (floor.residence_s or 1.0)
    return Bench(costs, workload, slo, options, router, MAX_LOAD, keeps_up, residence, shares)


def _busiest(workload: Workload) -> Workload:
    arrivals = workload.arrivals
    if not arrivals.shape:
        return workload
    return replace(workload, arrivals=replace(arrivals, rate_per_s=arrivals.peak_rate_per_s, shape=()))


def _estimate(costs: StepCosts, workload: Workload, slo: Slo, options: EngineOptions) -> float:
    """Replicas by the closed form; 0 if it finds none."""
    replicas = replicas_by_closed_form(costs, workload, slo, options)
    return replicas if math.isfinite(replicas) else 0.0


def _bisect(
    bench: Bench, search: _Search, seeds: tuple[int, ...], guess: float, known: dict[tuple[int, int], Trial]
) -> int:
    """Smallest number that meets the limits with the first seed; 0 if none below MAX_REPLICAS does."""
    low = 0
    if bench.workload.arrivals.kind is not ArrivalKind.CLOSED_LOOP:
        low = max(0, math.ceil(bench.load(1) / bench.max_load - 1e-9) - 1)
    high = max(low + 1, round(guess))
    growth = 1.05
    while not search.trial(bench, high, seeds[0], known).meets:
        low, high = high, max(high + 1, math.ceil(high * growth))
        growth = min(2.0, growth * 1.2)
        if high > MAX_REPLICAS:
            return 0
    while high - low > max(1, int(_GRAIN * high)):
        middle = _between(low, high, known, seeds[0])
        if search.trial(bench, middle, seeds[0], known).meets:
            high = middle
        else:
            low = middle
    return high


def _between(low: int, high: int, known: dict[tuple[int, int], Trial], seed: int) -> int:
    """Near the good guess at first, half-way afterwards."""
    first = len([1 for (_, s) in known if s == seed]) == 1
    return max(low + 1, math.floor(high * 0.95)) if first and high - low > 2 else (low + high) // 2


def _climb(
    bench: Bench,
    search: _Search,
    seeds: tuple[int, ...],
    start: int,
    known: dict[tuple[int, int], Trial],
    *,
    needed: int,
) -> int:
    """Smallest number from `start` on that `needed` seeds meet."""
    replicas, stride = start, max(1, int(2 * _GRAIN * start))
    while sum(search.trial(bench, replicas, seed, known).meets for seed in seeds) < needed:
        replicas += stride
        stride = math.ceil(stride * 1.5)
        if replicas > 2 * start + 10:
            break
    return replicas


def _at_factor(bench: Bench, search: _Search, seeds: tuple[int, ...], factor: float, near: int) -> int:
    if factor == 1.0:
        return near
    costs = bench.costs.scaled(factor)
    if floor_of(costs, bench.workload, bench.slo, bench.options).worst > 1:
        return 0
    slower = replace(bench, costs=costs, keeps_up=bench.keeps_up / factor, residence_s=bench.residence_s * factor)
    return _bisect(slower, search, seeds, near * factor, {})


def _limits(known: Mapping[tuple[int, int], Trial], replicas: int, at: Trial) -> tuple[Limit, ...]:
    """Of the largest fleet that failed: what more replicas had to cure."""
    failed = [t for (n, _), t in known.items() if n < replicas and not t.meets]
    return max(failed, key=lambda t: t.replicas).limits if failed else at.limits
