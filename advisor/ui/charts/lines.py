"""Lines over one quantity with their 90 % intervals: throughput and latency against concurrency, sweeps, queues."""

from __future__ import annotations

import plotly.graph_objects as go

from advisor.report.figures import Line, Lines
from advisor.report.palette import Palette
from advisor.ui.charts.base import add_limits, blank, rgba, style_axis

__all__ = ["lines_figure"]

MOST_COUNTS = 16


def lines_figure(lines: Lines, palette: Palette, *, height: int = 300) -> go.Figure:
    figure = blank(palette, height=height, legend=len(lines.lines) > 1)
    for line in lines.lines:
        if line.low:
            _add_band(figure, line, palette)
        _add_line(figure, line, palette)
    figure.update_layout(
        xaxis=style_axis(palette, lines.x_label, log=lines.log_x, values=[x for line in lines.lines for x in line.x]),
        yaxis=style_axis(palette, lines.y_label, log=lines.log_y, values=[y for line in lines.lines for y in line.y]),
        hovermode="x unified",
        dragmode=False,
    )
    counts = {x for line in lines.lines for x in line.x}
    if not lines.log_x and len(counts) > 1 and counts <= set(range(MOST_COUNTS + 1)):
        figure.update_xaxes(tickvals=sorted(counts))  # threads and layers have no halves
    add_limits(figure, lines.limits, palette, log_x=lines.log_x, log_y=lines.log_y)
    return figure


def _add_line(figure: go.Figure, line: Line, palette: Palette) -> None:
    colour = palette.tone(line.tone)
    figure.add_scatter(
        name=line.label,
        x=line.x,
        y=line.y,
        mode="markers" if line.markers_only else "lines+markers",
        line={"color": colour, "width": 2.5},
        marker={"color": colour, "size": 10 if line.markers_only else 6},
        hovertemplate="%{y:.3s}",
    )


def _add_band(figure: go.Figure, line: Line, palette: Palette) -> None:
    figure.add_scatter(
        x=[*line.x, *reversed(line.x)],
        y=[*line.high, *reversed(line.low)],
        fill="toself",
        fillcolor=rgba(palette.tone(line.tone), 0.15),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        mode="lines",
    )
