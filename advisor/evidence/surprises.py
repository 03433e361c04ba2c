"""Measured figures outside what was foreseen, each with what the run itself says about the reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

from advisor.catalog.quantity import Basis, Quantity
from probes.disturbance import disturbance_of
from probes.result import ForeseenPoint, Measured, Point, ProbeResult

__all__ = ["PointCheck", "Surprise", "measured_with_duration", "point_checks", "surprises"]

_BUSY = ("foreign_load", "steal", "swapping", "throttled")
_SPEED = ("prefill_tok_s", "ttft_ms", "decode_tok_s")
_TAUGHT = "taught_by_disturbed"
_SLOW_KERNEL = {"decode_tok_s": "slow_decode_kernel", "prefill_tok_s": "slow_prefill_kernel"}
OTHER_BANDWIDTH = 1.1


@dataclass(frozen=True, slots=True)
class Surprise:
    """`ratio`: measured over foreseen. `reasons`: keys of texts, at least one. `at`, `label`: the point of a sweep.
    `figures`: that the texts of the reasons name.
    """

    name: str
    ratio: float
    reasons: tuple[str, ...]
    at: Mapping[str, float] = field(default_factory=dict)
    label: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PointCheck:
    """A measured point beside what was foreseen of it, by figure; `surprises`: those outside."""

    point: Point
    pairs: Mapping[str, tuple[Measured, Quantity]]
    surprises: tuple[Surprise, ...]


def measured_with_duration(result: ProbeResult) -> dict[str, Measured]:
    """The headline figures, and how long all of it took where the run came to its end and that was foreseen."""
    measured = result.measured()
    if measured and result.is_valid and result.predicted.duration_s is not None:
        measured["duration_s"] = Measured.of([result.duration_s])
    return measured


def surprises(result: ProbeResult) -> tuple[Surprise, ...]:
    """None where everything measured lies inside its interval, or nothing was foreseen."""
    foreseen = result.predicted.items()
    outside = {
        name: (seen, foreseen[name])
        for name, seen in measured_with_duration(result).items()
        if name in foreseen and not foreseen[name].holds(seen.value)
    }
    if "prefill_tok_s" in outside:
        outside.pop("ttft_ms", None)  # the same seconds
    outside.pop("mbu", None)  # follows from rate and bandwidth
    if any(name in outside for name in (*_SPEED, "load_s")):
        outside.pop("duration_s", None)  # follows from these
    if result.predicted.points:  # of which the first has the headline figures
        outside = {name: pair for name, pair in outside.items() if name not in _SPEED}
    headline = tuple(
        _surprise(name, seen.value / said.value, _reasons(name, seen, said, result), result)
        for name, (seen, said) in outside.items()
        if said.value > 0
    )
    return headline + tuple(found for check in point_checks(result) for found in check.surprises)


def point_checks(result: ProbeResult) -> tuple[PointCheck, ...]:
    """Of every point that was foreseen and measured, in the order of measurement. Empty for other kinds than sweeps."""
    foreseen = result.predicted.points
    found = []
    for point in result.points:
        said = next((f for f in foreseen if _is_same(f, point, result)), None)
        if said is None:
            continue
        pairs = {name: (point.values[name], q) for name, q in said.values.items() if name in point.values}
        found.append(PointCheck(point, pairs, tuple(_of_point(point, pairs, result))))
    return tuple(found)


def _is_same(said: ForeseenPoint, point: Point, result: ProbeResult) -> bool:
    label = point.label or result.spec.format_id
    return said.name == point.name and dict(said.at) == dict(point.at) and said.label == label


def _of_point(
    point: Point, pairs: Mapping[str, tuple[Measured, Quantity]], result: ProbeResult
) -> Iterator[Surprise]:
    """Seconds and rate of a prompt are one finding."""
    outside = {name: (seen, said) for name, (seen, said) in pairs.items() if not said.holds(seen.value)}
    if "prefill_tok_s" in outside:
        outside.pop("ttft_ms", None)
    for name, (seen, said) in outside.items():
        if said.value <= 0:
            continue
        reasons = dict.fromkeys(_reasons(name, seen, said, result))
        if "slow_kernel" in point.values and seen.value < said.low:
            reasons["slow_kernel"] = None
        yield _surprise(name, seen.value / said.value, reasons, result, point)


def _surprise(
    name: str, ratio: float, reasons: Iterable[str], result: ProbeResult, point: Point | None = None
) -> Surprise:
    found, lessons = tuple(reasons) or ("unknown",), result.predicted.lessons
    at, label = (point.at, point.label) if point else ({}, "")
    figures = {name: float(value) for name, value in asdict(lessons).items()} if lessons and _TAUGHT in found else {}
    return Surprise(name, ratio, found, at, label, figures)


def _reasons(name: str, seen: Measured, said: Quantity, result: ProbeResult) -> Iterator[str]:
    warnings = result.conditions.warnings
    if name in _SPEED and said.basis in (Basis.ESTIMATED, Basis.EXTRAPOLATED):
        yield "never_measured"
    if name in _SPEED and said.basis is Basis.CALIBRATED:
        yield "carried_over"
    if _SLOW_KERNEL.get(name) in result.flags and seen.value < said.low:
        yield "slow_kernel"
    if any(warning in _BUSY for warning in warnings):
        yield "busy"
    if name != "peak_bytes" and "unsteady_memory" in warnings:
        yield "unsteady"
    if name == "decode_tok_s" and _other_bandwidth(seen.value / said.value, result):
        yield "bandwidth"
    if name in _SPEED and _is_faster(name, seen, said) and _taught_by_disturbed(said, result):
        yield _TAUGHT
    if name == "load_s":
        yield "first_writes"
    if name == "duration_s" and "saturated" in result.flags and seen.value > said.high:
        yield "drained"


def _is_faster(name: str, seen: Measured, said: Quantity) -> bool:
    return seen.value < said.low if name == "ttft_ms" else seen.value > said.high


def _taught_by_disturbed(said: Quantity, result: ProbeResult) -> bool:
    """Others only ever slow a run: what was learnt beside them is too slow for a machine that is quiet again."""
    lessons = result.predicted.lessons
    if lessons is None or not lessons.disturbed or said.basis not in (Basis.MEASURED, Basis.CALIBRATED):
        return False
    return math.exp(disturbance_of(result).width) < lessons.slowed_by


def _other_bandwidth(rate_ratio: float, result: ProbeResult) -> bool:
    """Memory itself was read faster than foreseen where decoding was, or slower where it was slower."""
    seen, said = result.bandwidth_bytes_per_s, result.predicted.bandwidth_bytes_per_s
    if seen is None or said is None or said.value <= 0:
        return False
    ratio = seen.value / said.value
    return ratio > OTHER_BANDWIDTH if rate_ratio > 1 else ratio < 1 / OTHER_BANDWIDTH
