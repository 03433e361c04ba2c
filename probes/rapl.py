"""Energy of the processor packages by Intel's and AMD's counters (RAPL), as Linux shows them under powercap."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RaplMeter", "rapl_is_readable"]

ROOT = Path("/sys/class/powercap")
SAMPLE_S = 20.0  # a counter wraps at 65 kJ or more: in a minute at the earliest, with a kilowatt in one package


@dataclass(frozen=True, slots=True)
class Reading:
    """One counter. `range_uj`: where it starts over; None: not told."""

    energy_uj: int
    range_uj: int | None

    def since(self, earlier: Reading) -> int | None:
        """Microjoules, across at most one wrap; None where it cannot be known."""
        if self.energy_uj >= earlier.energy_uj:
            return self.energy_uj - earlier.energy_uj
        return None if self.range_uj is None else self.energy_uj + self.range_uj - earlier.energy_uj


class RaplMeter:
    """Joules of all packages since it was made. Reads often enough by itself to see each wrap of the counters."""

    def __init__(self, root: Path = ROOT, every_s: float = SAMPLE_S) -> None:
        self._root, self._every_s = root, every_s
        self._lock = threading.Lock()
        self._last = _readings(root)
        self._joules: float | None = 0.0 if self._last else None
        if self._last:
            threading.Thread(target=self._watch, daemon=True, name="rapl").start()

    def joules(self) -> float | None:
        """None where there are no counters, or one was lost on the way."""
        with self._lock:
            self._sample()
            return self._joules

    def _sample(self) -> None:
        if self._joules is None:
            return
        now = _readings(self._root)
        grown = [now[name].since(before) if name in now else None for name, before in self._last.items()]
        known = [uj for uj in grown if uj is not None]
        self._joules = self._joules + sum(known) / 1e6 if len(known) == len(grown) else None
        self._last = now

    def _watch(self) -> None:
        pause = threading.Event()
        while self._joules is not None:
            pause.wait(self._every_s)
            self.joules()


def rapl_is_readable(root: Path = ROOT) -> bool:
    return bool(_readings(root))


def _readings(root: Path) -> dict[str, Reading]:
    """By zone. Packages only: their parts are within them, and the zone of the whole platform holds them again."""
    found = {}
    for zone in root.glob("intel-rapl:*"):
        try:
            if zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package"):
                found[zone.name] = Reading(int((zone / "energy_uj").read_text()), _range(zone))
        except (OSError, ValueError):
            continue
    return found


def _range(zone: Path) -> int | None:
    try:
        return int((zone / "max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return None
