"""Hardware-requirement matrix: variant x format x context -> bytes, host memory, disk, smallest device that holds it.

One sequence per cell; GGUF formats are sized for llama.cpp, the others for vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from advisor.catalog import Catalog
from advisor.catalog.engines import backends, support
from advisor.catalog.formats import Format
from advisor.catalog.records import Device, DeviceClass, Engine, Role, Variant
from advisor.sizing.cache import default_kv_format
from advisor.sizing.columns import LoadColumns, PlanColumns
from advisor.sizing.footprint import FootprintArrays, footprint_columns
from advisor.sizing.layout import why_invalid
from advisor.sizing.plan import Layout, Load, Plan

__all__ = ["CONTEXTS", "FORMATS", "MatrixRow", "matrix"]

CONTEXTS = (4096, 32768, 131072)
FORMATS = ("bf16", "fp8-block", "int8-w8a8", "awq", "gguf-q8_0", "gguf-q4_k_m", "gguf-q2_k")
COUNTS = (1, 2, 4, 8, 16, 32)
DISK_FACTOR = 1.05  # tokenizer, configuration and room to replace a file beside the weights
LOADING_BYTES = 2**33  # host memory while loading: the largest shard in flight, and the process itself
_CLASSES = (
    DeviceClass.CONSUMER_GPU,
    DeviceClass.WORKSTATION_GPU,
    DeviceClass.DATACENTER_GPU,
)


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One cell. `memory_bytes`: weights + cache + activations + overhead of one device that would hold all of it."""

    variant_id: str
    format_id: str
    context_tokens: int
    weights_bytes: int
    kv_cache_bytes: int
    memory_bytes: int
    ram_bytes: int
    disk_bytes: int
    device_id: str | None
    device_count: int | None


def matrix(
    catalog: Catalog,
    *,
    variants: Sequence[Variant] | None = None,
    formats: Sequence[Format] | None = None,
    contexts: Sequence[int] | None = None,
) -> tuple[MatrixRow, ...]:
    """Rows in the order of the catalogue; contexts above what a model was made for are left out."""
    chosen = variants or [v for v in catalog.variants.values() if v.role in (Role.FULL, Role.DISTILLED, Role.USER)]
    devices = _candidates(catalog)
    rows: list[MatrixRow] = []
    for v in chosen:
        for f in formats or _formats_of(v, catalog):
            rows += _cells(v, f, contexts or CONTEXTS, catalog, devices)
    return tuple(rows)


def _formats_of(v: Variant, catalog: Catalog) -> list[Format]:
    native = catalog.format(v.native_format)
    if native.id.startswith("v4"):
        return [native]
    return list(dict.fromkeys([native, *(catalog.formats[f] for f in FORMATS if f in catalog.formats)]))


def _candidates(catalog: Catalog) -> list[Device]:
    """Devices on offer, smallest first; among equals the slower, which is usually the cheaper."""
    found = [d for d in catalog.devices.values() if not d.reference and d.device_class in _CLASSES and d.dies == 1]
    return sorted(found, key=lambda d: (d.memory_bytes, d.bandwidth_bytes_per_s))


def _cells(v: Variant, f: Format, contexts: Sequence[int], catalog: Catalog, devices: list[Device]) -> list[MatrixRow]:
    engine = catalog.engine("llama.cpp" if f.gguf else "vllm")
    ceiling = v.architecture.max_context_tokens or max(contexts)
    rows = []
    for context in (n for n in contexts if n <= ceiling):
        load = Load(context - 1, 1, context)
        plans = _plans(v, f, engine, devices)
        sized = footprint_columns(PlanColumns.from_plans(plans), LoadColumns.of(load, len(plans)))
        rows.append(_row(plans, sized, context))
    return rows


def _plans(v: Variant, f: Format, engine: Engine, devices: list[Device]) -> list[Plan]:
    """Row 0 is one device without regard to its size; then every count of every device that the engine supports."""
    kv = "f16" if f.gguf and default_kv_format(v.architecture) == "bf16" else default_kv_format(v.architecture)
    first = Plan(v, f, engine, "cuda", devices[0], kv_format=kv)
    plans = [first]
    for count in COUNTS:
        layout = Layout(tp=min(count, 8), pp=max(count // 8, 1)) if engine.tensor_parallel else Layout(pp=count)
        if why_invalid(v.architecture, layout, engine) is not None:
            continue
        plans += [
            replace(first, device=d, layout=layout, backend=backends(engine, d)[0])
            for d in devices
            if support(engine, f, d) is not None and _linked(d, count)
        ]
    return plans


def _linked(d: Device, count: int) -> bool:
    """More than eight consumer cards in one replica is nothing that anybody builds."""
    return count <= 8 or d.device_class is DeviceClass.DATACENTER_GPU


def _row(plans: Sequence[Plan], sized: FootprintArrays, context: int) -> MatrixRow:
    fits = [int(i) + 1 for i in np.flatnonzero(sized.shortfall_bytes[1:] <= 0)]
    best = min(fits, key=lambda i: (plans[i].layout.devices * _memory(plans[i]), plans[i].layout.devices), default=None)
    weights = int(sized.weights_bytes[0])
    memory = weights + sized.kv_cache_bytes[0] + sized.activation_bytes[0] + sized.overhead_bytes[0]
    return MatrixRow(
        variant_id=plans[0].variant.id,
        format_id=plans[0].format.id,
        context_tokens=context,
        weights_bytes=weights,
        kv_cache_bytes=round(float(sized.kv_cache_bytes[0])),
        memory_bytes=round(float(memory)),
        ram_bytes=min(weights, LOADING_BYTES) + LOADING_BYTES,
        disk_bytes=round(weights * DISK_FACTOR),
        device_id=_device(plans[best]).id if best is not None else None,
        device_count=plans[best].layout.devices if best is not None else None,
    )


def _device(plan: Plan) -> Device:
    assert plan.device is not None
    return plan.device


def _memory(plan: Plan) -> int:
    return _device(plan).memory_bytes
