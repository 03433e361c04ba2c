"""What a sustained run that was cut short still tells, and how it is joined with its continuation: one run, one set of
percentiles.
"""

from __future__ import annotations

from dataclasses import replace

from probes.histogram import Histogram
from probes.leak import drift_per_hour, leak_flags
from probes.result import Measured, Point, ProbeResult, State
from probes.spec import LoadTarget, ProbeSpec
from probes.store import Store
from probes.traffic import Account

__all__ = ["completed", "continuation", "joined", "summed", "totals"]


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
    """A continuation joined with what it continues, a run cut short summed up; any other result as it is."""
    target, result = result.spec.load, summed(result)
    earlier = store.get(target.resume_id) if target is not None and target.resume_id else None
    return result if earlier is None else joined(earlier, result)


def summed(result: ProbeResult) -> ProbeResult:
    """A sustained run that did not reach its end, with the figures of the windows that it finished. One that ran out of
    memory says after how many seconds of traffic.
    """
    target = result.spec.load
    if target is None or result.figures or result.state is State.REFUSED:
        return result
    account, seconds = totals(result.points, target)
    figures = account.figures(seconds) if seconds else {}
    memory = _memory(result.points)
    drift = drift_per_hour(memory)
    if drift is not None:
        figures["memory_drift_bytes_per_hour"] = drift
    if result.state is State.OUT_OF_MEMORY:
        figures["first_out_of_memory_s"] = Measured.of([_traffic_s(result, target)])
    flags = leak_flags(memory, account.finished) if memory else ()
    return replace(result, figures=figures, flags=tuple(dict.fromkeys((*result.flags, *flags))))


def _memory(points: tuple[Point, ...]) -> list[tuple[float, float]]:
    """(seconds of traffic, resident bytes)."""
    windows = [p for p in points if p.name == "window" and "resident_bytes" in p.values]
    return [(p.at["elapsed_s"], p.values["resident_bytes"].value) for p in windows]


def _traffic_s(result: ProbeResult, target: LoadTarget) -> float:
    """Seconds of traffic until the end; of the whole run where it ended within its first window."""
    first = next((p for p in result.points if p.name == "window"), None)
    if first is None:
        return result.duration_s
    began = first.at_s - (first.at["elapsed_s"] - target.elapsed_before_s)
    return result.duration_s - began + target.elapsed_before_s


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
