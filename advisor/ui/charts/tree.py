"""The decision tree as an ECharts graph, placed here: the default view stretches nodes and text."""

from __future__ import annotations

from typing import Any

from advisor.report.figures import Edge, Node, Tree
from advisor.report.palette import FONT_FAMILY, Palette, Tone

__all__ = ["tree_option", "tree_size"]

_ROW_PIXELS, _COLUMN_PIXELS, _BOX = 66, 330, (220, 44)


def tree_size(tree: Tree) -> tuple[int, int]:
    """Width and height in pixels that keep the boxes apart; a narrow screen scrolls."""
    columns = max((node.x for node in tree.nodes), default=0.0)
    rows = max((node.y for node in tree.nodes), default=0.0)
    return int(columns * _COLUMN_PIXELS + _BOX[0] + 20), int(rows * _ROW_PIXELS + _BOX[1] + 20)


def tree_option(tree: Tree, palette: Palette) -> dict[str, Any]:
    """`selection.selected[0].data_indices` of a click are positions in `tree.nodes`."""
    depth = max((node.x for node in tree.nodes), default=1.0)
    rows = max((node.y for node in tree.nodes), default=1.0)
    hidden = {"show": False, "type": "value"}
    return {
        "animationDuration": 250,
        "grid": {
            "left": _BOX[0] / 2 + 10,
            "right": _BOX[0] / 2 + 10,
            "top": _BOX[1] / 2 + 10,
            "bottom": _BOX[1] / 2 + 10,
        },
        "xAxis": {**hidden, "min": 0, "max": max(1.0, depth)},
        "yAxis": {**hidden, "min": 0, "max": max(1.0, rows), "inverse": True},
        "series": [
            {
                "type": "graph",
                "coordinateSystem": "cartesian2d",
                "symbol": "roundRect",
                "selectedMode": "single",
                "silent": False,
                "edgeSymbol": ["none", "arrow"],
                "edgeSymbolSize": 7,
                "data": [_node(node, palette) for node in tree.nodes],
                "links": [_edge(edge, palette) for edge in tree.edges],
            }
        ],
    }


def _node(node: Node, palette: Palette) -> dict[str, Any]:
    accent = palette.tone(Tone.ACCENT)
    fill = (accent if node.leaf else palette.surface) if node.on_path else palette.background
    ink = "#FFFFFF" if node.on_path and node.leaf else palette.text if node.on_path else palette.muted
    return {
        "id": node.id,
        "name": node.id,
        "value": [node.x, node.y],
        "symbolSize": list(_BOX),
        "itemStyle": {
            "color": fill,
            "borderColor": accent if node.on_path else palette.border,
            "borderWidth": 2 if node.on_path else 1,
        },
        "label": {
            "show": True,
            "formatter": node.label,
            "color": ink,
            "fontFamily": FONT_FAMILY,
            "fontSize": 12,
            "width": _BOX[0] - 16,
            "overflow": "break",
            "lineHeight": 15,
        },
    }


def _edge(edge: Edge, palette: Palette) -> dict[str, Any]:
    colour = palette.tone(Tone.ACCENT) if edge.on_path else palette.border
    return {
        "source": edge.source,
        "target": edge.target,
        "lineStyle": {"color": colour, "width": 2.5 if edge.on_path else 1.2},
        "label": {
            "show": bool(edge.label),
            "formatter": edge.label,
            "fontSize": 11,
            "color": palette.text if edge.on_path else palette.muted,
            "fontFamily": FONT_FAMILY,
        },
    }
