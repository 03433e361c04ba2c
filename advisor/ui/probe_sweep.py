"""Along what a sweep goes, and at which values."""

from __future__ import annotations

import streamlit as st

from advisor.commands.probe_spec import DEFAULT_SWEEPS, sweep_formats
from advisor.ui import probing
from advisor.ui.probe_names import catalogue_format
from advisor.ui.text import t
from probes.spec import EngineName, SweepAxis

__all__ = ["choose_axis", "choose_limit", "choose_values"]

_OFFERED = {  # beside the default: those that a larger machine can take
    SweepAxis.CONTEXT: (128, 16_384, 32_768),
    SweepAxis.BATCH: (64,),
    SweepAxis.THREADS: (64,),
}


def choose_axis() -> SweepAxis:
    chosen = st.segmented_control(  # unlike a list, its labels follow the language at once
        t("probe.axis"),
        [str(axis) for axis in SweepAxis],
        default=str(SweepAxis.CONTEXT),
        format_func=lambda axis: t(f"probe.axis_of.{axis}"),
        key="probe.axis",
        required=True,
        persist_state="session",
    )
    return SweepAxis(str(chosen))


def choose_values(axis: SweepAxis, engine: EngineName) -> tuple[str, ...]:
    """Those chosen, in their order: tokens, sequences, threads, or ids of formats. Empty where none is."""
    if axis is SweepAxis.FORMAT:
        options, default = probing.probe_formats(engine), list(sweep_formats(engine))
    else:
        default = [str(value) for value in _possible(axis, DEFAULT_SWEEPS[axis])]
        offered = sorted({*DEFAULT_SWEEPS[axis], *_OFFERED[axis]})
        options = [str(value) for value in _possible(axis, tuple(offered))]
    chosen = st.pills(
        t("probe.values"),
        options,
        selection_mode="multi",
        default=default,
        format_func=catalogue_format if axis is SweepAxis.FORMAT else _count,
        key=f"probe.values.{axis}.{engine}",
        persist_state="session",
    )
    return tuple(value for value in options if value in chosen)


def choose_limit(axis: SweepAxis) -> float | None:
    """Milliseconds per token at which the sweep ends; threads and formats follow no order that could end."""
    if axis not in (SweepAxis.BATCH, SweepAxis.CONTEXT):
        return None
    chosen = st.number_input(
        t("probe.sweep_limit"),
        min_value=0.1,
        max_value=1e6,
        value=None,
        key="probe.sweep_limit",
        help=t("probe.sweep_limit_help"),
        persist_state="session",
        width=260,
    )
    return None if chosen is None else float(chosen)


def _possible(axis: SweepAxis, values: tuple[int, ...]) -> list[int]:
    """No more threads than there are."""
    if axis is not SweepAxis.THREADS:
        return list(values)
    threads = probing.machine().cpu.threads
    return [value for value in values if value <= threads] or [1]


def _count(value: str) -> str:
    return f"{int(value):,}"
