"""Figures of load, as data: latency against load, queues over time, autoscaling policies. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from advisor.jobs.answers import (
    CapacityReport,
    CurveRow,
    EventReport,
    PolicyReport,
    Series,
    SustainedReport,
    Window,
)
from advisor.report.figures import Limit, Line, Lines, Point, Scatter
from advisor.report.palette import Tone

__all__ = [
    "METRICS",
    "event_lines",
    "flow_lines",
    "knee",
    "latency_lines",
    "policy_points",
    "queue_lines",
    "replica_lines",
    "sustained_lines",
]

METRICS = ("ttft", "tpot", "e2e")
_TONES = (Tone.ACCENT, Tone.WARN, Tone.GOOD, Tone.BAD, Tone.MUTED)
_SIDES = (("measured", Tone.GOOD), ("simulated", Tone.ACCENT))
_ENDED = 4  # requests that end in a stretch of the chart, on average
_SECONDS_FROM_MS = 2000.0
_UNITS = ((7200.0, 3600.0, "h"), (300.0, 60.0, "min"), (0.0, 1.0, "s"))


def known_points(rows: Sequence[CurveRow], metric: str) -> list[tuple[float, float]]:
    """(load, latency in ms) of the rows at which the metric may be quoted."""
    pairs = [(row.load, float(getattr(row, f"{metric}_ms"))) for row in rows]
    return [(load, value) for load, value in pairs if math.isfinite(value)]


def knee(rows: Sequence[CurveRow], metric: str) -> tuple[float, float] | None:
    """Where the curve bends upwards most: the point farthest below the line between its ends.

    Satopää et al. 2011, "Finding a Kneedle in a Haystack". None for a curve that does not bend.
    """
    points = known_points(rows, metric)
    if len(points) < 3 or points[-1][1] <= points[0][1]:
        return None
    xs, ys = (np.array(values) for values in zip(*points, strict=True))
    gap = (xs - xs[0]) / (xs[-1] - xs[0]) - (ys - ys[0]) / (ys[-1] - ys[0])
    found = int(np.argmax(gap))
    return points[found] if gap[found] > 0 else None


def latency_lines(report: CapacityReport, metric: str, limit_ms: float | None, texts: Mapping[str, str]) -> Lines:
    """Latency at the SLO's percentile against the load of the fleet in percent of the rate that keeps up."""
    points = known_points(report.curve, metric)
    scale, unit = (1e3, "s") if max((y for _, y in points), default=0.0) >= _SECONDS_FROM_MS else (1.0, "ms")
    points = [(x, y / scale) for x, y in points]
    lines = [Line(texts["curve"], tuple(100 * x for x, _ in points), tuple(y for _, y in points))]
    bend = knee(report.curve, metric)
    if bend:
        lines.append(Line(texts["knee"], (100 * bend[0],), (bend[1] / scale,), Tone.WARN, markers_only=True))
    here = _at(points, report.load)
    if report.feasible and here is not None:
        lines.append(Line(texts["here"], (100 * report.load,), (here,), Tone.GOOD, markers_only=True))
    limits = () if limit_ms is None else (Limit("y", limit_ms / scale, texts["limit"]),)
    where = texts["y"].format(unit=unit)
    return Lines(texts["title"], texts["hint"], texts["alt"], texts["x"], where, tuple(lines), limits)


def queue_lines(series: Series, texts: Mapping[str, str]) -> Lines:
    """Requests waiting and running per replica over time."""
    scale, unit = time_unit(series.time_s)
    x = tuple(t / scale for t in series.time_s)
    lines = (
        Line(texts["running"], x, series.running, Tone.ACCENT),
        Line(texts["waiting"], x, series.waiting, Tone.BAD),
    )
    return Lines(texts["title"], texts["hint"], texts["alt"], texts["x"].format(unit=unit), texts["y"], lines)


