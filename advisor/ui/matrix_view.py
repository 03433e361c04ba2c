"""The hardware matrix: a heat map of memory, and the same with RAM, disk and the smallest device as a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from advisor.catalog import Catalog
from advisor.catalog.errors import UnsupportedError
from advisor.catalog.text import name_in
from advisor.report.figures import Grid
from advisor.report.numbers import gib_text
from advisor.sizing.derivation import derive
from advisor.sizing.matrix import MatrixRow, matrix
from advisor.ui import backend
from advisor.ui.derivation_view import unfolded
from advisor.ui.quick_plans import device_plan, quick_load
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import chart, empty_state, problem_state

__all__ = ["matrix_page"]

_ANYWHERE = ("file", "kv_token", "kv_sequence")  # numbers that do not depend on the device
_CONTEXTS = (4096, 8192, 32_768, 65_536, 131_072)
GIB = 2**30


def matrix_page() -> None:
    catalog = backend.catalog()
    context = st.segmented_control(
        t("matrix.context"),
        _CONTEXTS,
        default=_CONTEXTS[0],
        format_func=lambda n: f"{n:,}",
        key="matrix.context",
        required=True,
        help=t("matrix.context_help"),
        persist_state="session",
    )
    with st.skeleton(height=420):
        rows = _rows(int(context))
        families = sorted({catalog.variants[row.variant_id].family for row in rows})
        chosen = st.pills(
            t("matrix.families"), families, selection_mode="multi", format_func=_name, key="matrix.families"
        )
        shown = [row for row in rows if not chosen or catalog.variants[row.variant_id].family in chosen]
        if not shown:
            empty_state(t("matrix.none_title"), t("matrix.none_text"), icon="grid_off")
            return
        chart(_grid(shown, catalog), key=f"matrix.grid.{context}")
        _table(shown, catalog, int(context))


@st.cache_resource(max_entries=8, show_spinner=False)
def _name(name: str) -> str:
    return name_in(language(), name)


def _rows(context: int) -> tuple[MatrixRow, ...]:
    return matrix(backend.catalog(), contexts=[context])


def _grid(rows: Sequence[MatrixRow], catalog: Catalog) -> Grid:
    variants = list(dict.fromkeys(row.variant_id for row in rows))
    formats = sorted({row.format_id for row in rows}, key=lambda name: -catalog.formats[name].bits_per_weight)
    found = {(row.variant_id, row.format_id): row for row in rows}
    cells = [[found.get((variant, name)) for name in formats] for variant in variants]
    return Grid(
        title=t("matrix.grid_title"),
        hint=t("matrix.grid_hint"),
        alt=t("matrix.grid_alt", models=len(variants), formats=len(formats)),
        rows=tuple(catalog.variants[name].name for name in variants),
        columns=tuple(_name(catalog.formats[name].name) for name in formats),
        values=tuple(tuple(None if c is None else c.memory_bytes / GIB for c in row) for row in cells),
        texts=tuple(tuple("" if c is None else gib_text(c.memory_bytes) for c in row) for row in cells),
        value_label="GiB",
    )


def _table(rows: Sequence[MatrixRow], catalog: Catalog, context: int) -> None:
    frame = pd.DataFrame([_cells(row, catalog) for row in rows])
    number = st.column_config.NumberColumn
    st.caption(t("matrix.choose"))
    event = st.dataframe(
        frame,
        key=f"matrix.table.{context}.{len(rows)}",
        hide_index=True,
        height=420,
        column_config={
            "variant": st.column_config.TextColumn(t("column.variant"), pinned=True),
            "format": st.column_config.TextColumn(t("column.format")),
            "weights": number(t("matrix.weights"), format="%.1f"),
            "cache": number(t("matrix.cache"), format="%.2f"),
            "memory": number(t("matrix.memory"), format="%.1f"),
            "ram": number(t("matrix.ram"), format="%.0f"),
            "disk": number(t("matrix.disk"), format="%.0f"),
            "device": st.column_config.TextColumn(t("matrix.device")),
        },
        alt=t("matrix.table_alt", count=len(rows)),
        on_select="rerun",
        selection_mode="single-row",
    )
    for index in event.selection.rows:
        _explained(rows[index], catalog)
    st.download_button(
        t("matrix.download"),
        frame.to_csv(index=False).encode("utf-8-sig"),
        f"fathom-matrix-{context}.csv",
        "text/csv",
        key="matrix.download",
        icon=":material/download:",
        on_click="ignore",
    )


def _explained(row: MatrixRow, catalog: Catalog) -> None:
    """The chosen row's bytes, unfolded. Speeds need a load: they are on the page of plans."""
    variant = catalog.variants[row.variant_id]
    device = catalog.devices[row.device_id or "h200-sxm"]
    try:
        plan = device_plan(catalog, variant, row.format_id, device, row.device_count or 1)
    except UnsupportedError as problem:
        problem_state(problem)
        return
    with st.container(border=True, key="matrix.derivation"):
        st.markdown(f"#### {plain(variant.name)} · {plain(_name(catalog.formats[row.format_id].name))}")
        found = derive(plan, quick_load(row.context_tokens, 1))
        unfolded([item for item in found if row.device_id is not None or item.key in _ANYWHERE])


def _cells(row: MatrixRow, catalog: Catalog) -> dict[str, object]:
    device = "–"
    if row.device_id is not None:
        name = catalog.devices[row.device_id].name
        device = name if row.device_count == 1 else f"{row.device_count} × {name}"
    return {
        "variant": catalog.variants[row.variant_id].name,
        "format": _name(catalog.formats[row.format_id].name),
        "weights": row.weights_bytes / GIB,
        "cache": row.kv_cache_bytes / GIB,
        "memory": row.memory_bytes / GIB,
        "ram": row.ram_bytes / GIB,
        "disk": row.disk_bytes / 1e9,
        "device": device,
    }
