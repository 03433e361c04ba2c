"""What a user needs: the scenario, frozen, with the facts that the decision tree may ask about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from advisor.catalog.frozen import FrozenDict
from advisor.catalog.records import DeviceClass

__all__ = ["DEFAULT_TASK", "FACTS", "Axis", "Hosting", "Language", "Scenario", "TaskProfile", "Text", "facts"]

SECONDS_PER_DAY = 86_400
_CPU_CLASSES = frozenset({DeviceClass.CPU})
_EDGE_CLASSES = frozenset({DeviceClass.EDGE, DeviceClass.PHONE})


class TaskProfile(StrEnum):
    """What the answers must be good at; quality is published per profile."""

    MATHEMATICS = "mathematics"
    CODE = "code"
    CHINESE_KNOWLEDGE = "chinese_knowledge"
    GENERAL_REASONING = "general_reasoning"


class Language(StrEnum):
    EN = "en"
    ZH = "zh"
    MIXED = "mixed"


class Hosting(StrEnum):
    """Where the data may go."""

    ANY = "any"
    ON_PREMISES = "on_premises"  # own hardware only: no rented device, no cloud price
    CLOUD = "cloud"  # rented only


class Axis(StrEnum):
    """What the ranking weighs."""

    QUALITY = "quality"
    COST = "cost"
    LATENCY = "latency"
    POWER = "power"


@dataclass(frozen=True, slots=True)
class Text:
    """A short text in both languages."""

    en: str
    zh: str

    def get(self, language: str) -> str:
        return self.zh if language == "zh" else self.en


DEFAULT_TASK: Mapping[TaskProfile, float] = FrozenDict({TaskProfile.GENERAL_REASONING: 1.0})


@dataclass(frozen=True, slots=True)
class Scenario:
    """One need. Exactly one of `users`, `requests_per_s`, `requests_per_day` and `concurrency` is set.

    Lengths are tokens of one request. `input_tokens` includes history and documents; `cached_input_tokens` of
    them repeat between requests (a system prompt). `reasoning_tokens`: extra output of a variant that thinks
    before it answers; 0 asks for answers without a chain of thought. `context_tokens` is the room each sequence
    must have. Limits are milliseconds at `percentile`. `growth_factor` multiplies the traffic to plan for.
    `owned`: device id -> how many there are; nothing else is then offered. `max_devices` caps one deployment.
    `task` and `weights` are normalised to sum 1; empty `weights` leaves them to the decision tree.
    """

    id: str
    name: Text
    description: Text = Text("", "")
    task: Mapping[TaskProfile, float] = field(default_factory=lambda: DEFAULT_TASK)
    language: Language = Language.MIXED
    users: int | None = None  # people active at the same time
    think_time_s: float = 30.0  # pause of a user between an answer and the next request
    requests_per_s: float | None = None
    requests_per_day: float | None = None
    peak_factor: float = 1.0  # busiest hour over the mean
    concurrency: int | None = None  # requests always in flight
    input_tokens: int = 1024
    output_tokens: int = 256
    reasoning_tokens: int = 0
    cached_input_tokens: int = 0
    context_tokens: int = 4096
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    percentile: int = 95
    quality_floor: float | None = None  # 0..100, on the scale of `quality`
    hosting: Hosting = Hosting.ANY
    budget_capital_usd: float | None = None
    budget_monthly_usd: float | None = None
    power_limit_w: float | None = None
    device_classes: tuple[DeviceClass, ...] = ()
    devices: tuple[str, ...] = ()  # only these device ids
    owned: Mapping[str, int] = field(default_factory=FrozenDict)
    this_machine: bool = False
    max_devices: int | None = None
    growth_factor: float = 1.0
    commercial_use: bool = True
    edge_share: float | None = None  # share of requests that a small model near the user may answer alone
    variants: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    weights: Mapping[Axis, float] = field(default_factory=FrozenDict)
    region: str = "WLD"  # carbon and electricity: ISO 3166 alpha-3, or WLD
    electricity_usd_per_kwh: float | None = None

    @property
    def total_output_tokens(self) -> int:
        """Tokens that a variant which thinks generates for one request."""
        return self.output_tokens + self.reasoning_tokens

    @property
    def request_tokens(self) -> int:
        return self.input_tokens + self.total_output_tokens

    @property
    def allowed_s(self) -> float:
        """Seconds that the limits allow for a whole answer; 0 where they leave it open."""
        if self.e2e_ms is not None:
            return self.e2e_ms / 1e3
        if self.ttft_ms is None or self.tpot_ms is None:
            return 0.0
        return (self.ttft_ms + self.tpot_ms * self.total_output_tokens) / 1e3

    @property
    def arrivals_per_s(self) -> float | None:
        """Requests per second at the peak after growth; None for users or requests in a closed loop."""
        if self.requests_per_s is not None:
            return self.requests_per_s * self.peak_factor * self.growth_factor
        if self.requests_per_day is not None:
            return self.requests_per_day / SECONDS_PER_DAY * self.peak_factor * self.growth_factor
        return None

    @property
    def closed_loop_users(self) -> float | None:
        """Users after growth who wait for their answer before they ask again; None for open traffic."""
        if self.users is not None:
            return self.users * self.growth_factor
        return None if self.concurrency is None else self.concurrency * self.growth_factor

    @property
    def closed_loop_pause_s(self) -> float:
        return self.think_time_s if self.users is not None else 0.0

    @property
    def is_edge(self) -> bool:
        return bool(self.device_classes) and set(self.device_classes) <= _EDGE_CLASSES

    @property
    def is_cpu_only(self) -> bool:
        return bool(self.device_classes) and set(self.device_classes) <= _CPU_CLASSES


FACTS = (
    "arrivals_per_s",
    "budget_capital_usd",
    "budget_monthly_usd",
    "closed_loop_users",
    "context_tokens",
    "e2e_ms",
    "edge_share",
    "hosting",
    "input_tokens",
    "is_cpu_only",
    "is_edge",
    "language",
    "max_devices",
    "output_tokens",
    "percentile",
    "power_limit_w",
    "quality_floor",
    "reasoning_tokens",
    "request_tokens",
    "share_chinese_knowledge",
    "share_code",
    "share_general_reasoning",
    "share_mathematics",
    "this_machine",
    "tpot_ms",
    "ttft_ms",
    "users",
    "weight_cost",
    "weight_latency",
    "weight_power",
    "weight_quality",
)


def facts(scenario: Scenario) -> Mapping[str, float | str | bool | None]:
    """The values of `FACTS` that tree conditions compare. None means not stated by the user."""
    values: dict[str, float | str | bool | None] = {}
    for name in FACTS:
        if name.startswith("share_"):
            values[name] = scenario.task.get(TaskProfile(name.removeprefix("share_")), 0.0)
        elif name.startswith("weight_"):
            values[name] = scenario.weights.get(Axis(name.removeprefix("weight_")))
        else:
            value = getattr(scenario, name)
            values[name] = str(value) if isinstance(value, StrEnum) else value
    return values
