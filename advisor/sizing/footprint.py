"""Bytes on the fullest device of a replica, and what follows: does it fit, how long, how many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.formats import Format
from advisor.catalog.records import Architecture
from advisor.sizing.cache import CacheRule, MlaCache, Number, cache_bytes, cache_rule, gather_rules
from advisor.sizing.columns import OFFLOADS, LoadColumns, ModelKey, PlanColumns, Runtime, Tuning
from advisor.sizing.identity_cache import cached_by_identity
from advisor.sizing.layout import (
    Shards,
    WeightShares,
    device_weights,
    gather_shares,
    kv_share,
    stage_layers,
    weight_shares,
)
from advisor.sizing.plan import DeviceFootprint, Load, Offload, Plan
from advisor.sizing.workspace import usable_columns, workspace_columns

__all__ = ["Footprint", "FootprintArrays", "footprint", "footprint_columns", "footprint_of"]

Floats = NDArray[np.float64]
_TABLES = 64  # of the last grids: a grid is evaluated in chunks that share them
_NEVER = 1e15  # context that no memory limits, in tokens


@dataclass(frozen=True, slots=True)
class FootprintArrays:
    """Bytes per device (fullest one) and in host memory; arrays of shape (plans,)."""

    weights_bytes: Floats
    kv_cache_bytes: Floats
    activation_bytes: Floats
    overhead_bytes: Floats
    usable_bytes: Floats
    host_weights_bytes: Floats
    host_kv_bytes: Floats
    host_usable_bytes: Floats  # 0: not known
    kv_bytes_per_sequence: Floats  # at the load's context, on the fullest device
    max_concurrency: Floats  # sequences of the load's context that one replica holds; 0: the weights do not fit
    max_context_tokens: Floats  # at the load's concurrency, before the model's own limit
    shortfall_bytes: Floats  # per device; 0 when it fits


@dataclass(frozen=True, slots=True)
class Footprint:
    """One plan under one load."""

    device: DeviceFootprint
    host: DeviceFootprint | None
    fits: bool
    shortfall_bytes: int
    kv_bytes_per_token: float
    max_concurrency: int
    max_context_tokens: int


def footprint(plan: Plan, load: Load, tuning: Tuning | None = None) -> Footprint:
    """Footprint of one plan."""
    return footprint_of(plan, PlanColumns.of(plan), LoadColumns.of(load, 1), tuning)


def footprint_of(plan: Plan, columns: PlanColumns, loads: LoadColumns, tuning: Tuning | None = None) -> Footprint:
    """Footprint of the one plan that `columns` and `loads` hold."""
    arrays = footprint_columns(columns, loads, tuning)
    rule = _rule(columns.models[0], columns.runtimes[0])
    ceiling = plan.variant.architecture.max_context_tokens or _NEVER
    return _scalar(arrays, plan, float(np.asarray(rule.token_bytes)), ceiling)


def footprint_columns(plans: PlanColumns, loads: LoadColumns, tuning: Tuning | None = None) -> FootprintArrays:
    """Footprints of many plans; a few dozen array operations in all."""
    tuning = tuning or Tuning()
    pair = plans.model * len(plans.runtimes) + plans.runtime
    shares = gather_shares(_all_shares(plans.models), plans.model)
    rule = gather_rules(_all_rules(plans.models, plans.runtimes), pair)
    shards = _shards(plans)
    part = kv_share(np.maximum(rule.shards, 1), shards.tp / shards.dp_attention)
    part = part * stage_layers(shares.n_layers, shards.pp) / shares.n_layers
    block = _runtime_column(plans, lambda r: float(r.engine.paged_block_tokens))
    whole = cache_bytes(rule, loads.context_tokens, block_tokens=block)
    weights_bytes, host_weights = device_weights(shares, shards)
    usable, host_usable = usable_columns(plans)
    activation, overhead = workspace_columns(plans, loads, tuning, shards, usable)
    beside = activation + overhead
    sequences = np.ceil(loads.concurrency / shards.dp_attention)
    none = np.zeros(len(plans))
    at = _Placed(none, none + host_weights, none + weights_bytes, part, usable - beside)
    if shards.offloads:
        at = _placed(shards, shares, at, host_usable - beside)
    per_sequence = np.asarray(whole * at.part)
    kv = on_device = per_sequence * sequences
    host_kv, resident = none, at.weights
    if shards.offloads:
        host_kv = np.where(at.cpu > 0, kv, whole * (part - at.part) * sequences)
        on_device, resident = np.where(at.cpu > 0, 0.0, kv), np.where(at.cpu > 0, at.host_weights, at.weights)
    room = at.room - resident
    missing = _shortfall(kv - room, at, host_kv, host_usable) if shards.offloads else np.maximum(kv - room, 0.0)
    return FootprintArrays(
        weights_bytes=at.weights,
        kv_cache_bytes=on_device,
        activation_bytes=activation,
        overhead_bytes=overhead,
        usable_bytes=usable,
        host_weights_bytes=at.host_weights,
        host_kv_bytes=host_kv,
        host_usable_bytes=host_usable,
        kv_bytes_per_sequence=per_sequence,
        max_concurrency=np.floor(np.maximum(room, 0) / np.maximum(per_sequence, 1)) * shards.dp_attention,
        max_context_tokens=_longest(rule, at.part, room / sequences, block),
        shortfall_bytes=missing,
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where a replica lives: `cpu` 1 where it has no accelerator; `part` of a sequence's cache on the fullest device
    (or in the host of such a replica); `room` for weights and cache there.
    """

    cpu: Floats
    host_weights: Floats
    weights: Floats
    part: Number
    room: Floats


