"""Answers of the long calculations, small enough to be kept: figures instead of single requests."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.catalog.quantity import Basis, Quantity
from advisor.serving.limits import Limit
from advisor.serving.result import Latency

__all__ = [
    "CapacityReport",
    "CheapestReport",
    "CheapestRow",
    "CurveRow",
    "EventReport",
    "EventSide",
    "FleetReport",
    "FleetRow",
    "PolicyReport",
    "PolicyRow",
    "Series",
    "SustainedFigure",
    "SustainedReport",
    "Window",
]


@dataclass(frozen=True, slots=True)
class CurveRow:
    """Latency in ms at the SLO's percentile, with this share of the rate that keeps up."""

    load: float
    rate_per_s: float
    ttft_ms: float
    tpot_ms: float
    e2e_ms: float
    worst: float  # ratio to the nearest limit


@dataclass(frozen=True, slots=True)
class Series:
    """Samples at equal distances; requests per replica, except `replicas`."""

    time_s: tuple[float, ...]
    waiting: tuple[float, ...]
    running: tuple[float, ...]
    replicas: tuple[float, ...]
    cache_use: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """`latencies`: ttft, tpot, e2e of the run with `replicas`. `curve` and `series` are empty where nothing can run."""

    feasible: bool
    replicas: int
    safe_replicas: int
    binding: Limit
    next_binding: Limit | None
    floor_ms: tuple[float, float, float]  # ttft, tpot, e2e of an idle replica at the percentile
    floor_metric: str
    floor_worst: float
    keeps_up_req_s: float
    closed_form_replicas: float
    agrees: bool
    at_step_factor: tuple[tuple[float, int], ...]
    load: float
    latencies: tuple[tuple[str, Latency], ...]
    ttft_is_quotable: bool
    in_slo_share: float
    preemptions: int
    mean_running: float
    peak_cache_use: float
    simulated_replicas: int
    simulated_requests: int
    runs: int
    curve: tuple[CurveRow, ...]
    series: Series | None


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """`target` None: all replicas all the time. `paid_share`: replica hours over those of the static fleet."""

    target: float | None
    replica_hours: float
    paid_share: float
    in_slo_share: float
    ttft_p99_ms: float
    series: Series | None


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """`replicas` of the `fleet` were simulated, with their share of the traffic, over `hours`: `shortened` times the
    period that was asked for."""

    fleet: int
    replicas: int
    requests: int
    hours: float
    shortened: float
    rows: tuple[PolicyRow, ...]


@dataclass(frozen=True, slots=True)
class FleetRow:
    """One class or one pool. `in_flight`: requests waiting or running, on average."""

    name: str
    requests: int
    share: float
    latencies: tuple[tuple[str, Latency], ...]
    in_slo_share: float
    output_tok_s: float
    in_flight: float
    replicas: int = 0


@dataclass(frozen=True, slots=True)
class FleetReport:
    """`latencies`: ttft, tpot, e2e as the user sees them, second answers included. `lost`: the same traffic without
    the replicas that were lost. `stranded`: classes that then have no replica left, in which case `lost` is None."""

    classes: tuple[FleetRow, ...]
    pools: tuple[FleetRow, ...]
    latencies: tuple[tuple[str, Latency], ...]
    in_slo_share: float
    preemptions: int
    unserved: int
    requests: int
    lost: FleetReport | None = None
    stranded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventSide:
    """The requests that arrived while the event lasted, in the run with it or in the one without."""

    requests: int
    in_slo_share: float
    latencies: tuple[tuple[str, Latency], ...]
    most_waiting: float  # per replica


@dataclass(frozen=True, slots=True)
class EventReport:
    """`start_s`, `end_s`: of the event. `recovered_s`: after its end, until the queue is as before; None: not within
    the run. `retried`: requests that a failed replica worked on."""

    replicas: int  # simulated
    requests: int
    start_s: float
    end_s: float
    without: EventSide
    during: EventSide
    retried: int
    recovered_s: float | None
    series: Series | None
    calm: Series | None


@dataclass(frozen=True, slots=True)
class CheapestRow:
    """One simulated plan; costs are for `safe_replicas`. Not feasible: `binding` says why."""

    plan_id: str
    title: str
    feasible: bool
    devices: int  # of the safe fleet
    device_name: str
    ranked_replicas: int
    replicas: int
    safe_replicas: int
    if_slower: int  # replicas when every step takes a tenth longer; 0: none
    agrees: bool
    binding: Limit
    next_binding: Limit | None
    ttft_ms: float | None  # at the percentile; None above the load where it means something
    tpot_ms: float
    e2e_ms: float
    monthly_usd: Quantity | None
    capital_usd: Quantity | None
    power_w: Quantity | None
    quality: Quantity | None
    tpot_basis: Quantity


@dataclass(frozen=True, slots=True)
class CheapestReport:
    """Cheapest first, those that hold the traffic before those that do not."""

    rows: tuple[CheapestRow, ...]
    percentile: float


@dataclass(frozen=True, slots=True)
class Window:
    """A few seconds of a sustained run, measured and simulated. Requests since the start, `simulated_range` at the slow
    and the fast end of the interval. None: nothing ended in it."""

    end_s: float
    arrived: int
    measured_finished: int
    simulated_finished: int
    simulated_range: tuple[int, int]
    measured_tok_s: float
    simulated_tok_s: float
    measured_tpot_ms: float | None
    simulated_tpot_ms: float | None


@dataclass(frozen=True, slots=True)
class SustainedFigure:
    """`name` with its unit. `simulated`: from the fast to the slow end of the step model's 90 % interval."""

    name: str
    measured: Quantity
    simulated: Quantity

    @property
    def unit(self) -> str:
        return next((unit for end, unit in (("_ms", "ms"), ("_tok_s", "tok/s")) if self.name.endswith(end)), "")

    @property
    def is_inside(self) -> bool:
        """Whether the interval of the simulation holds the measured value."""
        return self.simulated.holds(self.measured.value)


@dataclass(frozen=True, slots=True)
class SustainedReport:
    """`given_up_s`: when either leaves the rest unanswered. `derating`: (seconds, step time over that at the start) by
    what the measured steps took beyond the simulated ones. `basis`: of the step model."""

    result_id: str
    title: str
    requests: int
    rate_per_s: float
    duration_s: float
    given_up_s: float
    windows: tuple[Window, ...]
    figures: tuple[SustainedFigure, ...]
    derating: tuple[tuple[float, float], ...]
    basis: Basis

    @property
    def unfinished(self) -> tuple[int, int]:
        """Requests left at the end, measured and simulated."""
        last = self.windows[-1] if self.windows else None
        if last is None:
            return self.requests, self.requests
        return self.requests - last.measured_finished, self.requests - last.simulated_finished
