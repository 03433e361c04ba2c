"""Points with an optional front, limits and intervals: Pareto chart, predicted against measured."""

from __future__ import annotations

import plotly.graph_objects as go

from advisor.report.figures import Point, Scatter
from advisor.report.palette import Palette, Tone
from advisor.ui.charts.base import add_limits, blank, style_axis

__all__ = ["scatter_figure"]

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon", "star")


def scatter_figure(scatter: Scatter, palette: Palette, *, height: int = 400) -> go.Figure:
    """`customdata` of each point is its id, for selections."""
    figure = blank(palette, height=height, legend=True)
    if scatter.diagonal:
        _add_diagonal(figure, scatter, palette)
    if scatter.front:
        xs, ys = zip(*scatter.front, strict=True)
        line = {"color": palette.tone(Tone.MUTED), "dash": "dot", "width": 1.5, "shape": "hv"}
        figure.add_scatter(x=xs, y=ys, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    for index, group in enumerate(dict.fromkeys(point.group for point in scatter.points)):
        _add_group(figure, group, [p for p in scatter.points if p.group == group], index, palette)
    figure.update_layout(
        xaxis=style_axis(palette, scatter.x_label, log=scatter.log_x, values=[p.x for p in scatter.points]),
        yaxis=style_axis(palette, scatter.y_label, log=scatter.log_y, values=[p.y for p in scatter.points]),
        clickmode="event+select",
        dragmode=False,
    )
    add_limits(figure, scatter.limits, palette, log_x=scatter.log_x, log_y=scatter.log_y)
    return figure


def _add_group(figure: go.Figure, group: str, points: list[Point], index: int, palette: Palette) -> None:
    colour = palette.category(index)
    figure.add_scatter(
        name=group,
        x=[p.x for p in points],
        y=[p.y for p in points],
        customdata=[p.id for p in points],
        text=[p.label for p in points],
        mode="markers",
        hovertemplate="%{text}<extra></extra>",
        error_x=_error([p.x for p in points], [p.x_low for p in points], [p.x_high for p in points], colour),
        error_y=_error([p.y for p in points], [p.y_low for p in points], [p.y_high for p in points], colour),
        marker={
            "color": colour,
            "symbol": _SYMBOLS[index % len(_SYMBOLS)],
            "size": [15 if p.emphasis else 8 for p in points],
            "line": {"width": [2.5 if p.emphasis else 0.5 for p in points], "color": palette.text},
        },
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 0.75}},
    )


def _error(
    values: list[float], lows: list[float | None], highs: list[float | None], colour: str
) -> dict[str, object] | None:
    if all(low is None for low in lows):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if high is None else max(0.0, high - value) for value, high in zip(values, highs, strict=True)],
        "arrayminus": [0 if low is None else max(0.0, value - low) for value, low in zip(values, lows, strict=True)],
        "color": colour,
        "thickness": 1,
        "width": 2,
    }


def _add_diagonal(figure: go.Figure, scatter: Scatter, palette: Palette) -> None:
    """y = x and the band of a factor of two."""
    every = [value for p in scatter.points for value in (p.x, p.y)]
    if not every:
        return
    low, high = min(every) / 2, max(every) * 2
    colour = palette.tone(Tone.MUTED)
    for factor, dash in ((1.0, "solid"), (2.0, "dot"), (0.5, "dot")):
        line = {"color": colour, "dash": dash, "width": 1}
        figure.add_scatter(
            x=[low, high], y=[low * factor, high * factor], mode="lines", line=line, hoverinfo="skip", showlegend=False
        )
