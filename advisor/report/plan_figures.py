"""The figures of a recommendation, as data: memory of a device, Pareto front, load curves, shares of a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from advisor.catalog.text import translate
from advisor.decision.result import Candidate, Recommendation
from advisor.decision.scenario import Scenario
from advisor.report.figures import Bar, Bars, Limit, Line, Lines, Point, Scatter, Segment
from advisor.report.numbers import gib_text, latency_text, number, percent_text
from advisor.report.palette import Tone
from advisor.report.rows import plan_title, quantities
from advisor.sizing.plan import Binding, DeviceFootprint, Sizing

__all__ = ["AXES", "axis_name", "known_axes", "load_curves", "memory_bars", "pareto", "step_shares", "usual_axis"]

GIB = 2.0**30
MOST_GROUPS = 7
# Quantities that may be an axis of the Pareto chart, and whether their axis is logarithmic.
AXES = {
    "monthly_usd": True,
    "per_million_tokens_usd": True,
    "capital_usd": True,
    "e2e_ms": True,
    "ttft_ms": True,
    "tpot_ms": True,
    "output_tok_s": True,
    "power_w": True,
    "quality": False,
}
_COSTS = ("monthly_usd", "per_million_tokens_usd", "capital_usd")
_HIGHER_IS_BETTER = ("quality", "output_tok_s")
_BINDING_TONES = {
    Binding.BANDWIDTH: Tone.WEIGHTS,
    Binding.COMPUTE: Tone.KV_CACHE,
    Binding.LINK: Tone.ACTIVATION,
    Binding.HOST: Tone.OVERHEAD,
}


def memory_bars(sizing: Sizing, language: str) -> Bars:
    """What fills the fullest device, and the host's memory where the plan uses it. In GiB."""
    bars = [_memory_bar(translate(language, "report.memory.device"), sizing.per_device, language)]
    if sizing.host is not None:
        bars.append(_memory_bar(translate(language, "report.memory.host"), sizing.host, language))
    device = sizing.per_device
    key = "alt_fits" if sizing.fits else "alt_not"
    return Bars(
        title=translate(language, "report.memory.title"),
        hint=translate(language, "report.memory.hint"),
        alt=translate(
            language,
            f"report.memory.{key}",
            total=gib_text(device.total_bytes),
            usable=gib_text(device.usable_bytes),
            shortfall=gib_text(sizing.shortfall_bytes),
        ),
        unit="GiB",
        bars=tuple(bars),
    )


def _memory_bar(label: str, device: DeviceFootprint, language: str) -> Bar:
    parts = (
        ("weights", device.weights_bytes, Tone.WEIGHTS),
        ("kv_cache", device.kv_cache_bytes, Tone.KV_CACHE),
        ("activation", device.activation_bytes, Tone.ACTIVATION),
        ("overhead", device.overhead_bytes, Tone.OVERHEAD),
        ("free", max(0, device.free_bytes), Tone.FREE),
    )
    segments = tuple(
        Segment(translate(language, f"report.memory.{name}"), size / GIB, gib_text(size), tone)
        for name, size, tone in parts
        if size > 0
    )
    return Bar(label, segments, device.usable_bytes / GIB, gib_text(device.usable_bytes))


def known_axes(recommendation: Recommendation) -> list[str]:
    """Those of AXES on which a candidate has a point: a phone has neither price nor power."""
    found = [quantities(candidate) for candidate in recommendation.candidates]
    return [axis for axis in AXES if any((q := row[axis]) is not None and q.value > 0 for row in found)]


def usual_axis(recommendation: Recommendation) -> str:
    """Across: cost, or quality where nothing has a cost."""
    return "monthly_usd" if "monthly_usd" in known_axes(recommendation) else "quality"


def pareto(
    recommendation: Recommendation,
    language: str,
    *,
    x: str,
    y: str = "e2e_ms",
    chosen: str | None = None,
) -> Scatter:
    """Candidates by two of AXES; the front is that of these two axes among all candidates shown."""
    pairs = [(c, quantities(c)[x], quantities(c)[y]) for c in recommendation.candidates]
    x_scale, x_label = _scaled(x, [q.value for _, q, _ in pairs if q is not None], language)
    y_scale, y_label = _scaled(y, [q.value for _, _, q in pairs if q is not None], language)
    groups = _groups(recommendation)
    points = tuple(
        Point(
            id=candidate.plan.id,
            x=across.value * x_scale,
            y=up.value * y_scale,
            label="<br>".join(
                (
                    plan_title(candidate.plan, language),
                    f"{x_label}: {number(across.value * x_scale)}",
                    f"{y_label}: {number(up.value * y_scale)}",
                )
            ),
            group=groups.get(candidate.plan.variant.name, translate(language, "report.pareto.other")),
            emphasis=candidate.plan.id == chosen,
        )
        for candidate, across, up in pairs
        if across is not None and up is not None and across.value > 0 and up.value > 0
    )
    return Scatter(
        title=_pareto_title(x, y, language),
        hint=translate(language, "report.pareto.hint"),
        alt=translate(language, "report.pareto.alt", x=x_label, y=y_label, count=len(points)),
        x_label=x_label,
        y_label=y_label,
        points=points,
        front=_front(points, x, y),
        limits=_limits(recommendation.scenario, {"x": (x, x_scale), "y": (y, y_scale)}, language),
        log_x=AXES[x],
        log_y=AXES[y],
    )


