"""The requirements form: widgets that edit one scenario. Every run re-checks the whole scenario on the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from advisor.catalog.records import DeviceClass
from advisor.decision.scenario import Axis, Hosting, Language, Scenario, TaskProfile
from advisor.ui import backend
from advisor.ui.form_model import TRAFFIC_KINDS, Hardware, form_values
from advisor.ui.text import plain, t

__all__ = ["form", "has_form", "read_form", "write_form"]

_BASE = "req.base"


def write_form(scenario: Scenario) -> None:
    """Fill all widgets; call it before they are drawn, or from a callback."""
    st.session_state[_BASE] = scenario
    for name, value in form_values(scenario).items():
        st.session_state[f"req.{name}"] = value


def has_form() -> bool:
    return _BASE in st.session_state


def read_form() -> tuple[dict[str, Any], Scenario]:
    """The values of all widgets, and the scenario they started from. Only after `write_form`."""
    base = st.session_state[_BASE]
    prefix = "req."
    values = {str(k).removeprefix(prefix): v for k, v in st.session_state.items() if str(k).startswith(prefix)}
    values.pop("base")
    wanted = form_values(base).keys() | {f"owned_count_{name}" for name in values["owned"]}
    return {name: value for name, value in values.items() if name in wanted}, base


def form() -> None:
    """Four cards: work, targets, limits, hardware."""
    left, right = st.columns(2)
    with left:
        _card("work", _work)
    with right:
        _card("targets", _targets)
        _card("limits", _limits)
    _card("hardware", _hardware)


def _card(name: str, body: Any) -> None:
    with st.container(border=True):
        st.markdown(f"**{t(f'form.{name}')}**")
        body()


def _work() -> None:
    _pills("task", [str(profile) for profile in TaskProfile], "task")
    _choice("language", [str(name) for name in Language], "language")
    _choice("traffic_kind", TRAFFIC_KINDS, "traffic")
    left, right = st.columns(2)
    with left:
        _number("traffic_value", label=t(f"traffic.{st.session_state['req.traffic_kind']}"))
        _integer("input_tokens")
        _integer("reasoning_tokens")
    with right:
        if st.session_state["req.traffic_kind"] == "requests_per_day":
            _number("peak_factor")
        elif st.session_state["req.traffic_kind"] == "users":
            _number("think_time_s")
        else:
            _number("growth_factor")
        _integer("output_tokens")
        _integer("cached_input_tokens")
    _integer("context_tokens")


def _targets() -> None:
    left, right = st.columns(2)
    with left:
        _number("ttft_ms", optional=True)
        _number("e2e_ms", optional=True)
    with right:
        _number("tpot_ms", optional=True)
        _number("quality_floor", optional=True)
    _choice("percentile", (50, 90, 95, 99), "percentile")
    st.toggle(t("field.own_weights"), key="req.own_weights", help=t("field_help.own_weights"), persist_state="session")
    if st.session_state["req.own_weights"]:
        for axis in Axis:
            st.slider(t(f"axis.{axis}"), 0, 10, key=f"req.weight_{axis}", persist_state="session")


def _limits() -> None:
    _choice("hosting", [str(name) for name in Hosting], "hosting")
    left, right = st.columns(2)
    with left:
        _number("budget_capital_usd", optional=True)
        _number("power_limit_w", optional=True)
    with right:
        _number("budget_monthly_usd", optional=True)
        _number("electricity_usd_per_kwh", optional=True)
    st.toggle(t("field.commercial_use"), key="req.commercial_use", persist_state="session")


def _hardware() -> None:
    catalog = backend.catalog()
    devices = {device.id: device.name for device in catalog.devices.values() if not device.reference}
    _choice("hardware", [str(kind) for kind in Hardware], "hardware")
    kind = st.session_state["req.hardware"]
    if kind == Hardware.CLASSES:
        _pills("device_classes", [str(name) for name in DeviceClass], "device_class")
    if kind in (Hardware.DEVICES, Hardware.OWNED):
        _several(str(kind), devices)
    if kind == Hardware.OWNED:
        _owned_counts(devices)
    if kind != Hardware.THIS_MACHINE:
        _integer("max_devices", optional=True)
    with st.expander(t("form.more"), icon=":material/filter_alt:"):
        _several("variants", {v.id: v.name for v in catalog.variants.values()})
        _several("formats", {f.id: f.name for f in catalog.formats.values()})
        _several("engines", {e.id: e.name for e in catalog.engines.values()})
        _number("edge_share", optional=True)
        st.selectbox(
            t("field.region"),
            sorted({item.region for item in catalog.carbon}),
            key="req.region",
            persist_state="session",
        )


def _owned_counts(devices: dict[str, str]) -> None:
    for name in st.session_state["req.owned"]:
        key = f"req.owned_count_{name}"
        if key not in st.session_state:
            st.session_state[key] = 1
        label = t("field.owned_count", device=plain(devices.get(name, name)))
        st.number_input(label, min_value=1, step=1, key=key, persist_state="session")


def _number(name: str, *, optional: bool = False, label: str | None = None) -> None:
    """No limits in the browser: the check of the scenario gives one clear message for all inputs."""
    st.number_input(
        label or t(f"field.{name}"),
        value=None,
        format="%g",
        key=f"req.{name}",
        placeholder=t("form.no_limit") if optional else None,
        help=_help(name),
        persist_state="session",
    )


def _integer(name: str, *, optional: bool = False) -> None:
    st.number_input(
        t(f"field.{name}"),
        value=None,
        step=1,
        format="%d",
        key=f"req.{name}",
        placeholder=t("form.no_limit") if optional else None,
        help=_help(name),
        persist_state="session",
    )


def _choice(name: str, options: Sequence[Any], group: str) -> None:
    st.segmented_control(
        t(f"field.{name}"),
        options,
        format_func=lambda option: t(f"{group}.{option}"),
        key=f"req.{name}",
        required=True,
        help=_help(name),
        persist_state="session",
    )


def _pills(name: str, options: Sequence[str], group: str) -> None:
    st.pills(
        t(f"field.{name}"),
        options,
        selection_mode="multi",
        format_func=lambda option: t(f"{group}.{option}"),
        key=f"req.{name}",
        help=_help(name),
        persist_state="session",
    )


def _several(name: str, names: dict[str, str]) -> None:
    st.multiselect(
        t(f"field.{name}"),
        list(names),
        format_func=lambda option: names.get(option, option),
        key=f"req.{name}",
        placeholder=t("form.choose"),
        help=_help(name),
        persist_state="session",
    )


def _help(name: str) -> str | None:
    return t(f"field_help.{name}")
