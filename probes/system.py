"""The state of the machine while a probe runs: load, other processes, steal, clocks, own memory. Linux first, psutil
elsewhere.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["CpuTimes", "LoadSampler", "own_peak_bytes", "own_resident_bytes", "reset_own_peak"]


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds since boot, of all processors together, and of this process with its children."""

    busy_s: float
    steal_s: float
    total_s: float
    own_s: float
    at_s: float


class LoadSampler:
    """What other processes and the hypervisor took between two moments."""

    def __init__(self) -> None:
        self._first = _cpu_times()

    def foreign_cores(self) -> float | None:
        """Cores that other processes used, on average."""
        now = _cpu_times()
        elapsed = now.at_s - self._first.at_s
        if elapsed <= 0:
            return None
        busy = (now.busy_s - self._first.busy_s) - (now.own_s - self._first.own_s)
        return max(0.0, busy / elapsed)

    def steal_share(self) -> float | None:
        """Share of all processor time that the hypervisor gave to others."""
        now = _cpu_times()
        total = now.total_s - self._first.total_s
        return (now.steal_s - self._first.steal_s) / total if total > 0 else None


def load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def clock_hz() -> float | None:
    """Mean clock of the processors now, where the system tells."""
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return frequency.current * 1e6 if frequency and frequency.current else None


def own_peak_bytes() -> int:
    """High-water mark of this process's own memory. Not ru_maxrss, which a child inherits from a large parent."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return int(psutil.Process().memory_info().rss)
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def own_resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return int(psutil.Process().memory_info().rss)


def reset_own_peak() -> bool:
    """Start the high-water mark afresh (Linux); False where that is not possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _cpu_times() -> CpuTimes:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    steal = getattr(times, "steal", 0.0)
    total = times.user + times.system + idle + steal + getattr(times, "nice", 0.0)
    total += getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
    own = os.times()
    used = own.user + own.system + own.children_user + own.children_system  # children count once they have ended
    return CpuTimes(total - idle - steal, steal, total, used, time.monotonic())
