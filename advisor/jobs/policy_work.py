"""A fleet under autoscaling policies: the same requests under each, on as much of the fleet as stays quick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from advisor.jobs.answers import PolicyReport, PolicyRow
from advisor.jobs.messages import PolicyRequest
from advisor.jobs.runs import class_levels, class_limits, series_rows, share_of
from advisor.serving.autoscale import AutoscalePolicy, simulate_autoscaled
from advisor.serving.control import Sampler
from advisor.serving.fleet import Fleet, Pool
from advisor.serving.result import SimulationResult
from advisor.serving.sampling import sample
from advisor.serving.simulate import simulate_fleet
from advisor.serving.workload import Workload

__all__ = ["Part", "part_of", "policy_report"]

# A small cell holds a larger share of spare replicas than its fleet: one more or less is a larger jump, and its traffic
# varies more. Shares of cells of 16 come within 5 points of those of 192 replicas; cells of 8 are 10 points too dear.
_LARGE_CELL = 48
_SMALL_CELL = 16
_MOST_REQUESTS = 2_000_000  # of one run: two seconds
_LEAST_REQUESTS = 200


@dataclass(frozen=True, slots=True)
class Part:
    """`replicas` of the fleet with their share of the traffic; its period may have had to be shortened."""

    replicas: int
    workload: Workload
    requests: int


def part_of(workload: Workload, fleet: int) -> Part:
    """Large fleets of equal replicas behave like a cell of them. Where a cell gets too many requests to simulate, it
    is made smaller, and below the smallest the period shorter."""
    arrivals = workload.arrivals
    per_replica = arrivals.rate_per_s * arrivals.period_s / fleet
    cell = min(fleet, _LARGE_CELL, max(_SMALL_CELL, int(_MOST_REQUESTS / max(per_replica, 1e-9))))
    workload = share_of(workload, cell / fleet)
    shorter = min(1.0, _MOST_REQUESTS / max(cell * per_replica, 1e-9))
    workload = replace(workload, arrivals=replace(workload.arrivals, period_s=arrivals.period_s * shorter))
    return Part(cell, workload, max(_LEAST_REQUESTS, int(cell * per_replica * shorter)))


def policy_report(request: PolicyRequest, tell: Callable[[float, str, int], None]) -> PolicyReport:
    """Raises InputError for traffic that cannot be simulated."""
    tell(0.0, "policy", 0)
    part = part_of(request.workload, request.replicas)
    cell, workload = part.replicas, part.workload
    table = sample(workload, part.requests, seed=5)
    fleet = Fleet((Pool("main", request.costs, cell, request.options),), request.router)
    slos, levels = class_limits(workload, request.slo), class_levels(workload)
    sampler = Sampler(max(float(table.arrival_s.max()) / 240, 1.0))
    static = simulate_fleet(fleet, table, seed=5, slos=slos, priorities=levels, controls=(sampler,))
    rows = [_row(None, replace(static, series=sampler.series(cell)), static.replica_hours, cell)]
    fewest = _fewest(workload.arrivals.shape, cell)
    for index, target in enumerate(request.targets):
        tell((index + 1) / (len(request.targets) + 1), "policy", round(target))
        policy = AutoscalePolicy(target, fewest, request.startup_s, request.metric)
        result = simulate_autoscaled(fleet, table, policy, seed=5, slos=slos, priorities=levels)
        rows.append(_row(target, result, static.replica_hours, cell))
    return PolicyReport(
        fleet=request.replicas,
        replicas=cell,
        requests=len(table),
        hours=float(table.arrival_s.max()) / 3600,
        shortened=workload.arrivals.period_s / request.workload.arrivals.period_s,
        rows=tuple(rows),
    )


def _row(target: float | None, result: SimulationResult, static_hours: float, cell: int) -> PolicyRow:
    return PolicyRow(
        target=target,
        replica_hours=result.replica_hours,
        paid_share=result.replica_hours / static_hours,
        in_slo_share=result.in_slo_share,
        ttft_p99_ms=result.ttft_ms.p99,
        series=series_rows(result, cell),
    )


def _fewest(shape: tuple[float, ...], cell: int) -> int:
    """Replicas for the quietest hour: a fleet never starts the day with fewer."""
    return max(1, round(cell * min(shape) / max(shape))) if shape and max(shape) > 0 else 1
