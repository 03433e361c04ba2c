"""Heat map with printed values and gaps between the cells."""

from __future__ import annotations

import math
from textwrap import wrap

import plotly.graph_objects as go

from advisor.report.figures import Grid
from advisor.report.palette import Palette
from advisor.ui.charts.base import blank, style_axis

__all__ = ["grid_figure", "grid_width"]

COLUMN_LETTERS = 13  # more would run into the next column


def grid_width(grid: Grid) -> int:
    """Pixels that leave room for the text of each cell."""
    return 215 + 88 * len(grid.columns)


def grid_figure(grid: Grid, palette: Palette) -> go.Figure:
    """Colours by the logarithm where `grid.log`, since sizes span four decades; the cells print the true value."""
    figure = blank(palette, height=90 + 30 * len(grid.rows), legend=False)
    steps = len(palette.sequence) - 1
    figure.add_heatmap(
        z=[[_level(value, log=grid.log) for value in row] for row in grid.values],
        x=["<br>".join(wrap(column, COLUMN_LETTERS)) for column in grid.columns],
        y=list(grid.rows),
        text=[list(row) for row in grid.texts],
        texttemplate="%{text}",
        textfont={"color": palette.text},
        hovertemplate="%{y} · %{x}: %{text}<extra></extra>",
        colorscale=[[i / steps, colour] for i, colour in enumerate(palette.sequence)],
        showscale=False,
        xgap=2,
        ygap=2,
        hoverongaps=False,
    )
    plain = {"showgrid": False, "type": "category", "ticks": "", "tickfont": {"color": palette.text, "size": 12}}
    figure.update_layout(
        xaxis={**style_axis(palette, "", log=False), **plain, "side": "top", "tickangle": 0},
        yaxis={**style_axis(palette, "", log=False), **plain, "autorange": "reversed"},
        dragmode=False,
    )
    return figure


def _level(value: float | None, *, log: bool) -> float | None:
    if value is None or (log and value <= 0):
        return None
    return math.log10(value) if log else value
