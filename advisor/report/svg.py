"""Figures as data → inline SVG: sharp in HTML and PDF, no library, no network, readable without colour."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from advisor.report.figures import Bars, Line, Lines, Node, Point, Scatter, Tree
from advisor.report.palette import FONT_FAMILY, LIGHT, Palette, Tone
from advisor.report.svg_axis import decades, ticks

__all__ = ["bars_svg", "lines_svg", "scatter_svg", "tree_svg"]

_WIDTH = 760
_FEW_DOTS = 40  # more points are a line without dots
_DARK_INK = {Tone.KV_CACHE, Tone.ACTIVATION, Tone.FREE, Tone.WARN}


def bars_svg(bars: Bars, palette: Palette = LIGHT) -> str:
    """Stacked bars with a legend below; widths are shares of the largest bar or capacity."""
    left, row, top = 110, 46, 26
    most = max([sum(s.value for s in bar.segments) for bar in bars.bars] + [bar.capacity or 0 for bar in bars.bars])
    scale = (_WIDTH - left - 20) / most if most else 0
    root = _root(top + row * len(bars.bars) + 34, bars.alt)
    for index, bar in enumerate(bars.bars):
        y, x = top + index * row, float(left)
        _text(root, left - 10, y + 19, bar.label, palette.text, anchor="end")
        for segment in bar.segments:
            width = segment.value * scale
            _rect(root, x, y, width, 28, palette.tone(segment.tone))
            if width > 9 * len(segment.text):
                ink = palette.text if segment.tone in _DARK_INK else "#FFFFFF"
                _text(root, x + width / 2, y + 19, segment.text, ink, anchor="middle", size=12)
            x += width
        if bar.capacity is not None:
            edge = left + bar.capacity * scale
            _line(root, edge, y - 5, edge, y + 33, palette.text, width=2)
            _text(root, edge, y - 9, bar.capacity_text, palette.muted, anchor="end", size=11)
    _legend(root, bars, top + row * len(bars.bars) + 14, palette)
    return _write(root)


def scatter_svg(scatter: Scatter, palette: Palette = LIGHT) -> str:
    """Points by group, front as a dotted step line, limits as dashed lines."""
    height, left, right, top, bottom = 400, 70, 20, 20, 80
    root = _root(height, scatter.alt)
    if not scatter.points:
        return _write(root)
    x_of = _axis([p.x for p in scatter.points] + _of(scatter, "x"), left, _WIDTH - right, log=scatter.log_x)
    y_of = _axis([p.y for p in scatter.points] + _of(scatter, "y"), height - bottom, top, log=scatter.log_y)
    _frame(root, scatter, (x_of, y_of), (left, _WIDTH - right, top, height - bottom), palette)
    for a, b in zip(scatter.front, scatter.front[1:], strict=False):
        _line(root, x_of(a[0]), y_of(a[1]), x_of(b[0]), y_of(a[1]), palette.muted, dash="2 4")
        _line(root, x_of(b[0]), y_of(a[1]), x_of(b[0]), y_of(b[1]), palette.muted, dash="2 4")
    groups = list(dict.fromkeys(point.group for point in scatter.points))
    for point in scatter.points:
        _dot(
            root, x_of(point.x), y_of(point.y), 7 if point.emphasis else 4, palette.category(groups.index(point.group))
        )
    for limit in scatter.limits:
        colour = palette.tone(Tone.BAD)
        if limit.axis == "x":
            x = x_of(limit.value)
            _line(root, x, top, x, height - bottom, colour, dash="6 4")
            _text(root, x - 4, height - bottom - 6, limit.label, colour, anchor="end", size=11)
        else:
            _line(root, left, y_of(limit.value), _WIDTH - right, y_of(limit.value), colour, dash="6 4")
            _text(root, left + 4, y_of(limit.value) - 4, limit.label, colour, size=11)
    _group_legend(root, groups, height - 18, palette)
    return _write(root)


def lines_svg(lines: Lines, palette: Palette = LIGHT, *, width: int = 1060, height: int = 220) -> str:
    """Lines with their intervals as bands, from nought on; no legend, and plain axes."""
    left, right, top, bottom = 70, width - 20, 20, height - 40
    root = _root(height, lines.alt, width)
    root.set("font-family", FONT_FAMILY)  # a picture inherits none
    points = tuple(Point(line.label, x, y, line.label, line.label) for line in lines.lines for x, y in _marks(line))
    if not points:
        return _write(root)
    x_of = _axis([p.x for p in points], left, right, log=False)
    y_of = _axis([0.0, *(p.y for p in points)], bottom, top, log=False)
    inside = tuple(p for p in points if p.y >= 0)
    ground = Point("", points[0].x, 0.0, "", "")
    frame = Scatter(lines.title, "", lines.alt, lines.x_label, lines.y_label, (ground, *inside))
    _frame(root, frame, (x_of, y_of), (left, right, top, bottom), palette)
    for line in lines.lines:
        colour, ends = palette.tone(line.tone), [*zip(line.x, line.low, strict=False)]
        ends += reversed([*zip(line.x, line.high, strict=False)])
        _path(root, "polygon", [(x_of(x), y_of(y)) for x, y in ends], {"fill": colour, "fill-opacity": "0.15"})
        middle = [(x_of(x), y_of(y)) for x, y in zip(line.x, line.y, strict=True)]
        _path(root, "polyline", middle, {"fill": "none", "stroke": colour, "stroke-width": "2"})
        for x, y in middle if len(middle) <= _FEW_DOTS else ():
            _dot(root, x, y, 3, colour)
    return _write(root)


def _marks(line: Line) -> list[tuple[float, float]]:
    return [(x, y) for values in (line.y, line.low, line.high) for x, y in zip(line.x, values, strict=False)]


def _path(root: Element, kind: str, points: Sequence[tuple[float, float]], style: dict[str, str]) -> None:
    if points:
        SubElement(root, kind, {"points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points), **style})


def tree_svg(tree: Tree, palette: Palette = LIGHT) -> str:
    """Boxes in columns; the path taken is thick and coloured."""
    column, row, box, tall = 330, 62, 230, 42
    depth = max((node.x for node in tree.nodes), default=0)
    rows = max((node.y for node in tree.nodes), default=0)
    root = _root(int(rows * row + tall + 30), tree.alt, width=int(depth * column + box + 20))
    places = {node.id: (10 + node.x * column, 15 + node.y * row) for node in tree.nodes}
    accent = palette.tone(Tone.ACCENT)
    for edge in tree.edges:
        (x0, y0), (x1, y1) = places[edge.source], places[edge.target]
        colour, width = (accent, 2.5) if edge.on_path else (palette.border, 1.2)
        down = x0 == x1
        start = (x0 + box / 2, y0 + tall) if down else (x0 + box, y0 + tall / 2)
        end = (x1 + box / 2, y1) if down else (x1, y1 + tall / 2)
        _line(root, *start, *end, colour, width=width)
        anchor, at = ("start", (end[0] + 6, end[1] - 6)) if down else ("end", (end[0] - 6, end[1] - 6))
        _text(root, *at, edge.label, palette.muted, anchor=anchor, size=11)
    for node in tree.nodes:
        _box(root, node, places[node.id], (box, tall), palette)
    return _write(root)


def _box(root: Element, node: Node, place: tuple[float, float], size: tuple[int, int], palette: Palette) -> None:
    (x, y), (box, tall), accent = place, size, palette.tone(Tone.ACCENT)
    chosen = node.on_path and node.leaf
    rect = _rect(root, x, y, box, tall, accent if chosen else palette.surface, radius=6)
    rect.set("stroke", accent if node.on_path else palette.border)
    lines = _wrapped(node.label, 38)[:2]
    for index, line in enumerate(lines):
        middle = y + tall / 2 + 4 - 7 * (len(lines) - 1) + 14 * index
        _text(root, x + box / 2, middle, line, "#FFFFFF" if chosen else palette.text, anchor="middle", size=11)


def _root(height: int, alt: str, width: int = _WIDTH) -> Element:
    root = Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}", "role": "img", "width": "100%"},
    )
    SubElement(root, "title").text = alt
    return root


def _write(root: Element) -> str:
    return tostring(root, encoding="unicode")


def _text(root: Element, x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: int = 13) -> None:
    style = {"x": f"{x:.1f}", "y": f"{y:.1f}", "fill": colour, "text-anchor": anchor, "font-size": str(size)}
    SubElement(root, "text", style).text = text


def _rect(root: Element, x: float, y: float, width: float, height: float, fill: str, radius: int = 2) -> Element:
    numbers = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{max(0.0, width):.1f}", "height": f"{height:.1f}"}
    return SubElement(root, "rect", {**numbers, "fill": fill, "rx": str(radius)})


def _line(
    root: Element, x0: float, y0: float, x1: float, y1: float, colour: str, *, width: float = 1, dash: str = ""
) -> None:
    ends = {"x1": f"{x0:.1f}", "y1": f"{y0:.1f}", "x2": f"{x1:.1f}", "y2": f"{y1:.1f}"}
    style = {"stroke": colour, "stroke-width": str(width)} | ({"stroke-dasharray": dash} if dash else {})
    SubElement(root, "line", {**ends, **style})


def _dot(root: Element, x: float, y: float, radius: float, colour: str) -> None:
    SubElement(root, "circle", {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": str(radius), "fill": colour, "stroke": "#FFF"})


def _legend(root: Element, bars: Bars, y: float, palette: Palette) -> None:
    parts = dict.fromkeys((s.label, s.tone) for bar in bars.bars for s in bar.segments)
    x = 110.0
    for label, tone in parts:
        _rect(root, x, y - 9, 11, 11, palette.tone(tone)).set("stroke", palette.border)
        _text(root, x + 16, y + 1, label, palette.text, size=12)
        x += 34 + _text_width(label)


def _group_legend(root: Element, groups: Sequence[str], y: float, palette: Palette) -> None:
    x = 70.0
    for index, group in enumerate(groups):
        if x + _text_width(group) > _WIDTH:
            break
        _dot(root, x, y - 4, 4, palette.category(index))
        _text(root, x + 9, y, group, palette.text, size=11)
        x += 28 + _text_width(group)


def _text_width(text: str) -> float:
    return sum(12.5 if ord(char) > 0x2E7F else 6.8 for char in text)


def _wrapped(text: str, limit: int) -> list[str]:
    """Lines of at most `limit` Latin characters; a Chinese one counts twice."""
    lines, line, used = [], "", 0
    for word in text.split(" ") if " " in text else list(text):
        size = sum(2 if ord(char) > 0x2E7F else 1 for char in word) + 1
        if line and used + size > limit:
            lines.append(line)
            line, used = "", 0
        line += (" " if line and " " in text else "") + word
        used += size
    return [*lines, line]


def _of(scatter: Scatter, axis: str) -> list[float]:
    return [limit.value for limit in scatter.limits if limit.axis == axis]


def _axis(values: Sequence[float], start: float, end: float, *, log: bool) -> Callable[[float], float]:
    """Position of a value; one margin of 4 % on each side."""
    change: Callable[[float], float] = math.log10 if log else float
    low, high = min(map(change, values)), max(map(change, values))
    span = (high - low) or 1.0
    return lambda value: start + (end - start) * (0.04 + 0.92 * (change(value) - low) / span)


def _frame(
    root: Element,
    scatter: Scatter,
    axes: tuple[Callable[[float], float], Callable[[float], float]],
    box: tuple[float, float, float, float],
    palette: Palette,
) -> None:
    (x_of, y_of), (left, right, top, bottom) = axes, box
    xs, ys = [p.x for p in scatter.points], [p.y for p in scatter.points]
    for value, text in (decades if scatter.log_x else ticks)(xs + _of(scatter, "x")):
        _line(root, x_of(value), top, x_of(value), bottom, palette.border)
        _text(root, x_of(value), bottom + 16, text, palette.muted, anchor="middle", size=11)
    for value, text in (decades if scatter.log_y else ticks)(ys + _of(scatter, "y")):
        _line(root, left, y_of(value), right, y_of(value), palette.border)
        _text(root, left - 6, y_of(value) + 4, text, palette.muted, anchor="end", size=11)
    _text(root, (left + right) / 2, bottom + 34, scatter.x_label, palette.muted, anchor="middle", size=12)
    _text(root, left, top - 6, scatter.y_label, palette.muted, size=12)
