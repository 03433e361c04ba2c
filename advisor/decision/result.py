"""The answer to a scenario: ranked candidates, picks, rejections with their binding constraint, near misses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from advisor.catalog.quantity import Quantity
from advisor.catalog.records import Variant
from advisor.decision.scenario import Axis, Scenario, Text
from advisor.sizing.plan import Load, Plan, Sizing

__all__ = [
    "Candidate",
    "Constraint",
    "Counts",
    "FinalistCheck",
    "Leaf",
    "Mix",
    "MixKind",
    "Money",
    "NearMiss",
    "Picks",
    "Pool",
    "Reason",
    "Recommendation",
    "Rejection",
    "TreeStep",
]


class Constraint(StrEnum):
    """What ruled a plan out; the order is the order in which the search asks."""

    ENGINE = "engine"  # no engine runs this format on this device
    MEMORY = "memory"
    CONTEXT = "context"  # longer than the model's published context
    QUALITY = "quality"
    LOAD = "load"  # the limits hold for one request, but for no number of replicas at this traffic
    TTFT = "ttft"
    TPOT = "tpot"
    E2E = "e2e"
    DEVICES = "devices"  # more devices than owned, allowed or sold in one fleet
    HOSTING = "hosting"  # cannot be bought (on premises) or cannot be rented (cloud)
    CAPITAL = "capital"
    MONTHLY = "monthly"
    POWER = "power"
    LICENCE = "licence"


@dataclass(frozen=True, slots=True)
class Reason:
    """A sentence: text key `decision.reason.<key>` with `values`. Render with `advisor.decision.explain.sentence`."""

    key: str
    values: Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class TreeStep:
    """One node passed: the question, the values that decided, the branch taken, and what would flip it."""

    node_id: str
    question: Text
    decided_by: Mapping[str, float | str | bool | None]
    branch: Text
    counterfactuals: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where the path ends: which families and formats to look at first, and how to weigh them."""

    id: str
    name: Text
    reason: Text
    families: tuple[str, ...]
    formats: tuple[str, ...]  # format families
    weights: Mapping[Axis, float]
    mix: MixKind | None = None


@dataclass(frozen=True, slots=True)
class Money:
    """What a deployment costs. None: no dated price is known. Dates say how old the prices are."""

    capital_usd: Quantity | None
    rent_monthly_usd: Quantity | None  # cloud, all hours of the month
    own_monthly_usd: Quantity | None  # capital spread over its life plus electricity
    electricity_monthly_usd: Quantity | None
    per_million_tokens_usd: Quantity | None  # of the cheaper allowed way, at the scenario's traffic
    prices_from: str = ""
    prices_to: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan that meets every hard limit. `load` is the load on one of `plan.replicas` replicas at the peak.

    `ttft_ms`, `tpot_ms` and `e2e_ms` are at the scenario's percentile under that load; the sizing's own figures
    are means. `ttft_ms` is the time to the first token that was asked for: it includes a chain of thought that the
    scenario did not ask for. `score` 0..1, higher is better, on the fixed scales of
    `advisor.decision.rank`.
    """

    plan: Plan
    load: Load
    sizing: Sizing
    replicas: int
    quality: Quantity | None
    ttft_ms: Quantity
    tpot_ms: Quantity
    e2e_ms: Quantity
    utilisation: float  # share of a replica's capacity in use at the peak
    fleet_output_tok_s: Quantity
    money: Money
    monthly_usd: Quantity | None  # the cheaper allowed way to pay
    power_w: Quantity | None  # at the wall, peak load
    carbon_kg_month: Quantity | None
    score: float
    axis_scores: Mapping[Axis, float]
    on_pareto_front: bool
    in_leaf: bool  # False: outside the families or formats of the tree's leaf
    limits_hold: float = 1.0  # probability that every latency limit is kept, by the interval of the step model
    reasons: tuple[Reason, ...] = ()

    @property
    def capital_usd(self) -> Quantity | None:
        return self.money.capital_usd

    @property
    def per_million_tokens_usd(self) -> Quantity | None:
        return self.money.per_million_tokens_usd


@dataclass(frozen=True, slots=True)
class Rejection:
    """The best plan of one variant on one device class that was ruled out, its binding constraint and the figures."""

    plan: Plan
    load: Load
    constraint: Constraint
    reason: Reason
    remedies: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A plan that fails one limit only, and the single relaxation that would admit it."""

    rejection: Rejection
    relaxation: Reason
    excess: float  # wanted over available, 1.2 = 20 % beyond the limit


class MixKind(StrEnum):
    TIERS = "tiers"  # distilled replicas for easy requests, a larger model for the rest
    EDGE_CENTRAL = "edge_central"  # small model near the user, a central model for what it passes on


@dataclass(frozen=True, slots=True)
class Pool:
    """One part of a mixed fleet: `share` of the requests goes to `candidate`."""

    role: str  # text key `decision.pool.<role>`
    share: float
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Mix:
    kind: MixKind
    pools: tuple[Pool, ...]
    quality: Quantity | None
    monthly_usd: Quantity | None
    power_w: Quantity | None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many plans were looked at and what became of them."""

    enumerated: int
    fitting: int
    accepted: int
    on_pareto_front: int
    rejected: Mapping[Constraint, int]


@dataclass(frozen=True, slots=True)
class Picks:
    best: Candidate | None = None
    cheapest: Candidate | None = None
    fastest: Candidate | None = None
    smallest: Candidate | None = None


@dataclass(frozen=True, slots=True)
class FinalistCheck:
    """A pick under simulation. `replicas` hold the peak with most seeds, `safe_replicas` with every seed; 0: none
    does, or the plan was not run. `replicas_if_slower`: when every step takes a tenth longer (0: none).

    Times are at the scenario's percentile with `replicas`; `ttft_ms` (the first token of all) is None above the load
    where it means something.
    """

    plan_id: str
    ranked_replicas: int  # what the ranking says
    replicas: int = 0
    safe_replicas: int = 0
    replicas_if_slower: int = 0
    agrees: bool = False  # within a quarter, or one replica
    load: float | None = None  # of the rate that keeps up
    binding: str = ""  # text key `serving.limit.<binding>`
    ttft_ms: Quantity | None = None
    tpot_ms: Quantity | None = None
    e2e_ms: Quantity | None = None
    picks: tuple[str, ...] = ()  # names under which the plan was picked
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Everything that the results page, the report and the command show. No candidates: nothing fits."""

    scenario: Scenario
    path: tuple[TreeStep, ...]
    leaf: Leaf
    candidates: tuple[Candidate, ...]  # ranked, best first; the whole Pareto front plus the best of the rest
    picks: Picks
    rejected: tuple[Rejection, ...]
    nearest_misses: tuple[NearMiss, ...]
    mixes: tuple[Mix, ...]
    counts: Counts
    unrated_variants: tuple[Variant, ...]  # no published quality for this task
    catalog_date: str
    version: str
    checks: tuple[FinalistCheck, ...] = ()  # of the picks, by simulation; empty until `check_finalists`

    @property
    def nothing_fits(self) -> bool:
        return not self.candidates
