"""By how much others may have slowed a run: from what the run itself counted, nothing assumed where it counted nothing.

Three bounds, each the 90 % half-width in log units of seconds, independent of each other:

- Processor time that others used. A step waits for its slowest thread, and a scheduler leaves a thread at least half
  of a core that it shares, so at worst all of `foreign_cores` fell on one core: -log(1 - min(foreign, 1/2)). Cores that
  the run left free take others first. Time stolen by the hypervisor is gone from every core: -log(1 - steal).
- Memory: half of the range that its readings spanned during the run. The run is set against their median.
- A processor below its highest clock: the ratio. Where it throttled or swapped without a figure, a factor of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from probes.result import ProbeResult

__all__ = ["DISTURBING", "Disturbance", "disturbance_of", "is_disturbed"]

DISTURBING = ("foreign_load", "steal", "unsteady_memory", "swapping", "throttled")
SHARED_CORE = 0.5
MOST = math.log(2.0)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Half-widths in log units of seconds, by cause."""

    cores: float
    memory: float
    clock: float

    @property
    def width(self) -> float:
        return math.hypot(self.cores, self.memory, self.clock)


def disturbance_of(result: ProbeResult) -> Disturbance:
    """Of one run; all zero where nothing was counted."""
    return Disturbance(_cores(result), _memory(result), _clock(result))


def is_disturbed(result: ProbeResult) -> bool:
    """The run itself warned that it was not alone."""
    return "noisy" in result.flags or any(warning in DISTURBING for warning in result.conditions.warnings)


def _cores(result: ProbeResult) -> float:
    """An accelerator needs one core to be fed."""
    seen = result.conditions
    cores = result.place.host.cores if result.place else 1
    used = 1 if result.spec.device != "cpu" else min(result.spec.threads or cores, cores)
    foreign = max(0.0, (seen.foreign_cores or 0.0) - (cores - used))
    steal = min(max(seen.steal_share or 0.0, 0.0), SHARED_CORE)
    return -math.log1p(-min(foreign, SHARED_CORE)) - math.log1p(-steal)


def _memory(result: ProbeResult) -> float:
    seen = result.bandwidth_bytes_per_s
    return math.log(seen.high / seen.low) / 2 if seen is not None and 0 < seen.low < seen.high else 0.0


def _clock(result: ProbeResult) -> float:
    warnings, gauges = result.conditions.warnings, result.conditions.gpu
    if "swapping" in warnings:
        return MOST
    if "throttled" not in warnings:
        return 0.0
    now, most = gauges.get("sm_clock_hz"), gauges.get("max_sm_clock_hz")
    if isinstance(now, float) and isinstance(most, float) and 0 < now < most:
        return min(math.log(most / now), MOST)
    return MOST
