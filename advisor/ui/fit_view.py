"""What fits on this machine and how fast it should be: recommended models in a few formats, one request at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from advisor.catalog import Catalog
from advisor.catalog.errors import FathomError
from advisor.catalog.records import Device, Host, Role, Variant
from advisor.catalog.text import name_in
from advisor.report.numbers import number
from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.efficiency import table_for
from advisor.sizing.grid import evaluate_speed
from advisor.sizing.plan import Plan, Sizing
from advisor.sizing.size import sizing_of
from advisor.ui import backend
from advisor.ui.quick_plans import device_plan, host_plan, quick_load
from advisor.ui.text import language, t
from advisor.ui.widgets import basis_badges
from probes.card_part import device_here
from probes.machine import THIS_MACHINE
from probes.machine_records import Machine
from probes.place import this_host

__all__ = ["fit_table"]

CONTEXT_TOKENS = 4096
_FORMATS = ("bf16", "int8-w8a8", "gguf-q8_0", "gguf-q4_k_m")


def fit_table(machine: Machine) -> None:
    """Fits first, fastest first within."""
    sizings = _sizings(machine.fingerprint, backend.revision(), machine)
    if not sizings:
        st.caption(t("machine.nothing_sized"))
        return
    basis_badges([sizing.decode_tok_s for sizing in sizings])
    ordered = sorted(sizings, key=lambda s: (not s.fits, -s.decode_tok_s.value))
    st.dataframe(
        pd.DataFrame([_row(sizing) for sizing in ordered]),
        key=f"machine.fit.{len(ordered)}",
        hide_index=True,
        height=380,
        column_config=_columns(),
        column_order=[name for name in _columns() if name != "where" or machine.accelerators],
        alt=t("machine.fit_alt", count=sum(s.fits for s in ordered)),
    )


@st.cache_resource(ttl=60, max_entries=4, show_spinner=False)
def _sizings(fingerprint: str, revision: str, _machine: Machine) -> tuple[Sizing, ...]:  # noqa: ARG001
    catalog = backend.catalog()
    known = catalog.hosts.get(THIS_MACHINE)
    host = replace(known, reference=False) if known else this_host(_machine, catalog)
    here = (device_here(item, catalog.devices) for item in _machine.accelerators)
    devices = {device.id: device for device in here if device is not None}
    variants = [v for v in catalog.variants.values() if v.role in (Role.FULL, Role.DISTILLED)]
    plans = [
        plan
        for variant in variants
        for name in _FORMATS
        for device in (None, *devices.values())
        if (plan := _plan(catalog, variant, name, host, device)) is not None
    ]
    load = quick_load(CONTEXT_TOKENS, 1)
    speeds = evaluate_speed(
        PlanColumns.from_plans(plans), LoadColumns.of(load, len(plans)), Tuning(), table_for(catalog)
    )
    return tuple(sizing_of(plan, load, speeds, row) for row, plan in enumerate(plans))


def _plan(catalog: Catalog, variant: Variant, format_id: str, host: Host, device: Device | None) -> Plan | None:
    """None where the engine and format do not go together: simply not a row."""
    try:
        if device is not None:
            return device_plan(catalog, variant, format_id, device, 1)
        return _measured_engine(host_plan(catalog, variant, format_id, host), catalog)
    except FathomError:
        return None


def _measured_engine(plan: Plan, catalog: Catalog) -> Plan:
    """The same on the engine that was measured here in this format, where there is one."""
    tried = [
        item.engine_id
        for item in catalog.calibrations
        if item.device_id == THIS_MACHINE and item.format_id == plan.format.id and not item.measured
    ]
    known = [name for name in tried if name in catalog.engines]
    return replace(plan, engine=catalog.engines[known[0]], backend="cpu") if known else plan


def _row(sizing: Sizing) -> Mapping[str, object]:
    plan, used = sizing.plan, sizing.host or sizing.per_device
    return {
        "fits": sizing.fits,
        "variant": plan.variant.name,
        "format": name_in(language(), plan.format.name),
        "engine": plan.engine.name,
        "where": plan.device.name if plan.device else "CPU",
        "memory": used.total_bytes / 2**30,
        "decode": sizing.decode_tok_s.value,
        "range": f"{number(sizing.decode_tok_s.low, 2)}–{number(sizing.decode_tok_s.high, 2)}",
        "ttft": sizing.ttft_ms.value / 1e3,
        "basis": t(f"basis.{sizing.decode_tok_s.basis}"),
    }


def _columns() -> dict[str, Any]:
    column = st.column_config
    return {
        "fits": column.CheckboxColumn(t("machine.column.fits"), width=60),
        "variant": column.TextColumn(t("column.variant"), pinned=True),
        "format": column.TextColumn(t("column.format"), width=168),
        "engine": column.TextColumn(t("column.engine"), width=106),
        "where": column.TextColumn(t("column.device")),
        "memory": column.NumberColumn(t("machine.column.memory"), format="%.1f", width=90),
        "decode": column.NumberColumn(t("probe.figure.decode_tok_s"), format="%.1f", width=100),
        "range": column.TextColumn(t("machine.column.range"), width=80),
        "ttft": column.NumberColumn(t("machine.column.ttft"), format="%.0f", width=90, help=t("machine.ttft_help")),
        "basis": column.TextColumn(t("sources.basis")),
    }
