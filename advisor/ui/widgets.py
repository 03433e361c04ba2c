"""Parts that several pages share: header, badges, cards for empty and error states, charts with their title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.catalog.quantity import Basis, Quantity
from advisor.report.figures import Bars, Grid, Lines, Scatter, Tree
from advisor.report.numbers import interval_text, value_text
from advisor.report.problems import problem_text
from advisor.report.source_text import source_text
from advisor.report.svg import lines_svg
from advisor.ui import state
from advisor.ui.charts import bars_figure, grid_figure, lines_figure, scatter_figure, tree_option
from advisor.ui.charts.grid import grid_width
from advisor.ui.charts.tree import tree_size
from advisor.ui.text import language, plain, t
from advisor.ui.theme import PALETTES, mode, palette

__all__ = [
    "badges",
    "basis_badges",
    "chart",
    "chips",
    "empty_state",
    "key_values",
    "page_header",
    "problem_state",
    "sources",
    "still",
    "tree_chart",
    "wide_table",
]

_BASIS_LOOK = {
    Basis.EXACT: ("blue", "function"),
    Basis.MEASURED: ("green", "speed"),
    Basis.CALIBRATED: ("violet", "tune"),
    Basis.ESTIMATED: ("orange", "insights"),
    Basis.EXTRAPOLATED: ("gray", "help"),
}
_COLUMN_PX = 105  # holds "104 ms – 1.73 min" or a head of two words in two lines
_PLOTLY_CONFIG = {"displayModeBar": False, "scrollZoom": False}


def page_header(page: str) -> None:
    """Title and one sentence that says what the page is for; a link that could not be read is said here, once."""
    st.title(t(f"{page}.title"), anchor=False)
    st.caption(t(f"{page}.lead"))
    damaged = state.take_link_problem()
    if damaged:
        st.warning(t("problem.link", text=plain(damaged)), title=t("problem.link_title"), icon=":material/link_off:")


def basis_badges(quantities: Sequence[Quantity | None]) -> None:
    """How the numbers beside it are known: one badge per basis that occurs, worst last."""
    found = [basis for basis in Basis if any(q is not None and q.basis is basis for q in quantities)]
    badges([(t(f"basis.{basis}"), *_BASIS_LOOK[basis], t(f"basis.help.{basis}")) for basis in found])


def badges(items: Sequence[tuple[str, str, str, str]]) -> None:
    """(label, colour, icon, help) in a row."""
    with st.container(horizontal=True, gap="xsmall"):
        for label, colour, icon, text in items:
            st.badge(label, color=colour, icon=f":material/{icon}:", help=text or None)  # type: ignore[arg-type]


def chips(texts: Sequence[str]) -> None:
    """The inputs in one line, grey."""
    st.markdown(" ".join(f":gray-badge[{plain(text)}]" for text in texts))


def sources(quantities: Mapping[str, tuple[Quantity | None, str]], *, key: str) -> None:
    """A popover with value, 90 % interval, basis and formula or source of each number. Values: (quantity, unit)."""
    known = {label: pair for label, pair in quantities.items() if pair[0] is not None}
    with st.popover(t("sources.label"), icon=":material/fact_check:", type="tertiary", key=key):
        st.caption(t("sources.lead"))
        rows = {
            t("sources.number"): [plain(label) for label in known],
            t("sources.value"): [plain(value_text(q, unit)) for q, unit in known.values() if q],
            t("sources.interval"): [plain(interval_text(q, unit)) for q, unit in known.values() if q],
            t("sources.basis"): [t(f"basis.{q.basis}") for q, _ in known.values() if q],
            t("sources.source"): [plain(source_text(q.source, language())) or "–" for q, _ in known.values() if q],
        }
        st.table(rows, border="horizontal", alt=t("sources.alt"), hide_index=True)


def key_values(values: Mapping[str, str], *, alt: str) -> None:
    """A compact list of facts; keys and values are plain text."""
    st.table({plain(key): plain(value) for key, value in values.items()}, border="horizontal", width="stretch", alt=alt)


def wide_table(columns: Mapping[str, Sequence[str]], *, alt: str) -> None:
    """A table of many columns: on a narrow screen it keeps their width and scrolls sideways."""
    with st.grid(1, min_column_width=_COLUMN_PX * len(columns), wrap=False):
        st.table(dict(columns), border="horizontal", hide_index=True, alt=alt)


def empty_state(title: str, text: str, *, icon: str = "inbox") -> Any:
    """A bordered card that says what is missing. Returns the card, so that the caller can add a button or a list."""
    card = st.container(border=True)
    card.markdown(f"#### :material/{icon}: {title}")
    card.markdown(text)
    return card


def problem_state(problem: FathomError) -> None:
    """One clear message: what is wrong, where, and what to do next."""
    st.error(plain(problem_text(problem, language())), title=t("problem.title"), icon=":material/error:")
    st.caption(t("problem.next"))


def chart(
    figure: Bars | Lines | Scatter | Grid, *, key: str, selectable: bool = False, height: int | None = None
) -> Any:
    """The figure under its question and how to read it. Returns the selection event where `selectable`."""
    st.markdown(f"**{plain(figure.title)}**")
    if figure.hint:
        st.caption(plain(figure.hint))
    drawn = _drawn(figure, mode(), height)
    if isinstance(figure, Grid):
        with st.grid(1, min_column_width=grid_width(figure), wrap=False):  # a narrow screen scrolls
            return st.plotly_chart(drawn, theme=None, key=key, config=_PLOTLY_CONFIG, alt=figure.alt)
    if not selectable:
        return st.plotly_chart(drawn, theme=None, key=key, config=_PLOTLY_CONFIG, alt=figure.alt)
    return st.plotly_chart(
        drawn,
        theme=None,
        key=key,
        config=_PLOTLY_CONFIG,
        alt=figure.alt,
        on_select="rerun",
        selection_mode="points",
    )


def still(figure: Lines) -> None:
    """The figure as a picture: loading plotly and drawing with it takes seconds of the processor."""
    st.markdown(f"**{plain(figure.title)}**")
    st.image(_picture(figure, mode()), width="stretch", alt=figure.alt)


def tree_chart(tree: Tree, *, key: str) -> Any:
    """The decision tree; the caller adds the same path as text. Returns the selection event."""
    st.markdown(f"**{plain(tree.title)}**")
    st.caption(plain(tree.hint))
    option = tree_option(tree, palette())
    width, height = tree_size(tree)
    with st.grid(1, min_column_width=width, wrap=False):
        return st.echarts_chart(
            option, height=height, key=key, on_select="rerun", renderer="svg", theme=None, alt=tree.alt
        )


@lru_cache(maxsize=64)
def _picture(figure: Lines, mode: str) -> str:
    return lines_svg(figure, PALETTES[mode])


@lru_cache(maxsize=256)
def _drawn(figure: Bars | Lines | Scatter | Grid, mode: str, height: int | None) -> go.Figure:
    """Building a plotly figure takes 15-60 ms; an unchanged one is drawn once per process. Nobody changes it later."""
    colours = PALETTES[mode]
    if isinstance(figure, Bars):
        return bars_figure(figure, colours)
    if isinstance(figure, Grid):
        return grid_figure(figure, colours)
    extra = {"height": height} if height else {}
    return (
        lines_figure(figure, colours, **extra)
        if isinstance(figure, Lines)
        else scatter_figure(figure, colours, **extra)
    )