def _pareto_title(x: str, y: str, language: str) -> str:
    if x in _COSTS and y.endswith("_ms"):
        return translate(language, "report.pareto.title")
    return translate(language, "report.pareto.title_axes", x=axis_name(x, language), y=axis_name(y, language))


def axis_name(name: str, language: str) -> str:
    """Of a quantity; times without a unit, since that depends on the values."""
    return translate(language, f"ui.{'time' if name.endswith('_ms') else 'column'}.{name}")


def _scaled(name: str, values: Sequence[float], language: str) -> tuple[float, str]:
    """(factor, label) of an axis: milliseconds that reach a second are shown in seconds."""
    if name.endswith("_ms") and max(values, default=0.0) >= 1e3:
        return 1e-3, translate(language, f"ui.seconds.{name}")
    return 1.0, translate(language, f"ui.column.{name}")


def _groups(recommendation: Recommendation) -> dict[str, str]:
    """The models that get a colour of their own: those with most plans."""
    counts = Counter(candidate.plan.variant.name for candidate in recommendation.candidates)
    return {name: name for name, _ in counts.most_common(MOST_GROUPS)}


def _front(points: Sequence[Point], x: str, y: str) -> tuple[tuple[float, float], ...]:
    """Points that no other beats on both axes, by x."""
    across, up = (-1 if name in _HIGHER_IS_BETTER else 1 for name in (x, y))
    best: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (across * p.x, up * p.y)):
        if not best or up * point.y < up * best[-1][1]:
            best.append((point.x, point.y))
    return tuple(sorted(best))


def _limits(scenario: Scenario, axes: Mapping[str, tuple[str, float]], language: str) -> tuple[Limit, ...]:
    """The limits on the two quantities, in the units of their axes. `axes`: (quantity, factor) of x and y."""
    stated = {
        "monthly_usd": scenario.budget_monthly_usd,
        "capital_usd": scenario.budget_capital_usd,
        "e2e_ms": scenario.e2e_ms,
        "ttft_ms": scenario.ttft_ms,
        "tpot_ms": scenario.tpot_ms,
        "power_w": scenario.power_limit_w,
        "quality": scenario.quality_floor,
    }
    found = [(axis, stated.get(name), factor) for axis, (name, factor) in axes.items()]
    return tuple(
        Limit(axis, value * factor, translate(language, "report.limit", value=number(value * factor)))
        for axis, value, factor in found
        if value is not None
    )


def load_curves(sizings: Sequence[Sizing], language: str) -> tuple[Lines, Lines]:
    """Throughput and latency of one replica against sequences at once; `sizings` differ in concurrency only."""
    xs = tuple(float(s.load.concurrency) for s in sizings)
    throughput = _line("output_tok_s", xs, sizings, Tone.ACCENT, language)
    slow = any(max(s.tpot_ms.value, s.ttft_ms.value) >= 1e3 for s in sizings)
    latency = _line("tpot_ms", xs, sizings, Tone.ACTIVATION, language, in_seconds=slow)
    first = _line("ttft_ms", xs, sizings, Tone.KV_CACHE, language, in_seconds=slow)
    return (
        _curves("throughput", (throughput,), language),
        _curves("latency", (first, latency), language, y="y_seconds" if slow else "y"),
    )


def _line(
    name: str, xs: tuple[float, ...], sizings: Sequence[Sizing], tone: Tone, language: str, *, in_seconds: bool = False
) -> Line:
    found = [getattr(sizing, name) for sizing in sizings]
    factor = 1e-3 if in_seconds else 1.0
    return Line(
        label=translate(language, f"ui.seconds.{name}" if in_seconds else f"ui.column.{name}"),
        x=xs,
        y=tuple(q.value * factor for q in found),
        tone=tone,
        low=tuple(q.low * factor for q in found),
        high=tuple(q.high * factor for q in found),
    )


def _curves(name: str, lines: tuple[Line, ...], language: str, *, y: str = "y") -> Lines:
    last = lines[0]

    def text(value: float) -> str:
        if name != "latency":
            return number(value)
        return latency_text(value * 1e3 if y == "y_seconds" else value)

    return Lines(
        title=translate(language, f"report.curve.{name}.title"),
        hint=translate(language, f"report.curve.{name}.hint"),
        alt=translate(
            language,
            f"report.curve.{name}.alt",
            first=text(last.y[0]),
            last=text(last.y[-1]),
            most=number(last.x[-1]),
        ),
        x_label=translate(language, "report.curve.x"),
        y_label=translate(language, f"report.curve.{name}.{y}"),
        lines=lines,
        log_x=True,
        log_y=True,
    )


def step_shares(candidate: Candidate, language: str) -> Bars:
    """Which resource a decode step spends its time on."""
    shares = [(binding, share) for binding, share in candidate.sizing.shares.items() if share > 0.005]
    segments = tuple(
        Segment(
            translate(language, f"ui.binding.{binding}"),
            100 * share,
            percent_text(share),
            _BINDING_TONES.get(binding, Tone.MUTED),
        )
        for binding, share in sorted(shares, key=lambda pair: -pair[1])
    )
    first = segments[0] if segments else None
    return Bars(
        title=translate(language, "report.shares.title"),
        hint=translate(language, "report.shares.hint"),
        alt=translate(
            language, "report.shares.alt", name=first.label if first else "–", share=first.text if first else "–"
        ),
        unit="%",
        bars=(Bar(translate(language, "report.shares.step"), segments),),
    )
