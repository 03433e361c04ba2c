"""What a simulation says: percentiles, rates, counts, series over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Latency", "RequestOutcome", "SimulationResult", "TimeSeries", "TimeShares", "latency"]

Floats = NDArray[np.float64]
_PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds over the requests served; NaN where there are none."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float

    def as_json(self) -> dict[str, float | None]:
        values = {name: getattr(self, name) for name in ("mean", "p50", "p90", "p95", "p99")}
        return {name: None if np.isnan(v) else v for name, v in values.items()}


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """Per request, arrays of shape (requests,), in the order of the table. NaN: never happened.

    `status`: 0 served, 1 rejected at arrival (queue full), 2 gave up waiting, 3 larger than the cache.
    `tpot_s` is NaN for answers of one token.
    """

    arrival_s: Floats
    scheduled_s: Floats
    first_token_s: Floats
    last_token_s: Floats
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    replica: NDArray[np.int64]
    preemptions: NDArray[np.int64]
    status: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """Samples at equal distances: arrays of shape (samples,)."""

    time_s: Floats
    waiting: Floats  # requests
    running: Floats
    replicas: Floats  # started or starting: what is paid for
    cache_use: Floats  # 0..1


@dataclass(frozen=True, slots=True)
class TimeShares:
    """Shares of the time in which replicas were stepping."""

    prompts: float  # added to steps by prompts
    cache: float  # the head of the queue waited for cache
    seats: float  # … for a free sequence
    budget: float  # … for tokens in the batch


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """One simulated run. `ttft_is_quotable` is False above the load where a TTFT percentile means nothing."""

    requests: int
    served: int
    rejected: int
    timed_out: int
    preemptions: int
    ttft_ms: Latency
    tpot_ms: Latency
    e2e_ms: Latency
    makespan_s: float
    output_tok_s: float
    input_tok_s: float
    goodput_req_s: float  # requests per second that met their limits
    in_slo_share: float  # of all requests; 1.0 without limits
    utilisation: float  # share of the time that replicas were stepping
    mean_running: float  # sequences per replica while stepping
    peak_cache_use: float
    steps: int
    replica_hours: float
    cpu_s: float
    time_shares: TimeShares
    outcome: RequestOutcome
    by_class: Mapping[str, Mapping[str, Latency]] = field(default_factory=dict)
    series: TimeSeries | None = None
    ttft_is_quotable: bool = True

    @property
    def requests_per_cpu_s(self) -> float:
        return self.requests / self.cpu_s if self.cpu_s > 0 else float("inf")


def latency(seconds: Floats) -> Latency:
    """Milliseconds of the values that are not NaN."""
    values = seconds[~np.isnan(seconds)] * 1e3
    if not len(values):
        return Latency(*([float("nan")] * 5))
    p50, p90, p95, p99 = (float(p) for p in np.percentile(values, _PERCENTILES))
    return Latency(float(values.mean()), p50, p90, p95, p99)
