"""Activations, overhead and usable memory of many plans at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.records import Engine
from advisor.sizing.columns import Hardware, LoadColumns, ModelKey, PlanColumns, Tuning
from advisor.sizing.layout import Shards
from advisor.sizing.memory import (
    Workspace,
    expanded_widths,
    ffn_width,
    host_usable_bytes,
    load_memory_model,
    overhead_bytes,
    usable_bytes,
    workspace_features,
    workspace_kind,
)

__all__ = ["usable_columns", "workspace_columns"]

Floats = NDArray[np.float64]


def workspace_columns(
    plans: PlanColumns, loads: LoadColumns, tuning: Tuning, shards: Shards, usable: Floats
) -> tuple[Floats, Floats]:
    """(activation bytes, overhead bytes) per device; engines of one kind are evaluated together."""
    model = load_memory_model()
    kinds = [workspace_kind(r.engine.id) for r in plans.runtimes]
    activation, overhead = np.zeros(len(plans)), np.zeros(len(plans))
    on_gpu = np.asarray(shards.cpu_only <= 0)
    unified = np.array([bool(h.device and h.device.unified_memory) for h in plans.hardware])[plans.machine]
    for kind in sorted(set(kinds)):
        rows = np.array([k == kind for k in kinds])[plans.runtime]
        w = _workspace(kind, model.defaults[kind], plans, loads, tuning, shards)
        found = model.coefficients_of(kind)
        activation = np.where(rows, found.activation_bytes(workspace_features(kind, w)), activation)
    for i, runtime in enumerate(plans.runtimes):
        extra = overhead_bytes(runtime.engine, tp=shards.tp, on_gpu=True)
        if kinds[i] == "server_static":
            kept = usable * (1 - runtime.engine.memory_fraction) - activation
            extra = np.maximum(extra, kept)
        overhead = np.where((plans.runtime == i) & on_gpu & ~unified, extra, overhead)
    return activation, overhead


def usable_columns(plans: PlanColumns) -> tuple[Floats, Floats]:
    """(usable bytes of a device, of the host; 0 where the host is not known)."""
    pairs = np.array([[_device_room(h, r.engine) for r in plans.runtimes] for h in plans.hardware])
    host = np.array(
        [float(host_usable_bytes(h.host, h.server.ram_bytes if h.server else None)) for h in plans.hardware]
    )
    return pairs[plans.machine, plans.runtime], host[plans.machine]


def _workspace(
    kind: str, defaults: Mapping[str, Any], plans: PlanColumns, loads: LoadColumns, tuning: Tuning, s: Shards
) -> Workspace:
    device_bytes = np.array([float(h.device.memory_bytes) if h.device else 0.0 for h in plans.hardware])
    large = (device_bytes >= defaults.get("large_device_bytes", np.inf))[plans.machine]
    sequences = np.where(large, defaults.get("profile_sequences_large", 1), defaults.get("profile_sequences", 1))
    tokens = np.full(len(plans), float(tuning.ubatch_tokens or defaults["batched_tokens"]))
    if kind in ("mlx", "npu", "torch"):  # a short prompt makes a short pass
        tokens = np.minimum(tokens, np.maximum(loads.input_tokens, 1))
    flash = defaults.get("flash_attention", True) if tuning.flash_attention is None else tuning.flash_attention
    column = _model_columns(plans)
    return Workspace(
        tokens=tokens,
        sequences=sequences.astype(float) if tuning.max_num_seqs is None else np.full(len(plans), tuning.max_num_seqs),
        context=loads.context_tokens * loads.concurrency,
        vocab=column["vocab"],
        hidden=column["hidden"],
        ffn_width=column["ffn"] / s.tp,
        heads=column["heads"] / s.tp,
        expanded_key=column["key"],
        expanded_value=column["value"],
        flash=np.full(len(plans), float(flash)),
        buffer_limit=defaults.get("attention_buffer_bytes", np.inf),
        on_cpu=s.cpu_only,
        int4=column["int4"],
        devices=s.pp,
    )


def _device_room(h: Hardware, engine: Engine) -> float:
    if h.device is None:
        return 0.0
    inside = workspace_kind(engine.id) == "server_static"
    return float(usable_bytes(h.device, 1.0 if inside else engine.memory_fraction))


def _model_columns(plans: PlanColumns) -> dict[str, Floats]:
    table = np.array([_model_row(m) for m in plans.models])
    names = ("vocab", "hidden", "ffn", "heads", "key", "value", "int4")
    return {name: table[:, i][plans.model] for i, name in enumerate(names)}


@lru_cache(maxsize=4096)
def _model_row(m: ModelKey) -> tuple[float, ...]:
    a = m.variant.architecture
    key, value = expanded_widths(a)
    int4 = float(m.format.family == "int4-weight-only")
    return float(a.vocab_size), float(a.hidden_size), ffn_width(a), float(a.n_heads), key, value, int4


def _host_room(h: Hardware) -> float:
    return float(host_usable_bytes(h.host, h.server.ram_bytes if h.server else None))
