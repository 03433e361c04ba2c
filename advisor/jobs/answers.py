"""Answers of the long calculations, small enough to be kept: figures instead of single requests."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.catalog.quantity import Quantity
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
    """`replicas` of the simulated cell, over `hours`."""

    replicas: int
    requests: int
    hours: float
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
    """A few seconds of a sustained run, measured and simulated. None: nothing ended in it."""

    end_s: float
    measured_tok_s: float
    simulated_tok_s: float
    measured_tpot_ms: float | None
    simulated_tpot_ms: float | None


@dataclass(frozen=True, slots=True)
class SustainedReport:
    """`figures`: (name with unit, measured, simulated). `derating`: (seconds, step time over that at the start) by
    what the measured steps took beyond the simulated ones. `calibrated`: the step model knew this machine."""

    title: str
    requests: int
    windows: tuple[Window, ...]
    figures: tuple[tuple[str, float, float], ...]
    derating: tuple[tuple[float, float], ...]
    calibrated: bool
