"""What goes between the app and the process of a long calculation: requests in, progress and answers out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from advisor.catalog.errors import FathomError
from advisor.decision.scenario import Scenario
from advisor.serving.autoscale import Metric
from advisor.serving.engines import PRESETS, EngineOptions
from advisor.serving.fleet import Router
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import Slo, Workload

__all__ = [
    "EVENT_CELL",
    "CapacityRequest",
    "CheapestRequest",
    "ChecksRequest",
    "EventKind",
    "EventRequest",
    "FleetMode",
    "FleetRequest",
    "PolicyRequest",
    "PoolRequest",
    "Request",
    "SustainedRequest",
    "Told",
]


EVENT_CELL = 64  # replicas of a larger fleet on which an event is simulated, with their share of the traffic


@dataclass(frozen=True, slots=True)
class CapacityRequest:
    """Fewest replicas of one plan for this traffic. `shares`: parts of a decode step by resource."""

    costs: StepCosts
    workload: Workload
    slo: Slo
    options: EngineOptions = PRESETS["vllm"]
    router: Router = Router.TWO_CHOICES
    shares: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """A fleet of up to `replicas` under autoscaling policies, over `workload`'s shape.

    `targets`: requests per replica, in flight or waiting, that a policy aims at; `startup_s`: from the decision to
    scale up until the new replica answers, which is mostly the time to load the model.
    """

    costs: StepCosts
    workload: Workload
    slo: Slo
    replicas: int
    targets: tuple[float, ...]
    startup_s: float
    options: EngineOptions = PRESETS["vllm"]
    router: Router = Router.TWO_CHOICES
    metric: Metric = Metric.IN_FLIGHT


@dataclass(frozen=True, slots=True)
class PoolRequest:
    name: str
    costs: StepCosts
    replicas: int
    options: EngineOptions = PRESETS["vllm"]


class EventKind(StrEnum):
    """What may happen to a fleet that runs."""

    FAILURE = "failure"  # replicas are gone at once; what they worked on starts over elsewhere
    UPDATE = "update"  # one batch of replicas after another is drained and restarted
    DERATING = "derating"  # clocks fall


@dataclass(frozen=True, slots=True)
class EventRequest:
    """A fleet of `replicas` at the peak of its traffic, with and without an event.

    `count`: replicas that fail, or that are updated at once. `recovery_s`: until a failed replica works again, or the
    model's load time in an update, in which running requests get `drain_s` to end. `derating`: (seconds, step time
    over that of a cool device), as a sustained probe measured them.
    """

    costs: StepCosts
    workload: Workload
    slo: Slo
    replicas: int
    kind: EventKind
    count: int = 1
    recovery_s: float = 120.0
    drain_s: float = 30.0
    derating: tuple[tuple[float, float], ...] = ()
    options: EngineOptions = PRESETS["vllm"]
    router: Router = Router.TWO_CHOICES


@dataclass(frozen=True, slots=True)
class CheapestRequest:
    """The cheapest plan for the scenario of a link token, among the `finalists` cheapest of the ranking. `revision`: of
    the store of measurements, so that an answer is not kept beyond a new one."""

    token: str
    finalists: int
    revision: str = ""


@dataclass(frozen=True, slots=True)
class SustainedRequest:
    """A stored sustained measurement of this machine against the simulation of the same requests. `revision`: of the
    store, since what was measured later changes the step model."""

    result_id: str
    revision: str = ""


class FleetMode(StrEnum):
    """How requests find their pool."""

    ANY = "any"  # every pool may serve every request
    BY_CLASS = "by_class"
    CASCADE = "cascade"  # the last pool is asked again for a share of the answers
    EDGE = "edge"  # the last pool answers from summaries that the others write
    DISAGGREGATED = "disaggregated"  # the others read the prompts, the last pool writes the answers


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """A mixed fleet. `class_pools[c]`: pools that may serve class c (BY_CLASS). `passed_share`: of the requests, to
    the last pool, in CASCADE and EDGE; `summary_tokens` belongs to EDGE, `link_s` to EDGE and DISAGGREGATED, in which
    the cache of a prompt takes `link_s_per_token` for each token. `lost`: replicas of each pool
    that are down in a second run; empty: there is no second run."""

    pools: tuple[PoolRequest, ...]
    workload: Workload
    slo: Slo
    mode: FleetMode = FleetMode.ANY
    class_pools: tuple[tuple[int, ...], ...] = ()
    passed_share: float = 0.0
    summary_tokens: int = 256
    link_s: float = 0.0
    link_s_per_token: float = 0.0
    router: Router = Router.TWO_CHOICES
    lost: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ChecksRequest:
    """The picks of a scenario by simulation, or one other plan of its answer. `revision`: of the own measurements."""

    scenario: Scenario
    plan_id: str = ""
    revision: str = ""


Request = (
    CapacityRequest
    | PolicyRequest
    | FleetRequest
    | EventRequest
    | CheapestRequest
    | SustainedRequest
    | ChecksRequest
)


@dataclass(frozen=True, slots=True)
class Told:
    """One message of the worker: progress, or the answer, or a problem."""

    share: float = 0.0
    phase: str = ""
    number: int = 0
    answer: Any = None
    problem: FathomError | None = None

    @property
    def is_last(self) -> bool:
        return self.answer is not None or self.problem is not None
