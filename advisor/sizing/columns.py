"""Many plans and loads as columns: tables of the distinct things, and one index or number per plan.

A grid of a million plans has a few hundred models (variant + weight format + cache format), a few hundred
machines and a handful of engines; every formula is evaluated on arrays of shape (plans,).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from advisor.catalog.formats import Format
from advisor.catalog.records import Device, Engine, Host, Server, Variant
from advisor.sizing.identity_cache import cached_by_identity
from advisor.sizing.plan import Layout, Load, Offload, Plan

__all__ = ["OFFLOADS", "Hardware", "LoadColumns", "ModelKey", "PlanColumns", "Runtime", "Tuning"]

OFFLOADS = tuple(Offload)  # codes of PlanColumns.offload are positions in this tuple

Floats = NDArray[np.float64]
Index = NDArray[np.intp]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelKey:
    """What is served: a variant in a weight format, with a cache format."""

    variant: Variant
    format: Format
    kv_format: str = "bf16"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The software: an engine and its backend."""

    engine: Engine
    backend: str


@dataclass(frozen=True, slots=True)
class Hardware:
    """One accelerator type in its machine; `device` None: the processors of `host` alone."""

    device: Device | None
    host: Host | None = None
    server: Server | None = None


@dataclass(frozen=True, slots=True)
class Tuning:
    """Run-time switches that a plan does not carry. None: the engine's default.

    `engine_date`: decimal year of the engine build (2026.3); None: the newest that the calibration knows.
    `accepted_tokens`: tokens per verified step with speculative decoding or MTP (1: off), a stated assumption of
    the user; `draft_tokens`: tokens that the draft proposes per step.
    """

    engine_date: float | None = None
    ubatch_tokens: int | None = None
    flash_attention: bool | None = None
    max_num_seqs: int | None = None
    accepted_tokens: float = 1.0
    draft_tokens: int = 0


