"""Figures as data: what is drawn, without saying by what. `advisor.ui.charts` makes plotly of them, `svg` makes SVG.

All texts are final (already in the reader's language); all numbers are in the unit that the axis label names.
"""

from __future__ import annotations

from dataclasses import dataclass

from advisor.report.palette import Tone

__all__ = ["Bar", "Bars", "Edge", "Grid", "Limit", "Line", "Lines", "Node", "Point", "Scatter", "Segment", "Tree"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a stacked bar; `text` is the printed value."""

    label: str
    value: float
    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    segments: tuple[Segment, ...]
    capacity: float | None = None  # drawn as a line across the bar
    capacity_text: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Stacked horizontal bars. `alt` says the message in one sentence, for readers who do not see it."""

    title: str
    hint: str
    alt: str
    unit: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """`id` finds the record again after a click; `group` decides the colour."""

    id: str
    x: float
    y: float
    label: str
    group: str
    emphasis: bool = False
    x_low: float | None = None
    x_high: float | None = None
    y_low: float | None = None
    y_high: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that the user set, drawn as a dashed line."""

    axis: str  # "x" | "y"
    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Scatter:
    title: str
    hint: str
    alt: str
    x_label: str
    y_label: str
    points: tuple[Point, ...]
    front: tuple[tuple[float, float], ...] = ()  # drawn as a dotted step line, in order of x
    limits: tuple[Limit, ...] = ()
    log_x: bool = False
    log_y: bool = False
    diagonal: bool = False  # y = x, with bands at a factor of 2


@dataclass(frozen=True, slots=True)
class Line:
    """`low` and `high`, where given, are the ends of the interval at each x."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    tone: Tone = Tone.ACCENT
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    markers_only: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    title: str
    hint: str
    alt: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    limits: tuple[Limit, ...] = ()
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A heat map: `values[row][column]`, None where there is nothing; `texts` likewise."""

    title: str
    hint: str
    alt: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    value_label: str
    log: bool = True


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the decision tree; `x` is the depth, `y` the leaf order, both in steps of 1."""

    id: str
    label: str
    x: float
    y: float
    leaf: bool
    on_path: bool


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    label: str
    on_path: bool


@dataclass(frozen=True, slots=True)
class Tree:
    title: str
    hint: str
    alt: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
