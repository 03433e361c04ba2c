"""Fewest replicas that meet an SLO under load, by simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from advisor.serving.engines import EngineOptions
from advisor.serving.fleet import Router
from advisor.serving.result import SimulationResult
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import Slo, Workload

__all__ = ["CapacityAnswer", "Limit", "Progress", "find_replicas"]


class Limit(StrEnum):
    """What holds a fleet back; sentences are `serving.limit.<value>`."""

    CACHE = "cache"
    SEATS = "seats"
    BANDWIDTH = "bandwidth"
    COMPUTE = "compute"
    QUEUEING = "queueing"
    LINK = "link"
    HOST = "host"
    FLOOR = "floor"  # the limit lies below the latency of an idle replica


@dataclass(frozen=True, slots=True)
class Progress:
    """Sent to the callback after each simulated size: share 0..1 of the work, and what was just learnt."""

    share: float
    replicas: int
    meets: bool


@dataclass(frozen=True, slots=True)
class CapacityAnswer:
    """`replicas` meets the limits with most seeds, `safe_replicas` with every seed and 10 % slower steps.

    Not feasible: `replicas` is 0 and `binding` is FLOOR. `at_step_factor`: replicas when every step takes that many
    times as long. `result`: the run at `replicas` (of a cell of `cell_replicas` replicas for very large fleets).
    """

    feasible: bool
    replicas: int
    safe_replicas: int
    binding: Limit
    next_binding: Limit | None
    at_step_factor: Mapping[float, int]
    result: SimulationResult
    load: float  # arrivals over the rate that keeps up
    cell_replicas: int
    runs: int
    closed_form_replicas: float

    @property
    def agrees_with_closed_form(self) -> bool:
        """Within a quarter, or one replica."""
        gap = abs(self.closed_form_replicas - self.replicas)
        return gap <= max(1.0, 0.25 * self.replicas)


def find_replicas(
    costs: StepCosts,
    workload: Workload,
    slo: Slo,
    *,
    options: EngineOptions | None = None,
    router: Router = Router.TWO_CHOICES,
    seeds: tuple[int, ...] = (1, 2, 3),
    progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> CapacityAnswer:
    """Bisection over replicas with common random numbers."""
    raise NotImplementedError