@dataclass(frozen=True, slots=True)
class PlanColumns:
    """Plans as columns. Row i serves `models[model[i]]` with `runtimes[runtime[i]]` on `hardware[machine[i]]`."""

    models: tuple[ModelKey, ...]
    runtimes: tuple[Runtime, ...]
    hardware: tuple[Hardware, ...]
    model: Index
    runtime: Index
    machine: Index
    tp: Floats
    pp: Floats
    ep: Floats
    dp_attention: Floats
    replicas: Floats
    offload: Index
    gpu_expert_layers: Floats
    gpu_layers: Floats

    def __len__(self) -> int:
        return len(self.model)

    @classmethod
    def of(cls, plan: Plan) -> PlanColumns:
        """One plan; the tables are the same objects for the same software and machine, as caches want them."""
        key, runtime = _key(plan.variant, plan.format, plan.kv_format), _runtime(plan.engine, plan.backend)
        where, layout = _where(plan.device, plan.host, plan.server), plan.layout
        at = np.array([OFFLOADS.index(layout.offload)], dtype=np.intp)
        tp, pp, ep, attention, replicas, experts, layers = np.array(
            [
                [layout.tp],
                [layout.pp],
                [layout.ep],
                [layout.dp_attention],
                [plan.replicas],
                [layout.gpu_expert_layers],
                [layout.gpu_layers],
            ],
            dtype=np.float64,
        )
        return cls(key, runtime, where, _ROW, _ROW, _ROW, tp, pp, ep, attention, replicas, at, experts, layers)

    @classmethod
    def from_plans(cls, plans: Sequence[Plan]) -> PlanColumns:
        """Columns of plan objects, in their order."""
        if len(plans) == 1:
            return cls.of(plans[0])
        models, model = _table([ModelKey(p.variant, p.format, p.kv_format) for p in plans], _model_id)
        runtimes, runtime = _table([Runtime(p.engine, p.backend) for p in plans], _runtime_id)
        hardware, machine = _table([Hardware(p.device, p.host, p.server) for p in plans], _hardware_id)
        numbers: dict[str, Any] = {
            name: np.array([getattr(p.layout, name) for p in plans], dtype=np.float64)
            for name in ("tp", "pp", "ep", "dp_attention", "gpu_expert_layers", "gpu_layers")
        }
        replicas = np.array([p.replicas for p in plans], dtype=np.float64)
        offload = np.array([OFFLOADS.index(p.layout.offload) for p in plans], dtype=np.intp)
        numbers |= {"replicas": replicas, "offload": offload}
        return cls(models, runtimes, hardware, model, runtime, machine, **numbers)

    def take(self, rows: NDArray[np.bool_] | Index | slice) -> PlanColumns:
        """The chosen rows; the tables are shared."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        taken: dict[str, Any] = {k: v[rows] if isinstance(v, np.ndarray) else v for k, v in given.items()}
        return PlanColumns(**taken)

    def compact(self) -> PlanColumns:
        """The same rows with tables of only what they use: tables are worked through entry by entry and in pairs."""
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for table, index in (("models", "model"), ("runtimes", "runtime"), ("hardware", "machine")):
            used = np.flatnonzero(np.bincount(columns[index], minlength=len(columns[table])))
            position = np.zeros(len(columns[table]), dtype=np.intp)
            position[used] = np.arange(len(used))
            columns[index] = position[columns[index]]
            columns[table] = tuple(columns[table][i] for i in used)
        return PlanColumns(**columns)

    def plan(self, row: int) -> Plan:
        """Row `row` as an object."""
        key, runtime, where = (
            self.models[self.model[row]],
            self.runtimes[self.runtime[row]],
            self.hardware[self.machine[row]],
        )
        return Plan(
            variant=key.variant,
            format=key.format,
            engine=runtime.engine,
            backend=runtime.backend,
            device=where.device,
            layout=self._layout(row),
            replicas=int(self.replicas[row]),
            host=where.host,
            server=where.server,
            kv_format=key.kv_format,
        )

    def _layout(self, row: int) -> Layout:
        return Layout(
            tp=int(self.tp[row]),
            pp=int(self.pp[row]),
            ep=int(self.ep[row]),
            dp_attention=int(self.dp_attention[row]),
            offload=OFFLOADS[self.offload[row]],
            gpu_expert_layers=float(self.gpu_expert_layers[row]),
            gpu_layers=int(self.gpu_layers[row]),
        )


@dataclass(frozen=True, slots=True)
class LoadColumns:
    """Steady loads on one replica, arrays of shape (plans,); fields as in `Load`."""

    input_tokens: Floats
    output_tokens: Floats
    context_tokens: Floats
    concurrency: Floats
    cached_input_tokens: Floats

    @classmethod
    def of(cls, load: Load, plans: int) -> LoadColumns:
        """The same load for every plan."""
        values = (
            load.input_tokens,
            load.output_tokens,
            load.context_tokens,
            load.concurrency,
            load.cached_input_tokens,
        )
        return cls(*np.array([values], dtype=np.float64).T.repeat(plans, axis=1))

    @classmethod
    def from_arrays(
        cls,
        *,
        input_tokens: ArrayLike,
        output_tokens: ArrayLike,
        context_tokens: ArrayLike,
        concurrency: ArrayLike,
        cached_input_tokens: ArrayLike = 0.0,
    ) -> LoadColumns:
        """Broadcast to one shape."""
        given = (input_tokens, output_tokens, context_tokens, concurrency, cached_input_tokens)
        return cls(*np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in given)))

    def take(self, rows: NDArray[np.bool_] | Index | slice) -> LoadColumns:
        return LoadColumns(*(getattr(self, f.name)[rows] for f in fields(self)))


_ROW = np.zeros(1, dtype=np.intp)


@cached_by_identity(2048)
def _key(variant: Variant, fmt: Format, kv_format: str) -> tuple[ModelKey, ...]:
    return (ModelKey(variant, fmt, kv_format),)


@cached_by_identity(512)
def _runtime(engine: Engine, backend: str) -> tuple[Runtime, ...]:
    return (Runtime(engine, backend),)


@cached_by_identity(2048)
def _where(device: Device | None, host: Host | None, server: Server | None) -> tuple[Hardware, ...]:
    return (Hardware(device, host, server),)


def _table(items: Sequence[T], key: Callable[[T], Hashable]) -> tuple[tuple[T, ...], Index]:
    """Distinct items by key, and the position of each item in them."""
    seen: dict[Hashable, int] = {}
    distinct: list[T] = []
    index = np.empty(len(items), dtype=np.intp)
    for row, item in enumerate(items):
        name = key(item)
        if name not in seen:
            seen[name] = len(distinct)
            distinct.append(item)
        index[row] = seen[name]
    return tuple(distinct), index


def _model_id(item: ModelKey) -> Hashable:
    return item.variant.id, item.format.id, item.kv_format


def _runtime_id(item: Runtime) -> Hashable:
    return item.engine.id, item.backend


def _hardware_id(item: Hardware) -> Hashable:
    """A host that was measured twice has other rates the second time, under the same id."""
    ids = tuple(part.id if part else None for part in (item.device, item.host, item.server))
    return (*ids, _rates(item.host)) if item.host else ids


def _rates(host: Host) -> tuple[float | None, ...]:
    return (
        host.measured_bandwidth_bytes_per_s, host.memory_bandwidth_bytes_per_s, host.peak_fp32_ops_per_s,
        host.peak_bf16_ops_per_s,
    )  # fmt: skip
