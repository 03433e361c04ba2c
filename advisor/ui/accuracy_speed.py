"""Speed against public measurements: held-out scores, the points, and the cells with the worst ones first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from advisor.catalog.files import DataFile, read_yaml
from advisor.catalog.paths import DATA_DIR
from advisor.evidence.validate import Predicted, Validation, validate_throughput
from advisor.report.figures import Point, Scatter
from advisor.report.numbers import number, percent_text
from advisor.sizing.efficiency import CALIBRATION_FILE
from advisor.ui import backend
from advisor.ui.text import plain, t
from advisor.ui.widgets import chart, empty_state

__all__ = ["held_out_cards", "speed"]

MAX_POINTS = 400
SMALL_CELL = 10


def held_out_cards() -> None:
    """What the calibration scored on rows that it had not seen. Stored by the fit itself."""
    scheme = st.segmented_control(
        t("accuracy.scheme"),
        ("by_group", "by_device"),
        default="by_group",
        format_func=lambda name: t(f"accuracy.{name}"),
        key="accuracy.scheme",
        required=True,
        help=t("accuracy.scheme_help"),
    )
    found = _held_out()[str(scheme)]
    with st.grid(4, min_column_width=180):
        st.metric(
            t("accuracy.typical"),
            f"× {2 ** found['median_abs_log2']:.2f}",
            border=True,
            help=t("accuracy.typical_help"),
        )
        st.metric(t("accuracy.within_20"), percent_text(found["within_20_percent"]), border=True)
        st.metric(t("accuracy.within_2x"), percent_text(found["within_2x"]), border=True)
        st.metric(
            t("accuracy.coverage"), percent_text(found["coverage_90"]), border=True, help=t("accuracy.coverage_help")
        )
    st.caption(t("accuracy.held_out", rows=f"{found['rows']:,}", cells=found["cells"], missing=found["unpredicted"]))


def speed() -> None:
    found = _validation()
    metrics = sorted({row.metric for row in found.rows})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = st.selectbox(
            t("accuracy.metric"),
            metrics,
            index=metrics.index("decode_tok_s") if "decode_tok_s" in metrics else 0,
            format_func=lambda name: t(f"accuracy.metric_name.{name}"),
            key="accuracy.metric",
            width=260,
        )
        classes = sorted({row.device_class for row in found.rows})
        chosen = st.multiselect(
            t("accuracy.devices"),
            classes,
            format_func=_device,
            key="accuracy.devices",
            placeholder=t("form.choose"),
            width=320,
        )
        models = sorted({row.model_class for row in found.rows})
        kinds = st.multiselect(
            t("accuracy.models"),
            models,
            format_func=_model,
            key="accuracy.models",
            placeholder=t("form.choose"),
            width=320,
        )
    rows = [r for r in found.rows if r.metric == metric and (not chosen or r.device_class in chosen)]
    rows = [r for r in rows if not kinds or r.model_class in kinds]
    if not rows:
        empty_state(t("accuracy.none_title"), t("accuracy.none_text"), icon="filter_alt_off")
        return
    event = chart(_scatter(rows, str(metric)), key=f"accuracy.scatter.{metric}", selectable=True, height=460)
    _picked(rows, event)
    _cells(found)
    _coverage()


@st.cache_resource(show_spinner=False)
def _validation() -> Validation:
    return validate_throughput(DATA_DIR / "truth" / "throughput.csv", backend.catalog())


@st.cache_resource(show_spinner=False)
def _held_out() -> Mapping[str, Any]:
    content = read_yaml(DataFile(CALIBRATION_FILE, "data/calibration.yaml", True))
    found: Mapping[str, Any] = content["cross_validated"]  # type: ignore[index]
    return found


def _scatter(rows: Sequence[Predicted], metric: str) -> Scatter:
    known = [row for row in rows if row.predicted is not None]
    step = max(1, len(known) // MAX_POINTS)
    points = tuple(
        Point(
            id=row.id,
            x=row.measured,
            y=row.predicted or 0.0,
            label=f"{_model(row.model_class)}<br>{number(row.measured)} → {number(row.predicted or 0)}",
            group=_device(row.device_class),
        )
        for row in known[::step]
    )
    name = t(f"accuracy.metric_name.{metric}")
    return Scatter(
        title=t("accuracy.scatter_title"),
        hint=t("accuracy.scatter_hint", shown=len(points), rows=len(rows)),
        alt=t("accuracy.scatter_alt", name=name, count=len(points)),
        x_label=t("accuracy.measured", name=name),
        y_label=t("accuracy.predicted", name=name),
        points=points,
        log_x=True,
        log_y=True,
        diagonal=True,
    )


def _picked(rows: Sequence[Predicted], event: Any) -> None:
    wanted = {point.get("customdata") for point in event.selection.points}
    for row in (row for row in rows if row.id in wanted):
        interval = f"{number(row.low or 0)} – {number(row.high or 0)}"
        st.markdown(f"**{plain(row.id)}** · {number(row.measured)} · {number(row.predicted or 0)} ({interval})")
        st.caption(plain(row.source))


def _cells(found: Validation) -> None:
    """Worst first; cells of few rows say little and are marked by their count."""
    st.markdown(f"**{t('accuracy.cells_title')}**")
    st.caption(t("accuracy.cells_hint"))
    ordered = sorted(found.cells, key=lambda c: (c.rows < SMALL_CELL, -c.median_abs_log2))
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
        key="accuracy.cells",
        hide_index=True,
        height=360,
        column_config={
            "device": column.TextColumn(t("column.device"), pinned=True),
            "model": column.TextColumn(t("column.variant")),
            "metric": column.TextColumn(t("accuracy.metric")),
            "rows": column.NumberColumn(t("accuracy.rows")),
            "typical": column.NumberColumn(t("accuracy.typical"), format="× %.2f"),
            "bias": column.NumberColumn(t("accuracy.bias"), format="× %.2f"),
            "within_20": column.NumberColumn(t("accuracy.within_20"), format="percent"),
            "coverage": column.NumberColumn(t("accuracy.coverage"), format="percent"),
        },
        alt=t("accuracy.cells_alt", count=len(ordered)),
    )


def _coverage() -> None:
    st.markdown(f"**{t('accuracy.coverage_title')}**")
    st.caption(t("accuracy.coverage_hint"))
    columns = {name: scores["coverage_by_class"] for name, scores in _held_out().items()}
    classes = sorted(columns["by_group"])
    rows = {t("column.device"): [_device(name) for name in classes]}
    for scheme, shares in columns.items():
        rows[t(f"accuracy.{scheme}")] = [percent_text(shares[name]) if name in shares else "–" for name in classes]
    st.table(rows, border="horizontal", hide_index=True, alt=t("accuracy.coverage_title"))


def _device(name: str) -> str:
    return t(f"truth_device.{name}")


def _model(name: str) -> str:
    return t(f"truth_model.{name}")
