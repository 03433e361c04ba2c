"""What to measure: a whole model, some of its layers, a sweep, sustained load, the machine itself, or a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from advisor.catalog.text import translate
from advisor.commands.probe_spec import MLA_RESIDENT_EXPERTS
from advisor.ui import probing
from advisor.ui.probe_engine import choose_engine, model_of
from advisor.ui.probe_names import catalogue_format, device_name
from advisor.ui.probe_sweep import choose_axis, choose_limit, choose_values
from advisor.ui.probe_traffic import choose_traffic
from advisor.ui.text import language, t
from probes.machine_records import Machine
from probes.need import memory_limit
from probes.spec import EndpointTarget, EngineName, Kind, ProbeSpec, SweepAxis

__all__ = ["probe_spec"]

DEFAULT_VARIANT, DEFAULT_FORMAT = "deepseek-r1-distill-qwen-1.5b", "bf16"
DEFAULT_FORMATS = {EngineName.LLAMACPP: "gguf-q4_k_m", EngineName.ORT: "w4a16-g32"}
ENDPOINT = "endpoint"
_KINDS = (*(str(kind) for kind in Kind), ENDPOINT)


def probe_spec(machine: Machine) -> ProbeSpec | None:
    """The probe that the form describes; None while an address is missing. Raises InputError for what cannot be."""
    kind = str(
        st.segmented_control(
            t("probe.kind"),
            _KINDS,
            default=str(Kind.FULL),
            format_func=_kind_name,
            key="probe.kind",
            required=True,
            persist_state="session",
        )
    )
    st.caption(t(f"probe.kind_help.{kind}"))
    if kind == ENDPOINT:
        return _endpoint()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        devices = ["cpu", *(a.torch_device for a in machine.accelerators if a.torch_device)]
        device = _select("device", devices, {name: device_name(name) for name in devices}, width=120)
        limit = memory_limit() if device == "cpu" else None
        if kind == Kind.MACHINE:
            return ProbeSpec("", "", kind=Kind.MACHINE, device=device, memory_limit_bytes=limit)
        engine = choose_engine(Kind(kind))
        variants = probing.probe_variants(engine)
        variant = _select("variant", list(variants), variants, DEFAULT_VARIANT, width=300)
        names = {name: catalogue_format(name) for name in probing.probe_formats(engine, device)}
        chosen = _select("format", list(names), names, DEFAULT_FORMATS.get(engine, DEFAULT_FORMAT), width=220)
        quick = kind == Kind.FULL and st.toggle(
            t("probe.quick"), key="probe.quick", help=t("probe.quick_help"), persist_state="session"
        )
        axis = choose_axis() if kind == Kind.SWEEP else None
    values = choose_values(axis, engine) if axis else ()
    tpot_limit = choose_limit(axis) if axis else None
    model = model_of(engine, Kind(kind), variant, chosen)
    if axis and not values:
        st.caption(t("probe.values_none"))
        return None
    architecture = model.architecture
    prompts, output, repeats = ((32,), 8, 1) if quick else ((128, 512), 32, 3)
    traffic = choose_traffic() if kind == Kind.SUSTAINED else None
    if traffic:
        prompts, output = (traffic.prompt_tokens,), traffic.output_tokens
    return ProbeSpec(
        model.variant_id,
        model.format_id,
        architecture,
        engine=engine,
        checkpoint=model.path,
        kind=Kind(kind),
        device=device,
        prompt_tokens=prompts,
        output_tokens=output,
        repeats=repeats,
        resident_experts=MLA_RESIDENT_EXPERTS if architecture.is_moe and kind == Kind.SLICE else None,
        sweep_axis=axis,
        sweep_values=tuple(int(value) for value in values) if axis is not SweepAxis.FORMAT else (),
        sweep_formats=values if axis is SweepAxis.FORMAT else (),
        tpot_limit_ms=tpot_limit,
        load=traffic.load if traffic else None,
        timeout_s=traffic.load.patience_s if traffic else 900.0,
        memory_limit_bytes=limit,
    )


def _endpoint() -> ProbeSpec | None:
    """An OpenAI-compatible server. The key itself is never asked for, only the name of the variable that holds it."""
    with st.grid(3, min_column_width=220):
        url = st.text_input(
            t("probe.url"), placeholder="http://127.0.0.1:8000", key="probe.url", persist_state="session"
        )
        model = st.text_input(t("probe.served_model"), key="probe.served_model", persist_state="session")
        key = st.text_input(t("probe.key_env"), key="probe.key_env", persist_state="session", help=t("probe.key_help"))
    under_load = st.toggle(
        t("probe.under_load"), key="probe.under_load", help=t("probe.under_load_help"), persist_state="session"
    )
    traffic = choose_traffic(with_slots=False) if under_load else None
    if not url:
        return None
    target = EndpointTarget(url, model, key)
    if traffic is None:
        return ProbeSpec(model, "", engine=EngineName.ENDPOINT, endpoint=target)
    return ProbeSpec(
        model,
        "",
        engine=EngineName.ENDPOINT,
        kind=Kind.SUSTAINED,
        prompt_tokens=(traffic.prompt_tokens,),
        output_tokens=traffic.output_tokens,
        load=traffic.load,
        endpoint=target,
        timeout_s=traffic.load.patience_s,
    )


def _kind_name(kind: str) -> str:
    return t("probe.endpoint") if kind == ENDPOINT else translate(language(), f"probes.kind.{kind}")


def _select(
    name: str, options: Sequence[str], names: Mapping[str, str] | None = None, default: str = "", *, width: int
) -> str:
    shown = names or {}
    return str(
        st.selectbox(
            t(f"probe.{name}"),
            list(options),
            index=options.index(default) if default in options else 0,
            format_func=lambda option: shown.get(option, option),
            key=f"probe.{name}",
            persist_state="session",
            width=width,
        )
    )
