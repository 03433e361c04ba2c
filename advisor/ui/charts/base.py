"""What all plotly figures share. Fonts and colours are explicit: the template of Streamlit is not used."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from advisor.report.figures import Limit
from advisor.report.palette import FONT_FAMILY, Palette, Tone

__all__ = ["add_limits", "blank", "rgba", "style_axis"]


def blank(palette: Palette, *, height: int, legend: bool) -> go.Figure:
    """An empty figure with the house style."""
    figure = go.Figure()
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 8, "r": 12, "t": 34 if legend else 10, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT_FAMILY, "size": 13, "color": palette.text},
        colorway=list(palette.categories),
        showlegend=legend,
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1.0,
            "xanchor": "left",
            "yanchor": "bottom",
            "title": {"text": ""},
            "traceorder": "normal",
        },
        hoverlabel={
            "bgcolor": palette.surface,
            "bordercolor": palette.border,
            "font": {"family": FONT_FAMILY, "color": palette.text},
        },
    )
    return figure


def style_axis(palette: Palette, title: str, *, log: bool, values: Sequence[float] = ()) -> dict[str, object]:
    """Thin grid; on logarithmic axes a tick per decade, or at 1, 2 and 5 where `values` span less than two."""
    axis: dict[str, object] = {
        "title": {"text": title, "font": {"color": palette.muted, "size": 13}},
        "gridcolor": palette.border,
        "linecolor": palette.border,
        "tickfont": {"color": palette.muted},
        "zeroline": False,
        "automargin": True,
    }
    if not log:
        return {**axis, "rangemode": "tozero"}
    narrow = bool(values) and max(values) < 100 * min(values)
    # With a format plotly writes the whole number at 2 and 5, not the digit alone.
    ticks = {"dtick": "D2", "tickformat": ",.10~g"} if narrow else {"dtick": 1}
    return {**axis, "type": "log", **ticks}


def add_limits(figure: go.Figure, limits: Sequence[Limit], palette: Palette, *, log_x: bool, log_y: bool) -> None:
    """Dashed lines in data units. `add_vline` with a text is not used: on a log axis it puts the text at 10^x."""
    for limit in limits:
        vertical = limit.axis == "x"
        where = math.log10(limit.value) if (log_x if vertical else log_y) else limit.value
        line = {"color": palette.tone(Tone.BAD), "dash": "dash", "width": 1.5}
        if vertical:
            figure.add_shape(type="line", x0=limit.value, x1=limit.value, y0=0, y1=1, yref="paper", line=line)
        else:
            figure.add_shape(type="line", y0=limit.value, y1=limit.value, x0=0, x1=1, xref="paper", line=line)
        position = {"x": where, "y": 1, "yref": "paper", "yanchor": "top", "xanchor": "left"}
        if not vertical:
            position = {"x": 1, "xref": "paper", "y": where, "xanchor": "right", "yanchor": "bottom"}
        figure.add_annotation(
            text=limit.label, showarrow=False, font={"color": palette.tone(Tone.BAD), "size": 12}, **position
        )


def rgba(colour: str, alpha: float) -> str:
    """The colour #RRGGBB with transparency."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
