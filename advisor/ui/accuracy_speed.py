"""Speed against public measurements: every point predicted by coefficients that had not seen it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from advisor.catalog.text import name_in
from advisor.evidence.held_out import SCHEMES, HeldOut, held_out
from advisor.evidence.scores import Cell, Summary
from advisor.evidence.truth import OWN_PROBES_FILE, TruthRow
from advisor.evidence.validate import Predicted, Validation, validate_throughput
from advisor.report.figures import Point, Scatter
from advisor.report.numbers import number, percent_text
from advisor.ui import backend
from advisor.ui.accuracy_tables import ablations, cells, chosen_cell, coverage, groups
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import chart, empty_state

__all__ = ["held_out_cards", "speed"]

MAX_POINTS = 600


def held_out_cards() -> str:
    """What the calibration scored on rows that it had not seen. Returns the chosen scheme."""
    scheme = st.segmented_control(
        t("accuracy.scheme"),
        SCHEMES,
        default=SCHEMES[0],
        format_func=lambda name: t(f"accuracy.{name}"),
        key="accuracy.scheme",
        required=True,
        help=t("accuracy.scheme_help"),
    )
    found: Summary = _held_out(str(scheme)).validation.summary
    with st.grid(4, min_column_width=180):
        st.metric(
            t("accuracy.typical"), f"× {2**found.median_abs_log2:.2f}", border=True, help=t("accuracy.typical_help")
        )
        st.metric(t("accuracy.within_20"), percent_text(found.within_20_percent), border=True)
        st.metric(t("accuracy.within_2x"), percent_text(found.within_2x), border=True)
        st.metric(
            t("accuracy.coverage"), percent_text(found.coverage_90), border=True, help=t("accuracy.coverage_help")
        )
    st.caption(t("accuracy.held_out", rows=f"{found.rows:,}", cells=found.cells, missing=found.unpredicted))
    return str(scheme)


def speed(scheme: str) -> None:
    found = _held_out(scheme)
    cell = chosen_cell(found.validation.cells, scheme)
    rows = _filtered(found) if cell is None else _of_cell(found, cell)
    if not rows:
        empty_state(t("accuracy.none_title"), t("accuracy.none_text"), icon="filter_alt_off")
    else:
        metric = rows[0].metric
        event = chart(_scatter(rows, metric), key=f"accuracy.scatter.{scheme}.{metric}", selectable=True, height=460)
        _picked(rows, {row.id: row for row in found.truth}, event)
    cells(found.validation.cells, scheme)
    groups(found, scheme)
    coverage({name: _held_out(name).validation.summary for name in SCHEMES})
    ablations(scheme)
    _own_probes()


def _own_probes() -> None:
    """What this program measured itself on accelerators, against predictions made without it."""
    found = _own()
    s, devices = found.summary, sorted({row.device_class for row in found.rows})
    with st.expander(t("accuracy.own_probes"), icon=":material/memory:"):
        st.caption(
            t(
                "accuracy.own_probes_text",
                rows=s.rows,
                devices=", ".join(_device(name) for name in devices),
                typical=f"× {2**s.median_abs_log2:.2f}",
                coverage=percent_text(s.coverage_90),
            )
        )
        columns = {
            t("accuracy.metric"): [t(f"accuracy.metric_name.{row.metric}") for row in found.rows],
            t("accuracy.models"): [_model(row.model_class) for row in found.rows],
            t("accuracy.own_measured"): [number(row.measured) for row in found.rows],
            t("accuracy.own_predicted"): [
                f"{number(row.predicted or 0)} ({number(row.low or 0)}–{number(row.high or 0)})" for row in found.rows
            ],
            t("accuracy.own_source"): [plain(row.source) for row in found.rows],
        }
        st.dataframe(columns, hide_index=True, height=320, key="accuracy.own_probes", alt=t("accuracy.own_probes"))


@st.cache_resource(show_spinner=False)
def _own() -> Validation:
    return validate_throughput(OWN_PROBES_FILE, backend.catalog())


@st.cache_resource(show_spinner=False)
def _held_out(scheme: str) -> HeldOut:
    return held_out(scheme, backend.catalog())


def _of_cell(found: HeldOut, cell: Cell) -> list[Predicted]:
    """The rows of the cell that is selected in the table below, instead of the filters."""
    name = " · ".join((_device(cell.device_class), _model(cell.model_class), t(f"accuracy.metric_name.{cell.metric}")))
    st.info(t("accuracy.one_cell", name=name), icon=":material/filter_alt:")
    wanted = (cell.device_class, cell.model_class, cell.metric)
    return [r for r in found.validation.rows if (r.device_class, r.model_class, r.metric) == wanted]


def _filtered(found: HeldOut) -> list[Predicted]:
    every = found.validation.rows
    metrics = sorted({row.metric for row in every})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = st.selectbox(
            t("accuracy.metric"),
            metrics,
            index=metrics.index("decode_tok_s") if "decode_tok_s" in metrics else 0,
            format_func=lambda name: t(f"accuracy.metric_name.{name}"),
            key="accuracy.metric",
            width=260,
        )
        devices = _several("devices", sorted({row.device_class for row in every}), _device)
        models = _several("models", sorted({row.model_class for row in every}), _model)
    rows = [r for r in every if r.metric == metric and (not devices or r.device_class in devices)]
    return [r for r in rows if not models or r.model_class in models]


def _several(name: str, options: Sequence[str], label: Any) -> list[str]:
    return st.multiselect(
        t(f"accuracy.{name}"),
        options,
        format_func=label,
        key=f"accuracy.{name}",
        placeholder=t("form.choose"),
        width=320,
    )


def _scatter(rows: Sequence[Predicted], metric: str) -> Scatter:
    known = [row for row in rows if row.predicted is not None]
    step = max(1, -(-len(known) // MAX_POINTS))
    points = tuple(
        Point(
            id=row.id,
            x=row.measured,
            y=row.predicted or 0.0,
            label=f"{_model(row.model_class)}<br>{number(row.measured)} → {number(row.predicted or 0)}"
            f"<br>{plain(row.source)}",
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


def _picked(rows: Sequence[Predicted], truth: dict[str, TruthRow], event: Any) -> None:
    """What was run, what was measured and foreseen, and who measured it."""
    wanted = {point.get("customdata") for point in event.selection.points}
    for row in (row for row in rows if row.id in wanted):
        interval = f"{number(row.low or 0)} – {number(row.high or 0)}"
        with st.container(border=True):
            st.markdown(f"**{plain(_ran(truth[row.id]))}**" if row.id in truth else f"**{plain(row.id)}**")
            st.markdown(
                t(
                    "accuracy.point",
                    name=t(f"accuracy.metric_name.{row.metric}"),
                    measured=number(row.measured),
                    predicted=number(row.predicted or 0),
                    interval=interval,
                )
            )
            st.caption(t("accuracy.point_source", id=plain(row.id), source=plain(row.source)))


def _ran(row: TruthRow) -> str:
    where = row.hardware.device or row.hardware.host
    count = f"{row.n_devices} × " if row.n_devices > 1 else ""
    variant, fmt = row.key.variant.name, name_in(language(), row.key.format.name)
    return f"{variant} · {fmt} · {row.runtime.engine.name} · {count}{where.name if where else ''}"


def _device(name: str) -> str:
    return t(f"truth_device.{name}")


def _model(name: str) -> str:
    return t(f"truth_model.{name}")