def replica_lines(report: PolicyReport, names: Sequence[str], texts: Mapping[str, str]) -> Lines:
    """Replicas paid for over time, by policy; at most 55 samples each."""
    rows = [(name, row.series) for name, row in zip(names, report.rows, strict=True) if row.series is not None]
    scale, unit = time_unit(rows[0][1].time_s) if rows else (1.0, "s")
    lines = []
    for index, (name, series) in enumerate(rows):
        every = max(1, -(-len(series.time_s) // 55))  # five policies stay below 300 marks
        x = tuple(t / scale for t in series.time_s[::every])
        lines.append(Line(name, x, series.replicas[::every], _TONES[(index + 4) % len(_TONES)]))
    return Lines(texts["title"], texts["hint"], texts["alt"], texts["x"].format(unit=unit), texts["y"], tuple(lines))


def policy_points(report: PolicyReport, names: Sequence[str], texts: Mapping[str, str]) -> Scatter:
    """Replica hours paid for, in percent of a fleet that is never scaled, against requests beyond their limits."""
    points = tuple(
        Point(
            id=name,
            x=100 * row.paid_share,
            y=100 * (1 - row.in_slo_share),
            label=f"{name}: {100 * row.paid_share:.0f} %, {100 * row.in_slo_share:.2f} %",
            group=name,
            emphasis=row.target is None,
        )
        for name, row in zip(names, report.rows, strict=True)
    )
    return Scatter(texts["title"], texts["hint"], texts["alt"], texts["x"], texts["y"], points)


def time_unit(times: Sequence[float]) -> tuple[float, str]:
    """(seconds per unit, its name) in which the longest time reads well."""
    longest = times[-1] if times else 0.0
    return next((scale, unit) for least, scale, unit in _UNITS if longest >= least)


def _at(points: Sequence[tuple[float, float]], load: float) -> float | None:
    """The latency at this load, on the straight line between its neighbours."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= load <= x1:
            return y0 + (y1 - y0) * (load - x0) / (x1 - x0)
    return None


def event_lines(report: EventReport, texts: Mapping[str, str]) -> Lines:
    """The queue with and without the event, which lies between two dashed lines."""
    assert report.series is not None  # the caller has looked
    scale, unit = time_unit(report.series.time_s)
    lines = []
    for name, series, tone in (("waiting", report.series, Tone.BAD), ("calm", report.calm, Tone.MUTED)):
        if series is not None:
            lines.append(Line(texts[name], tuple(t / scale for t in series.time_s), series.waiting, tone))
    x = tuple(t / scale for t in report.series.time_s)
    lines.append(Line(texts["running"], x, report.series.running, Tone.ACCENT))
    limits = (
        Limit("x", report.start_s / scale, texts["begin"]),
        Limit("x", report.end_s / scale, texts["end"]),
    )
    where = texts["x"].format(unit=unit)
    return Lines(texts["title"], texts["hint"], texts["alt"], where, texts["y"], tuple(lines), limits)


def flow_lines(report: SustainedReport, texts: Mapping[str, str]) -> Lines:
    """Requests since the start: arrived, finished as measured and as simulated. At most 90 moments."""
    every = max(1, -(-len(report.windows) // 90))
    windows = report.windows[every - 1 :: every]
    if report.windows and windows[-1] is not report.windows[-1]:
        windows = (*windows, report.windows[-1])
    scale, unit = time_unit(tuple(w.end_s for w in report.windows))
    x = (0.0, *(w.end_s / scale for w in windows))

    def line(name: str, field: str, tone: Tone) -> Line:
        return Line(texts[name], x, (0.0, *(float(getattr(w, field)) for w in windows)), tone)

    low, high = ((0.0, *(float(w.simulated_range[end]) for w in windows)) for end in (0, 1))
    simulated = replace(line("simulated", "simulated_finished", Tone.ACCENT), low=low, high=high)
    lines = line("arrived", "arrived", Tone.MUTED), line("measured", "measured_finished", Tone.GOOD), simulated
    return Lines(texts["title"], texts["hint"], texts["alt"], texts["x"].format(unit=unit), texts["y"], lines)


def sustained_lines(report: SustainedReport, texts: Mapping[str, str]) -> Lines:
    """Tokens per second of the requests that end in each stretch, measured and simulated.

    At most 140 stretches, each long enough for a few requests to end in it; a short run has only a few.
    """
    count = len(report.windows)
    ended = max(1, min(report.windows[-1].measured_finished, report.windows[-1].simulated_finished)) if count else 1
    every = max(1, -(-count // 140), round(_ENDED * count / ended))
    groups = [report.windows[i : i + every] for i in range(0, count, every)]
    scale, unit = time_unit(tuple(w.end_s for w in report.windows))
    x = tuple(group[-1].end_s / scale for group in groups)
    starts = (0.0, *(group[-1].end_s for group in groups))
    lines = tuple(
        Line(texts[name], x, tuple(_mean_rate(g, f"{name}_tok_s", starts[i]) for i, g in enumerate(groups)), tone)
        for name, tone in _SIDES
    )
    return Lines(texts["title"], texts["hint"], texts["alt"], texts["x"].format(unit=unit), texts["y"], lines)


def _mean_rate(group: Sequence[Window], name: str, start_s: float) -> float:
    """Over windows of different lengths."""
    tokens, before = 0.0, start_s
    for window in group:
        tokens += getattr(window, name) * (window.end_s - before)
        before = window.end_s
    return tokens / max(before - start_s, 1e-9)
