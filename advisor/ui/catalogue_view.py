"""Tables of the catalogue. A click on a row shows the record with its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from advisor.catalog import Catalog
from advisor.catalog.records import Architecture, AttentionKind, Confidence, Device, Engine, Role, Variant
from advisor.catalog.text import name_in, texts
from advisor.report.numbers import bytes_text, gib_text, number
from advisor.ui import backend
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import badges, key_values

__all__ = ["devices", "engines", "formats", "models", "prices"]

_CONFIDENCE = {Confidence.HIGH: "green", Confidence.MEDIUM: "orange", Confidence.LOW: "red"}


def models(catalog: Catalog) -> None:
    roles = st.pills(
        t("catalogue.roles"),
        [str(role) for role in Role],
        selection_mode="multi",
        default=[str(Role.FULL), str(Role.DISTILLED)],
        format_func=lambda role: t(f"role.{role}"),
        key="catalogue.roles",
    )
    found = [v for v in catalog.variants.values() if not roles or v.role in roles]
    rows = [
        {
            "name": v.name,
            "family": name_in(language(), v.family),
            "role": t(f"role.{v.role}"),
            "total": backend.model_profile(v.id).total_params / 1e9,
            "active": backend.model_profile(v.id).active_params / 1e9,
            "attention": _attention(v.architecture),
            "layers": v.architecture.num_layers,
            "context": v.architecture.max_context_tokens,
            "released": v.release_date,
        }
        for v in found
    ]
    config = {
        "name": st.column_config.TextColumn(t("catalogue.name"), pinned=True),
        "family": st.column_config.TextColumn(t("catalogue.column.family"), width=120),
        "total": st.column_config.NumberColumn(t("catalogue.total_params"), format="%.2f"),
        "active": st.column_config.NumberColumn(t("catalogue.active_params"), format="%.2f"),
        "attention": st.column_config.TextColumn(t("catalogue.column.attention"), width=66),
        "context": st.column_config.NumberColumn(t("catalogue.context"), format="localized"),
    }
    picked = _table("models", rows, config)
    if picked is not None:
        _model_card(found[picked])


def _attention(a: Architecture) -> str:
    """By its usual name; grouped attention is multi-head where every head has its own keys."""
    if a.attention is not AttentionKind.GQA:
        return t(f"attention.{a.attention}")
    return "MHA" if a.n_kv_heads == a.n_heads else "MQA" if a.n_kv_heads == 1 else "GQA"


def _model_card(variant: Variant) -> None:
    profile, a = backend.model_profile(variant.id), variant.architecture
    facts = {
        t("catalogue.total_params"): f"{profile.total_params:,}",
        t("catalogue.active_params"): f"{profile.active_params:,}",
        t("catalogue.native"): f"{_native(variant)} · {bytes_text(profile.file_bytes)}",
        t("catalogue.shape"): f"{a.num_layers} × {a.hidden_size}, {a.n_heads} / {a.n_kv_heads} × {a.head_dim}",
        t("catalogue.licence"): variant.licence or "–",
        t("catalogue.repository"): variant.hf_repo or "–",
    }
    if a.is_moe:
        facts[t("catalogue.experts")] = f"{a.experts_per_tok} / {a.n_routed_experts} + {a.n_shared_experts}"
    _card(variant.name, facts, variant.confidence, variant.source)


def _native(variant: Variant) -> str:
    return name_in(language(), backend.catalog().format(variant.native_format).name)


def devices(catalog: Catalog) -> None:
    found = [d for d in catalog.devices.values() if not d.reference]
    classes = sorted({str(d.device_class) for d in found})
    chosen = st.pills(
        t("field.device_classes"),
        classes,
        selection_mode="multi",
        format_func=lambda name: t(f"device_class.{name}"),
        key="catalogue.device_classes",
    )
    found = [d for d in found if not chosen or d.device_class in chosen]
    rows = [
        {
            "name": d.name,
            "class": t(f"device_class.{d.device_class}"),
            "memory": d.memory_bytes / 2**30,
            "bandwidth": d.bandwidth_bytes_per_s / 1e9,
            "bf16": _tera(d, "bf16"),
            "fp8": _tera(d, "fp8"),
            "int8": _tera(d, "int8"),
            "tdp": d.tdp_w,
            "launched": d.launch_date,
        }
        for d in found
    ]
    config = {
        "name": st.column_config.TextColumn(t("catalogue.name"), pinned=True),
        **{
            name: st.column_config.NumberColumn(t(f"catalogue.device.{name}"), format="%.0f")
            for name in ("memory", "bandwidth", "bf16", "fp8", "int8", "tdp")
        },
    }
    picked = _table("devices", rows, config)
    if picked is not None:
        _device_card(found[picked], catalog)


def _tera(device: Device, precision: str) -> float | None:
    peak = device.peak_ops_per_s.get(precision)
    return peak / 1e12 if peak else None


def _device_card(device: Device, catalog: Catalog) -> None:
    servers = [name_in(language(), server.name) for server in catalog.servers_for(device.id)]
    facts = {
        t("catalogue.memory"): f"{gib_text(device.memory_bytes)} {device.memory_type}",
        t("catalogue.usable"): gib_text(device.usable_memory_bytes) if device.usable_memory_bytes else "–",
        t("catalogue.bandwidth"): f"{bytes_text(device.bandwidth_bytes_per_s)}/s",
        t("catalogue.peaks"): ", ".join(f"{k} {number(v / 1e12)}T" for k, v in device.peak_ops_per_s.items()) or "–",
        t("catalogue.link"): f"{device.link.name} {bytes_text(device.link.bytes_per_s)}/s" if device.link else "–",
        t("catalogue.servers"): ", ".join(servers) or "–",
    }
    for kind in ("cloud_hourly", "purchase"):
        found = catalog.price_range(device.id, kind)
        if found is not None:
            value = f"${number(found.low)} – ${number(found.high)} ({found.n}; {found.date_from} … {found.date_to})"
            facts[t(f"catalogue.price.{kind}")] = value
    if device.notes:
        facts[t("catalogue.notes")] = device.notes
    _card(device.name, facts, device.confidence, device.source)


def formats(catalog: Catalog) -> None:
    found = list(catalog.formats.values())
    rows = [
        {
            "name": name_in(language(), f.name),
            "family": _family(f.family),
            "bits": f.bits_per_weight,
            "compute": f.compute_precision,
            "weight_only": f.weight_only,
        }
        for f in found
    ]
    config = {
        "name": st.column_config.TextColumn(t("catalogue.name"), pinned=True),
        "bits": st.column_config.NumberColumn(t("catalogue.bits"), format="%.2f"),
        "weight_only": st.column_config.CheckboxColumn(t("catalogue.weight_only")),
    }
    picked = _table("formats", rows, config)
    if picked is not None:
        f = found[picked]
        _card(name_in(language(), f.name), {t("catalogue.family"): _family(f.family)}, None, f.source)


def _family(name: str) -> str:
    """In words where the family is one that the program knows; an overlay may have others."""
    return texts(language()).get(f"ui.format_family.{name}", name)


def engines(catalog: Catalog) -> None:
    found = list(catalog.engines.values())
    rows = [
        {
            "name": e.name,
            "version": e.version,
            "released": e.released,
            "batching": t(f"batching.{e.batching}"),
            "tensor": e.tensor_parallel,
            "pipeline": e.pipeline_parallel,
            "expert": e.expert_parallel,
            "offload": e.cpu_offload,
        }
        for e in found
    ]
    names = ("tensor", "pipeline", "expert", "offload")
    config = {name: st.column_config.CheckboxColumn(t(f"catalogue.engine.{name}")) for name in names}
    picked = _table("engines", rows, config)
    if picked is not None:
        _engine_card(found[picked])


def _engine_card(engine: Engine) -> None:
    rules = [
        f"{', '.join(map(_family, rule.format_families))} · {', '.join(rule.backends)} · {rule.compute}"
        for rule in engine.supports
    ]
    facts = {f"{t('catalogue.rule')} {index}": rule for index, rule in enumerate(rules, start=1)}
    _card(f"{engine.name} {engine.version}", facts, None, engine.source)


def prices(catalog: Catalog) -> None:
    st.caption(t("catalogue.prices_lead"))
    rows = [
        {
            "name": catalog.devices[p.device_id].name if p.device_id in catalog.devices else p.device_id,
            "kind": t(f"catalogue.price.{p.kind}"),
            "usd": p.usd,
            "provider": p.provider,
            "date": p.date,
            "source": p.source,
        }
        for p in sorted(catalog.prices, key=lambda p: (p.device_id, p.kind, p.usd))
    ]
    config = {
        "name": st.column_config.TextColumn(t("catalogue.name"), pinned=True),
        "usd": st.column_config.NumberColumn(t("catalogue.usd"), format="$%.2f"),
    }
    _table("prices", rows, config)


def _table(name: str, rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> int | None:
    """The position of the selected row, if any."""
    frame = pd.DataFrame(list(rows))
    labels = {column: t(f"catalogue.column.{column}") for column in frame.columns if column not in config}
    event = st.dataframe(
        frame,
        key=f"catalogue.{name}.{len(rows)}",
        hide_index=True,
        height=420,
        column_config={**labels, **config},
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        alt=t(f"catalogue.{name}"),
    )
    st.caption(t("catalogue.count", count=len(rows)))
    return event.selection.rows[0] if event.selection.rows else None


def _card(name: str, facts: Mapping[str, str], confidence: Confidence | None, source: Sequence[str]) -> None:
    with st.container(border=True):
        st.markdown(f"**{plain(name)}**")
        if confidence is not None:
            look = (t(f"confidence.{confidence}"), _CONFIDENCE[confidence], "verified", t("confidence.help"))
            badges([look])
        key_values(facts, alt=name)
        if source:
            st.caption(t("sources.source"))
            st.text("\n".join(source))
