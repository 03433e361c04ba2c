"""Bytes against published file sizes, caches, buffers and peaks."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import pandas as pd
import streamlit as st

from advisor.catalog.paths import DATA_DIR
from advisor.evidence.memory_truth import MemoryPrediction, predict_memory_rows
from advisor.report.figures import Point, Scatter
from advisor.report.numbers import bytes_text
from advisor.ui import backend
from advisor.ui.text import plain, t
from advisor.ui.widgets import chart

__all__ = ["memory"]


def memory() -> None:
    rows = _rows()
    known = [row for row in rows if row.predicted_bytes is not None]
    chart(_scatter(known), key="accuracy.memory", height=440)
    _table(known)
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
    groups = {what: [row for row in rows if row.what == what] for what in sorted({row.what for row in rows})}
    frame = pd.DataFrame(
        [
            {
                "what": t(f"truth_bytes.{what}"),
                "rows": len(found),
                "median": median(_errors(found)),
                "tail": _errors(found)[min(int(0.9 * len(found)), len(found) - 1)],
                "coverage": sum((r.low or 0) <= r.measured_bytes <= (r.high or 0) for r in found) / len(found),
            }
            for what, found in groups.items()
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
            "median": column.NumberColumn(t("accuracy.median_error"), format="percent"),
            "tail": column.NumberColumn(t("accuracy.tail_error"), format="percent"),
            "coverage": column.NumberColumn(t("accuracy.coverage"), format="percent"),
        },
        alt=t("accuracy.memory_alt"),
    )


def _errors(rows: Sequence[MemoryPrediction]) -> list[float]:
    """Relative errors, ascending."""
    return sorted(abs((row.predicted_bytes or 0.0) / row.measured_bytes - 1) for row in rows)
