"""Where predictions of speed are worst: cells, sources, kinds of device, and what each term of the model is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from advisor.evidence.ablation_file import StoredAblation, stored_ablations
from advisor.evidence.held_out import HeldOut, worst_groups
from advisor.evidence.scores import SMALL_CELL, Cell, Summary
from advisor.report.numbers import percent_text
from advisor.ui.text import t

__all__ = ["ablations", "cells", "chosen_cell", "coverage", "groups"]

_WORST = 12


def chosen_cell(found: Sequence[Cell], scheme: str) -> Cell | None:
    """The cell whose row is selected in the table, which is drawn further down the page."""
    state = st.session_state.get(_cells_key(scheme))
    rows = state.selection.rows if state else []
    ordered = _worst_first(found)
    return ordered[rows[0]] if rows and rows[0] < len(ordered) else None


def cells(found: Sequence[Cell], scheme: str) -> None:
    """Worst first; cells of few rows say little and are marked by their count."""
    st.markdown(f"**{t('accuracy.cells_title')}**")
    st.caption(t("accuracy.cells_hint"))
    ordered = _worst_first(found)
    frame = pd.DataFrame(
        [
            {
                "device": _device(c.device_class),
                "model": _model(c.model_class),
                "metric": t(f"accuracy.metric_name.{c.metric}"),
                "rows": c.rows,
                "typical": 2**c.median_abs_log2,
                "bias": 2**c.bias_log2,
                "within_20": c.within_20_percent,
                "coverage": c.coverage_90,
            }
            for c in ordered
        ]
    )
    column = st.column_config
    st.dataframe(
        frame,
        key=_cells_key(scheme),
        hide_index=True,
        height=360,
        column_config={
            "device": column.TextColumn(t("column.device"), pinned=True),
            "model": column.TextColumn(t("column.variant")),
            "metric": column.TextColumn(t("accuracy.metric")),
            "rows": column.NumberColumn(t("accuracy.rows")),
            "typical": column.NumberColumn(t("accuracy.typical"), format="× %.2f"),
            "bias": column.NumberColumn(t("accuracy.bias"), format="× %.2f", help=t("accuracy.bias_help")),
            "within_20": column.NumberColumn(t("accuracy.within_20"), format="percent"),
            "coverage": column.NumberColumn(t("accuracy.coverage"), format="percent"),
        },
        alt=t("accuracy.cells_alt", count=len(ordered)),
        on_select="rerun",
        selection_mode="single-row",
    )


def groups(found: HeldOut, scheme: str) -> None:
    """The sources that we predict worst, by name."""
    st.markdown(f"**{t('accuracy.groups_title')}**")
    st.caption(t("accuracy.groups_hint"))
    worst = worst_groups(found)[:_WORST]
    frame = pd.DataFrame(
        [
            {
                "group": " · ".join(g.group.split("|")),
                "rows": g.rows,
                "typical": 2**g.median_abs_log2,
                "bias": 2**g.bias_log2,
                "source": g.source,
            }
            for g in worst
        ]
    )
    column = st.column_config
    st.dataframe(
        frame,
        key=f"accuracy.groups.{scheme}",
        hide_index=True,
        column_config={
            "group": column.TextColumn(t("accuracy.group"), pinned=True, width="large"),
            "rows": column.NumberColumn(t("accuracy.rows")),
            "typical": column.NumberColumn(t("accuracy.typical"), format="× %.2f"),
            "bias": column.NumberColumn(t("accuracy.bias"), format="× %.2f", help=t("accuracy.bias_help")),
            "source": column.TextColumn(t("sources.source")),
        },
        alt=t("accuracy.groups_title"),
    )


def coverage(summaries: Mapping[str, Summary]) -> None:
    """Share inside the interval by kind of device, for each scheme."""
    st.markdown(f"**{t('accuracy.coverage_title')}**")
    st.caption(t("accuracy.coverage_hint"))
    classes = sorted({name for summary in summaries.values() for name in summary.coverage_by_class})
    rows = {t("column.device"): [_device(name) for name in classes]}
    for scheme, summary in summaries.items():
        shares = summary.coverage_by_class
        rows[t(f"accuracy.{scheme}")] = [percent_text(shares[name]) if name in shares else "–" for name in classes]
    st.table(rows, border="horizontal", hide_index=True, alt=t("accuracy.coverage_title"))


def ablations(scheme: str) -> None:
    """What leaving out each term does to the held-out score; nothing where the table was never made."""
    found = [item for item in _ablations() if f"by_{item.scheme}" == scheme]
    full = next((item for item in found if not item.left_out), None)
    if full is None:
        return
    st.markdown(f"**{t('accuracy.ablation_title')}**")
    st.caption(t("accuracy.ablation_hint"))
    ordered = [full, *sorted((i for i in found if i.left_out), key=lambda i: -i.mean_cell_median)]
    frame = pd.DataFrame(
        [
            {
                "left_out": item.left_out or t("accuracy.all_terms"),
                "cells": item.mean_cell_median,
                "change": item.mean_cell_median - full.mean_cell_median,
                "within_20": item.within_20_percent,
                "within_2x": item.within_2x,
            }
            for item in ordered
        ]
    )
    column = st.column_config
    st.dataframe(
        frame,
        key=f"accuracy.ablation.{scheme}",
        hide_index=True,
        height=360,
        column_config={
            "left_out": column.TextColumn(t("accuracy.left_out"), pinned=True),
            "cells": column.NumberColumn(t("accuracy.cell_error"), format="%.3f"),
            "change": column.NumberColumn(t("accuracy.change"), format="%+.3f"),
            "within_20": column.NumberColumn(t("accuracy.within_20"), format="percent"),
            "within_2x": column.NumberColumn(t("accuracy.within_2x"), format="percent"),
        },
        alt=t("accuracy.ablation_title"),
    )


@st.cache_resource(show_spinner=False)
def _ablations() -> tuple[StoredAblation, ...]:
    return stored_ablations()


def _worst_first(found: Sequence[Cell]) -> list[Cell]:
    return sorted(found, key=lambda c: (c.rows < SMALL_CELL, -c.median_abs_log2))


def _cells_key(scheme: str) -> str:
    return f"accuracy.cells.{scheme}"


def _device(name: str) -> str:
    return t(f"truth_device.{name}")


def _model(name: str) -> str:
    return t(f"truth_model.{name}")
