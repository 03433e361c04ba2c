"""Bytes against published file sizes, caches, buffers and peaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from advisor.catalog.paths import DATA_DIR
from advisor.evidence.memory_scores import memory_scores, stored_memory_scores
from advisor.evidence.memory_truth import MemoryPrediction, predict_memory_rows
from advisor.report.figures import Point, Scatter
from advisor.report.numbers import bytes_text, percent_text
from advisor.ui import backend
from advisor.ui.accuracy_weights import weights
from advisor.ui.text import plain, t
from advisor.ui.widgets import chart

__all__ = ["memory"]


def memory() -> None:
    rows = _rows()
    known = [row for row in rows if row.predicted_bytes is not None]
    event = chart(_scatter(known), key="accuracy.memory", selectable=True, height=440)
    _picked(known, event)
    _table(rows)
    weights(rows)
    st.caption(_held_out())
    missing = [row for row in rows if row.predicted_bytes is None]
    if missing:
        st.caption(t("accuracy.unpredicted", count=len(missing)))
        for row in missing:
            st.caption(f"{plain(row.id)}: {plain(row.unpredicted_reason)}")


@st.cache_resource(show_spinner=False)
def _rows() -> tuple[MemoryPrediction, ...]:
    return tuple(predict_memory_rows(DATA_DIR / "truth" / "memory.csv", backend.catalog()))


def _scatter(rows: Sequence[MemoryPrediction]) -> Scatter:
    points = tuple(
        Point(
            id=row.id,
            x=row.measured_bytes,
            y=row.predicted_bytes or 0.0,
            label=f"{bytes_text(row.measured_bytes)} → {bytes_text(row.predicted_bytes or 0)}",
            group=t(f"truth_bytes.{row.what}"),
        )
        for row in rows
    )
    name = t("accuracy.bytes")
    return Scatter(
        title=t("accuracy.memory_title"),
        hint=t("accuracy.memory_hint"),
        alt=t("accuracy.scatter_alt", name=name, count=len(points)),
        x_label=t("accuracy.measured", name=name),
        y_label=t("accuracy.predicted", name=name),
        points=points,
        log_x=True,
        log_y=True,
        diagonal=True,
    )


def _table(rows: Sequence[MemoryPrediction]) -> None:
    frame = pd.DataFrame(
        [
            {
                "what": t(f"truth_bytes.{score.what}"),
                "rows": score.rows,
                "missing": score.unpredicted,
                "median": score.median_error,
                "tail": score.p90_error,
                "coverage": score.coverage_90,
            }
            for score in memory_scores(rows)
        ]
    )
    column = st.column_config
    st.dataframe(
        frame,
        key="accuracy.memory_table",
        hide_index=True,
        column_config={
            "what": column.TextColumn(t("accuracy.what"), pinned=True),
            "rows": column.NumberColumn(t("accuracy.rows")),
            "missing": column.NumberColumn(t("accuracy.missing")),
            "median": column.NumberColumn(t("accuracy.median_error"), format="percent"),
            "tail": column.NumberColumn(t("accuracy.tail_error"), format="percent"),
            "coverage": column.NumberColumn(t("accuracy.coverage"), format="percent"),
        },
        alt=t("accuracy.memory_alt"),
    )


def _held_out() -> str:
    """What fits scored that had not seen the model, or the source."""
    stored = stored_memory_scores()
    model, source = stored["by_model"]["all"], stored["by_source"]["all"]
    return t(
        "accuracy.memory_held_out",
        rows=model["rows"],
        median=f"{model['median_error']:.1%}",
        within=percent_text(model["within_20_percent"]),
        rows2=source["rows"],
        median2=f"{source['median_error']:.1%}",
        within2=percent_text(source["within_20_percent"]),
    )


def _picked(rows: Sequence[MemoryPrediction], event: Any) -> None:
    wanted = {point.get("customdata") for point in event.selection.points}
    for row in (row for row in rows if row.id in wanted):
        interval = f"{bytes_text(row.low or 0)} – {bytes_text(row.high or 0)}"
        with st.container(border=True):
            st.markdown(
                t(
                    "accuracy.point",
                    name=t(f"truth_bytes.{row.what}"),
                    measured=bytes_text(row.measured_bytes),
                    predicted=bytes_text(row.predicted_bytes or 0),
                    interval=interval,
                )
            )
            st.caption(t("accuracy.point_source", id=plain(row.id), source=plain(row.source)))