def _placed(s: Shards, w: WeightShares, at: _Placed, host_room: Floats) -> _Placed:
    """With experts, layers or everything in host memory: layers that are there keep their cache there."""
    cpu = np.asarray(s.cpu_only, dtype=float)
    on_device = np.where(cpu > 0, 1.0, np.minimum(s.gpu_layers / w.n_layers, 1.0))
    return _Placed(cpu, at.host_weights, at.weights, at.part * on_device, np.where(cpu > 0, host_room, at.room))


def _shortfall(device: Floats, at: _Placed, host_kv: Floats, host_usable: Floats) -> Floats:
    """What is missing on a device, or in host memory where its size is known; 0: nothing."""
    in_host = np.where((host_usable > 0) & (at.cpu <= 0), at.host_weights + host_kv - host_usable, 0.0)
    missing: Floats = np.maximum(np.maximum(device, in_host), 0.0)
    return missing


def _longest(rule: CacheRule, part: Number, room: Floats, block: Floats) -> Floats:
    """Tokens per sequence that fit in `room` bytes of one device."""
    whole = room / np.maximum(part, 1e-12)
    left = whole - rule.window_token_bytes * rule.window_tokens - rule.fixed_bytes
    per_token = np.maximum(rule.token_bytes, 1e-12)
    tokens = np.minimum(left / per_token, _NEVER)
    if np.any(rule.window_tokens):
        within = np.maximum(whole - rule.fixed_bytes, 0) / (per_token + rule.window_token_bytes)
        tokens = np.where(tokens < rule.window_tokens, np.minimum(within, rule.window_tokens), tokens)
    longest: Floats = np.maximum(np.floor(tokens / block) * block, 0.0)
    return longest


@cached_by_identity(_TABLES)
def _all_shares(models: tuple[ModelKey, ...]) -> tuple[WeightShares, ...]:
    return tuple(_shares(m) for m in models)


@cached_by_identity(_TABLES)
def _all_rules(models: tuple[ModelKey, ...], runtimes: tuple[Runtime, ...]) -> tuple[CacheRule, ...]:
    by_kind = {r.engine.expands_mla: r for r in runtimes}
    rules = [{expands: _rule(m, r) for expands, r in by_kind.items()} for m in models]
    return tuple(of_model[r.engine.expands_mla] for of_model in rules for r in runtimes)


def _shares(m: ModelKey) -> WeightShares:
    return _shares_of(m.variant.architecture, m.format)


def _rule(m: ModelKey, r: Runtime) -> CacheRule:
    mla = MlaCache.EXPANDED if r.engine.expands_mla else MlaCache.LATENT
    return _rule_of(m.variant.architecture, m.kv_format, str(mla))


@cached_by_identity(8192)
def _shares_of(a: Architecture, f: Format) -> WeightShares:
    return weight_shares(a, f)


@cached_by_identity(8192)
def _rule_of(a: Architecture, kv_format: str, mla: str) -> CacheRule:
    return cache_rule(a, kv_format, mla=MlaCache(mla))


def _shards(plans: PlanColumns) -> Shards:
    if not plans.offload.any():  # Offload.NONE is the first of them
        no = np.zeros(len(plans))
        return Shards(plans.tp, plans.pp, plans.dp_attention, no, no, no, np.inf, offloads=False)

    def is_(kind: Offload) -> Floats:
        flag: Floats = (plans.offload == OFFLOADS.index(kind)).astype(float)
        return flag

    split = is_(Offload.LAYERS_SPLIT)
    return Shards(
        tp=plans.tp,
        pp=plans.pp,
        dp_attention=plans.dp_attention,
        experts_on_cpu=is_(Offload.EXPERTS_CPU),
        cpu_only=is_(Offload.CPU_ONLY),
        gpu_expert_layers=plans.gpu_expert_layers,
        gpu_layers=np.where(split > 0, plans.gpu_layers, np.inf),
        offloads=True,
    )


def _runtime_column(plans: PlanColumns, read: object) -> Floats:
    assert callable(read)
    return np.array([read(r) for r in plans.runtimes], dtype=float)[plans.runtime]


def _scalar(f: FootprintArrays, plan: Plan, token_bytes: float, ceiling: float) -> Footprint:
    number = {name: float(getattr(f, name)[0]) for name in FootprintArrays.__slots__}
    cpu_only = plan.layout.offload is Offload.CPU_ONLY
    device = DeviceFootprint(
        device_index=-1 if cpu_only else 0,
        weights_bytes=round(number["host_weights_bytes" if cpu_only else "weights_bytes"]),
        kv_cache_bytes=round(number["host_kv_bytes" if cpu_only else "kv_cache_bytes"]),
        activation_bytes=round(number["activation_bytes"]),
        overhead_bytes=round(number["overhead_bytes"]),
        usable_bytes=round(number["host_usable_bytes" if cpu_only else "usable_bytes"]),
    )
    host = None
    if not cpu_only and number["host_weights_bytes"] > 0:
        host = DeviceFootprint(
            device_index=-1,
            weights_bytes=round(number["host_weights_bytes"]),
            kv_cache_bytes=round(number["host_kv_bytes"]),
            activation_bytes=0,
            overhead_bytes=0,
            usable_bytes=round(number["host_usable_bytes"]),
        )
    return Footprint(
        device=device,
        host=host,
        fits=number["shortfall_bytes"] <= 0,
        shortfall_bytes=round(number["shortfall_bytes"]),
        kv_bytes_per_token=token_bytes,
        max_concurrency=int(number["max_concurrency"]),
        max_context_tokens=int(min(number["max_context_tokens"], ceiling)),
    )
