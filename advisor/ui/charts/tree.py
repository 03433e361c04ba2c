"""The decision tree as an ECharts graph, placed here: the default view stretches nodes and text.

Boxes are the backgrounds of labels, because a symbol that is wider than high gets distorted corners. Words beside an
edge are nodes without a box, after all others, so that positions in `Tree.nodes` stay those of a selection.
"""

from __future__ import annotations

from typing import Any

from advisor.report.figures import Edge, Node, Tree
from advisor.report.palette import FONT_FAMILY, Palette, Tone

__all__ = ["tree_option", "tree_size"]

_ROW, _COLUMN, _BOX = 84, 354, (226, 40)
_INK_ON_ACCENT, _CLEAR = "#FFFFFF", "rgba(0,0,0,0)"


def tree_size(tree: Tree) -> tuple[int, int]:
    """Least width, and height, in pixels that keep the boxes apart; a narrow screen scrolls."""
    columns = max((node.x for node in tree.nodes), default=0.0)
    rows = max((node.y for node in tree.nodes), default=0.0)
    return int(columns * _COLUMN + _BOX[0] + 30), int(rows * _ROW + _BOX[1] + 30)


def tree_option(tree: Tree, palette: Palette) -> dict[str, Any]:
    """`selection.selected[0].data_indices` of a click are positions in `tree.nodes`."""
    places = {node.id: node for node in tree.nodes}
    words = [_words(edge, places[edge.source], places[edge.target], palette) for edge in tree.edges]
    hidden = {"show": False, "type": "value", "min": 0}
    across, down = _BOX[0] / 2 + 14, _BOX[1] / 2 + 14
    return {
        "animation": False,
        "grid": {"left": across, "right": across, "top": down, "bottom": down},
        "xAxis": {**hidden, "max": max([1.0, *(node.x for node in tree.nodes)])},
        "yAxis": {**hidden, "max": max([1.0, *(node.y for node in tree.nodes)]), "inverse": True},
        "series": [
            {
                "type": "graph",
                "coordinateSystem": "cartesian2d",
                "symbol": "rect",
                "selectedMode": "single",
                "edgeSymbol": ["none", "none"],
                "data": [*(_node(node, palette) for node in tree.nodes), *words],
                "links": [_link(edge, palette) for edge in tree.edges],
            }
        ],
    }


def _node(node: Node, palette: Palette) -> dict[str, Any]:
    accent = "#3B5BDB" if node.on_path and node.leaf else palette.tone(Tone.ACCENT)
    fill = (accent if node.leaf else palette.surface) if node.on_path else palette.background
    ink = _INK_ON_ACCENT if node.on_path and node.leaf else palette.text if node.on_path else palette.muted
    return {
        "id": node.id,
        "name": node.id,
        "value": [node.x, node.y],
        "symbolSize": list(_BOX),
        "itemStyle": {"color": _CLEAR},
        "label": {
            "show": True,
            "position": "inside",
            "formatter": node.label,
            "color": ink,
            "fontFamily": FONT_FAMILY,
            "fontSize": 12,
            "lineHeight": 15,
            "width": _BOX[0] - 10,
            "overflow": "break",
            "align": "center",
            "verticalAlign": "middle",
            "backgroundColor": fill,
            "borderColor": accent if node.on_path else palette.border,
            "borderWidth": 2 if node.on_path else 1,
            "borderRadius": 7,
            "padding": [9, 5],
        },
    }


def _words(edge: Edge, source: Node, target: Node, palette: Palette) -> dict[str, Any]:
    """The branch's label: right of a line that goes down, above a line that goes right."""
    goes_down = source.x == target.x
    dx, dy = (8 / _COLUMN, 0.5) if goes_down else (_BOX[0] / 2 / _COLUMN + 0.01, -0.13)
    return {
        "id": f"{edge.source}>{edge.target}",
        "name": f"{edge.source}>{edge.target}",
        "value": [source.x + dx, source.y + dy],
        "symbolSize": 1,
        "itemStyle": {"color": _CLEAR},
        "label": {
            "show": True,
            "position": "right",
            "distance": 0,
            "formatter": edge.label,
            "fontFamily": FONT_FAMILY,
            "fontSize": 11,
            "color": palette.text if edge.on_path else palette.muted,
        },
    }


def _link(edge: Edge, palette: Palette) -> dict[str, Any]:
    colour = palette.tone(Tone.ACCENT) if edge.on_path else palette.border
    width = 2.5 if edge.on_path else 1.2
    return {
        "source": edge.source,
        "target": edge.target,
        "lineStyle": {"color": colour, "width": width, "opacity": 1},
    }
