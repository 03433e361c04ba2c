"""Which earlier runs a prediction rests on, and how far those were disturbed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from probes.disturbance import disturbance_of, is_disturbed
from probes.result import Lessons, ProbeResult
from probes.spec import Kind, ProbeSpec

__all__ = ["lessons_of"]

_TEACHING = (Kind.FULL, Kind.SLICE, Kind.SWEEP)


def lessons_of(spec: ProbeSpec, history: Sequence[ProbeResult]) -> Lessons | None:
    """Of the runs of the same model and format on this engine and device, else of the same format; None without any.

    `history`: of this machine.
    """
    alike = [
        r for r in history
        if r.is_valid and r.spec.kind in _TEACHING and r.spec.engine is spec.engine and r.spec.device == spec.device
        and r.spec.format_id == spec.format_id
    ]  # fmt: skip
    runs = [r for r in alike if r.spec.variant_id == spec.variant_id] or alike
    if not runs:
        return None
    disturbed = [r for r in runs if is_disturbed(r)]
    return Lessons(
        runs=len(runs),
        disturbed=len(disturbed),
        foreign_cores=_middle([r.conditions.foreign_cores or 0.0 for r in disturbed]),
        memory_moved=_middle([_moved(r) for r in disturbed]),
        slowed_by=math.exp(_middle([disturbance_of(r).width for r in disturbed])),
    )


def _middle(values: Sequence[float]) -> float:
    return median(values) if values else 0.0


def _moved(result: ProbeResult) -> float:
    """Share of the best reading by which the slowest lay below it."""
    seen = result.bandwidth_bytes_per_s
    return 1 - seen.low / seen.high if seen is not None and seen.high > 0 else 0.0
