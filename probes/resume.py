"""Join a sustained run that was cut short with its continuation: one run, one set of percentiles."""

from __future__ import annotations

from dataclasses import replace

from probes.histogram import Histogram
from probes.result import Point, ProbeResult
from probes.spec import LoadTarget, ProbeSpec
from probes.store import Store
from probes.traffic import Account

__all__ = ["completed", "continuation", "joined", "totals"]


def continuation(spec: ProbeSpec, earlier: ProbeResult) -> ProbeSpec:
    """The spec that continues `earlier`: the rest of its time, the same traffic source."""
    target = earlier.spec.load
    if target is None:
        return spec
    _, elapsed = totals(earlier.points, target)
    before = target.elapsed_before_s + elapsed
    rest = max(1.0, target.duration_s - elapsed)
    load = replace(target, duration_s=rest, elapsed_before_s=before, resume_id=earlier.id)
    return replace(earlier.spec, load=load, timeout_s=spec.timeout_s, memory_limit_bytes=spec.memory_limit_bytes)


def completed(result: ProbeResult, store: Store) -> ProbeResult:
    """A continuation joined with what it continues; any other result as it is."""
    target = result.spec.load
    earlier = store.get(target.resume_id) if target is not None and target.resume_id else None
    return result if earlier is None else joined(earlier, result)


def joined(earlier: ProbeResult, later: ProbeResult) -> ProbeResult:
    """`later` with the points of both and figures over both."""
    target = later.spec.load
    if target is None:
        return later
    points = (*earlier.points, *later.points)
    account, seconds = totals(points, target)
    return replace(later, points=points, figures={**later.figures, **account.figures(seconds)})


def totals(points: tuple[Point, ...], target: LoadTarget) -> tuple[Account, float]:
    """(sum of all windows, their seconds)."""
    whole, seconds = Account(target), 0.0
    for point in points:
        if point.name == "tally":
            at = point.at
            seconds += at["seconds"]
            whole.merge(
                Account(
                    target,
                    finished=int(at["finished"]),
                    good=int(at["good"]),
                    failed=int(at.get("failed", 0)),
                    output_tokens=int(at["output_tokens"]),
                )
            )
        elif point.name == "histogram":
            getattr(whole, point.label).merge(Histogram(point.at))
    return whole, seconds
