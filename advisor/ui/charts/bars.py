"""Stacked horizontal bars: memory of a device, shares of a step, parts of a bill."""

from __future__ import annotations

import plotly.graph_objects as go

from advisor.report.figures import Bars, Segment
from advisor.report.palette import Palette, Tone
from advisor.ui.charts.base import blank, style_axis

__all__ = ["bars_figure"]

_PALE = {Tone.FREE}


def bars_figure(bars: Bars, palette: Palette) -> go.Figure:
    """One trace per part, so that the legend names each part once."""
    figure = blank(palette, height=112 + 46 * len(bars.bars), legend=True)
    names = [bar.label for bar in bars.bars]
    for label in _labels(bars):
        found = [_segment(bar.segments, label) for bar in bars.bars]
        tone = next(s.tone for s in found if s)
        figure.add_bar(
            name=label,
            orientation="h",
            y=names,
            x=[s.value if s else 0 for s in found],
            text=[s.text if s else "" for s in found],
            customdata=[s.text if s else "" for s in found],
            hovertemplate=f"{label}: %{{customdata}}<extra></extra>",
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            textfont={"color": palette.muted if tone in _PALE else _ink(palette, tone)},
            marker={"color": palette.tone(tone), "line": {"color": palette.background, "width": 1}},
        )
    _add_capacity(figure, bars, palette)
    figure.update_layout(
        barmode="stack",
        bargap=0.35,
        uniformtext={"minsize": 11, "mode": "hide"},
        xaxis=style_axis(palette, bars.unit, log=False),
        yaxis={**style_axis(palette, "", log=False), "autorange": "reversed", "showgrid": False, "type": "category"},
    )
    return figure


def _labels(bars: Bars) -> list[str]:
    return list(dict.fromkeys(segment.label for bar in bars.bars for segment in bar.segments))


def _segment(segments: tuple[Segment, ...], label: str) -> Segment | None:
    return next((segment for segment in segments if segment.label == label), None)


def _ink(palette: Palette, tone: Tone) -> str:
    """Text on a coloured area: dark on the light tones of either mode."""
    return (
        "#0B1222"
        if tone in (Tone.KV_CACHE, Tone.ACTIVATION, Tone.WARN) or palette.background != "#FFFFFF"
        else "#FFFFFF"
    )


def _add_capacity(figure: go.Figure, bars: Bars, palette: Palette) -> None:
    for index, bar in enumerate(bars.bars):
        if bar.capacity is None:
            continue
        line = {"color": palette.text, "width": 2}
        figure.add_shape(type="line", x0=bar.capacity, x1=bar.capacity, y0=index - 0.4, y1=index + 0.4, line=line)
        if bar.capacity_text:
            figure.add_annotation(
                x=bar.capacity,
                y=index - 0.42,
                text=bar.capacity_text,
                showarrow=False,
                xanchor="right",
                yanchor="bottom",
                font={"size": 12, "color": palette.muted},
            )
