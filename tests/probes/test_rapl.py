"""Energy counters, in a folder made as Linux makes it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from probes.kinds.session import Session
from probes.rapl import RaplMeter, rapl_is_readable

RANGE_UJ = 65_532_610_987  # of a counter of 32 bits in steps of 15.3 microjoules


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, a part of the first, and the platform that holds both."""
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 500_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 2_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    (tmp_path / "dtpm").mkdir()
    return tmp_path


def zone(root: Path, folder: str, name: str, energy_uj: int) -> None:
    (root / folder).mkdir()
    (root / folder / "name").write_text(f"{name}\n")
    (root / folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    use(root, folder, energy_uj)


def use(root: Path, folder: str, energy_uj: int) -> None:
    """At once: the meter may read at any moment."""
    fresh = root / folder / "fresh"
    fresh.write_text(f"{energy_uj}\n")
    fresh.replace(root / folder / "energy_uj")


def test_packages_are_added_up_without_their_parts_and_the_platform(powercap):
    meter = RaplMeter(powercap, every_s=1e6)
    assert meter.joules() == 0
    use(powercap, "intel-rapl:0", 4_000_000)
    use(powercap, "intel-rapl:0:0", 3_000_000)
    use(powercap, "intel-rapl:1", 2_500_000)
    use(powercap, "intel-rapl:2", 99_000_000)
    assert meter.joules() == pytest.approx(3.5)


def test_a_counter_that_starts_over_goes_on(powercap):
    """Twice: from 65,000 J over 65,532.6 J to 100 J are 632.6 J."""
    meter, used = RaplMeter(powercap, every_s=1e6), 0.0
    for _ in range(2):
        use(powercap, "intel-rapl:0", 65_000_000_000)
        meter.joules()
        use(powercap, "intel-rapl:0", 100_000_000)
        used = meter.joules()
    assert used == pytest.approx((65_000 - 1) + 632.611 + (65_000 - 100) + 632.611, abs=0.01)


def test_it_looks_often_enough_by_itself(powercap):
    """Nobody asks between two wraps."""
    meter = RaplMeter(powercap, every_s=0.001)
    for energy_uj in (65_000_000_000, 1_000_000, 65_000_000_000, 1_000_000):
        use(powercap, "intel-rapl:0", energy_uj)
        end = time.monotonic() + 30
        while meter._last["intel-rapl:0"].energy_uj != energy_uj:
            assert time.monotonic() < end
            threading.Event().wait(0.001)
    assert meter.joules() == pytest.approx(2 * RANGE_UJ / 1e6)


@pytest.mark.parametrize("lost", ["energy_uj", "max_energy_range_uj"])
def test_what_cannot_be_known_is_not_invented(powercap, lost):
    """A counter that goes away, and one that starts over at an unknown number."""
    meter = RaplMeter(powercap, every_s=1e6)
    use(powercap, "intel-rapl:1", 1_000_000)
    (powercap / "intel-rapl:1" / lost).unlink()
    assert meter.joules() is None
    use(powercap, "intel-rapl:1", 3_000_000)
    assert meter.joules() is None


def test_without_counters_energy_is_not_measurable(tmp_path, powercap):
    for folder in ("intel-rapl:0", "intel-rapl:1"):
        (powercap / folder / "energy_uj").unlink()
    assert not rapl_is_readable(powercap)
    assert RaplMeter(powercap).joules() is None
    assert RaplMeter(tmp_path / "nowhere").joules() is None


def test_a_session_counts_across_the_wrap(powercap):
    session = Session.__new__(Session)
    session.card, session._rapl = None, RaplMeter(powercap, every_s=1e6)
    before = session.energy()
    use(powercap, "intel-rapl:0", 0)
    assert before.source == "rapl"
    assert session.joules_since(before) == pytest.approx(RANGE_UJ / 1e6 - 1)
