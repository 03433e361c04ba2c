"""Figures as data (`advisor.report.figures`) → plotly figures and one ECharts option. Pure: no Streamlit, no state."""

from __future__ import annotations

from advisor.ui.charts.bars import bars_figure
from advisor.ui.charts.grid import grid_figure
from advisor.ui.charts.lines import lines_figure
from advisor.ui.charts.scatter import scatter_figure
from advisor.ui.charts.tree import tree_option

__all__ = ["bars_figure", "grid_figure", "lines_figure", "scatter_figure", "tree_option"]
