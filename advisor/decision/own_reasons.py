"""What own measurements say about the figures of a plan: how they are known, and how far the first prediction was."""

from __future__ import annotations

from advisor.catalog import Catalog
from advisor.catalog.calibration_records import LocalCalibration
from advisor.decision.result import Reason
from advisor.sizing.own_measurements import calibration_of
from advisor.sizing.plan import Plan

__all__ = ["own_reasons"]


def own_reasons(plan: Plan, catalog: Catalog) -> tuple[Reason, ...]:
    """Empty where the public calibration alone speaks."""
    found = calibration_of(plan, catalog.calibrations)
    if found is None:
        return ()
    kind = "own_measured" if found.measured else "own_calibrated"
    values: dict[str, float | str] = {"runs": found.runs, "newest": found.newest, "format": plan.format.name}
    return (Reason(kind, values), *_first(found))


def _first(found: LocalCalibration) -> tuple[Reason, ...]:
    """Of the decode rate; a rate foreseen above what was measured was too high."""
    off = found.first_decode_off
    if off is None:
        return ()
    foreseen = 1 / off
    percent = round(100 * abs(foreseen - 1))
    if percent == 0:
        return (Reason("own_first_exact", {}),)
    return (Reason("own_first_high" if foreseen > 1 else "own_first_low", {"percent": percent}),)
