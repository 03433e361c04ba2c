"""Activations, overhead and usable memory of many plans at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.formats import Format
from advisor.catalog.records import Architecture, Device, Engine
from advisor.sizing.columns import Hardware, LoadColumns, ModelKey, PlanColumns, Runtime, Tuning
from advisor.sizing.identity_cache import cached_by_identity
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
from advisor.sizing.plan import Load, Plan

__all__ = ["usable_columns", "workspace_columns", "workspace_terms"]

Floats = NDArray[np.float64]
Rows = slice | NDArray[np.intp]
_TABLES = 64  # of the last grids: a grid is evaluated in chunks that share them


def workspace_columns(
    plans: PlanColumns, loads: LoadColumns, tuning: Tuning, shards: Shards, usable: Floats
) -> tuple[Floats, Floats]:
    """(activation bytes, overhead bytes) per device; engines of one kind are evaluated together."""
    model = load_memory_model()
    kinds = [workspace_kind(r.engine.id) for r in plans.runtimes]
    activation, overhead = np.zeros(len(plans)), np.zeros(len(plans))
    unified = np.array([bool(h.device and h.device.unified_memory) for h in plans.hardware])[plans.machine]
    for i, runtime in enumerate(plans.runtimes):
        rows: Rows = slice(None) if len(kinds) == 1 else np.flatnonzero(plans.runtime == i)
        w = _workspace(kinds[i], model.defaults[kinds[i]], plans, loads, tuning, shards, rows)
        found = np.asarray(model.coefficients_of(kinds[i]).activation_bytes(workspace_features(kinds[i], w)))
        activation[rows] = found
        extra = overhead_bytes(runtime.engine, tp=np.asarray(shards.tp)[rows], on_gpu=True)
        if kinds[i] == "server_static":
            extra = np.maximum(extra, usable[rows] * (1 - runtime.engine.memory_fraction) - found)
        alone = np.asarray(shards.cpu_only)[rows] <= 0
        overhead[rows] = np.where(alone & ~unified[rows], extra, 0.0)
    return activation, overhead


def workspace_terms(plan: Plan, load: Load, tuning: Tuning | None = None) -> Mapping[str, tuple[float, float]]:
    """(fitted coefficient, feature) of each term of one plan's activation bytes, which are the sum of the products."""
    plans, loads = PlanColumns.from_plans([plan]), LoadColumns.of(load, 1)
    model, kind = load_memory_model(), workspace_kind(plan.engine.id)
    one = Shards.of(plan.layout)
    numbers: dict[str, Any] = {f.name: np.array([getattr(one, f.name)]) for f in fields(Shards) if f.name != "offloads"}
    shards = replace(one, **numbers)
    w = _workspace(kind, model.defaults[kind], plans, loads, tuning or Tuning(), shards, slice(None))
    features = workspace_features(kind, w)
    coefficients = model.coefficients_of(kind).bytes_per
    return {name: (c, float(np.ravel(features[name])[0])) for name, c in coefficients.items() if name in features}


def usable_columns(plans: PlanColumns) -> tuple[Floats, Floats]:
    """(usable bytes of a device, of the host; 0 where the host is not known)."""
    pairs, host = _rooms(plans.hardware, plans.runtimes)
    return pairs[plans.machine, plans.runtime], host[plans.machine]


@cached_by_identity(_TABLES)
def _rooms(hardware: tuple[Hardware, ...], runtimes: tuple[Runtime, ...]) -> tuple[Floats, Floats]:
    """By machine and runtime, and by machine."""
    engines = {r.engine.id: r.engine for r in runtimes}
    rooms = {name: [_room(h, engine) for h in hardware] for name, engine in engines.items()}
    return np.array([rooms[r.engine.id] for r in runtimes]).T, np.array([_host_room(h) for h in hardware])


def _workspace(
    kind: str,
    defaults: Mapping[str, Any],
    plans: PlanColumns,
    loads: LoadColumns,
    tuning: Tuning,
    s: Shards,
    rows: Rows,
) -> Workspace:
    machine, tp = plans.machine[rows], np.asarray(s.tp)[rows]
    limit = defaults.get("large_device_bytes", np.inf)
    large = [h.device is not None and h.device.memory_bytes >= limit for h in plans.hardware]
    few, many = float(defaults.get("profile_sequences", 1)), float(defaults.get("profile_sequences_large", 1))
    sequences = np.where(np.array(large), many, few)[machine]
    tokens = np.full(len(machine), float(tuning.ubatch_tokens or defaults["batched_tokens"]))
    if kind in ("mlx", "npu", "torch"):  # a short prompt makes a short pass
        tokens = np.minimum(tokens, np.maximum(loads.input_tokens[rows], 1))
    flash = defaults.get("flash_attention", True) if tuning.flash_attention is None else tuning.flash_attention
    column = _model_columns(plans.models).take(plans.model[rows], axis=1)
    vocab, hidden, ffn, heads, key, value, int4 = column
    return Workspace(
        tokens=tokens,
        sequences=sequences if tuning.max_num_seqs is None else np.full(len(machine), float(tuning.max_num_seqs)),
        context=loads.context_tokens[rows] * loads.concurrency[rows],
        vocab=vocab,
        hidden=hidden,
        ffn_width=ffn / tp,
        heads=heads / tp,
        expanded_key=key,
        expanded_value=value,
        flash=float(flash),
        buffer_limit=defaults.get("attention_buffer_bytes", np.inf),
        on_cpu=np.asarray(s.cpu_only)[rows],
        int4=int4,
        devices=np.asarray(s.pp)[rows],
    )


def _room(h: Hardware, engine: Engine) -> float:
    return 0.0 if h.device is None else _device_room(h.device, engine)


@cached_by_identity(8192)
def _device_room(device: Device, engine: Engine) -> float:
    inside = workspace_kind(engine.id) == "server_static"
    return float(usable_bytes(device, 1.0 if inside else engine.memory_fraction))


@cached_by_identity(_TABLES)
def _model_columns(models: tuple[ModelKey, ...]) -> Floats:
    return np.array([_model_row(m) for m in models]).T


def _model_row(m: ModelKey) -> tuple[float, ...]:
    return _model_row_of(m.variant.architecture, m.format)


@cached_by_identity(8192)
def _model_row_of(a: Architecture, f: Format) -> tuple[float, ...]:
    key, value = expanded_widths(a)
    int4 = float(f.family == "int4-weight-only")
    return float(a.vocab_size), float(a.hidden_size), ffn_width(a), float(a.n_heads), key, value, int4


def _host_room(h: Hardware) -> float:
    return float(host_usable_bytes(h.host, h.server.ram_bytes if h.server else None))
