"""Figures of money, as data: cost over the years, what the capital consists of, power. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from advisor.catalog.quantity import Quantity
from advisor.report.figures import Bar, Bars, Line, Lines, Segment
from advisor.report.numbers import money_text, number
from advisor.report.palette import Tone
from advisor.serving.economics import Economics

__all__ = ["capital_bars", "cost_bars", "power_bars", "year_lines"]


def year_lines(answer: Economics, api_month_usd: float | None, texts: Mapping[str, str]) -> Lines:
    """What has been spent after 0 to 5 years by owning, renting and, where a price was given, an API."""
    lines = []
    if answer.capital_usd is not None and answer.tco_usd:
        lines.append(_line(texts["own"], (answer.capital_usd, *answer.tco_usd), Tone.ACCENT))
    if answer.rent_years_usd:
        nothing = Quantity.exact(0.0)
        lines.append(_line(texts["rent"], (nothing, *answer.rent_years_usd), Tone.WARN))
    if api_month_usd is not None:
        years = tuple(float(year) for year in range(6))
        lines.append(Line(texts["api"], years, tuple(12 * api_month_usd * year for year in years), Tone.GOOD))
    return Lines(texts["title"], texts["hint"], texts["alt"], texts["x"], texts["y"], tuple(lines))


def _line(label: str, spent: Sequence[Quantity], tone: Tone) -> Line:
    return Line(
        label,
        tuple(float(year) for year in range(len(spent))),
        tuple(q.value for q in spent),
        tone,
        tuple(q.low for q in spent),
        tuple(q.high for q in spent),
    )


def capital_bars(answer: Economics, texts: Mapping[str, str]) -> Bars:
    """Devices, servers and network in one bar."""
    parts = (
        ("devices", answer.devices_usd, Tone.WEIGHTS),
        ("servers", answer.servers_usd, Tone.KV_CACHE),
        ("network", answer.network_usd, Tone.ACTIVATION),
    )
    segments = tuple(
        Segment(texts[name], q.value, money_text(q.value), tone)
        for name, q, tone in parts
        if q is not None and q.value > 0
    )
    return Bars(texts["title"], texts["hint"], texts["alt"], "USD", (Bar(texts["row"], segments),))


def power_bars(answer: Economics, texts: Mapping[str, str]) -> Bars:
    """Watts at the wall when idle, on average and when loaded, one bar each, in kW."""
    power = answer.power
    if power is None:
        return Bars(texts["title"], texts["hint"], texts["alt"], "kW", ())
    rows = (("idle", power.idle_w), ("mean", power.mean_w), ("loaded", power.loaded_w))
    return Bars(
        texts["title"],
        texts["hint"],
        texts["alt"],
        "kW",
        tuple(
            Bar(texts[name], (Segment(texts["power"], q.value / 1e3, f"{number(q.value / 1e3)} kW", Tone.WEIGHTS),))
            for name, q in rows
        ),
    )


def cost_bars(rows: Sequence[tuple[str, Quantity]], texts: Mapping[str, str]) -> Bars:
    """US dollars a month of each plan, the cheapest first."""
    bars = tuple(
        Bar(title, (Segment(texts["monthly"], q.value, money_text(float(f"{q.value:.3g}")), Tone.WEIGHTS),))
        for title, q in rows
    )
    return Bars(texts["title"], texts["hint"], texts["alt"], "USD", bars)
