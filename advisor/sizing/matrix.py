"""Hardware-requirement matrix: variant x format x context -> bytes, host memory, disk, smallest device that holds it.

One sequence per cell; GGUF formats are sized for llama.cpp, the others for vLLM. All cells are one grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog import Catalog
from advisor.catalog.engines import backends, runs_model, support
from advisor.catalog.formats import Format
from advisor.catalog.records import Device, DeviceClass, Engine, Role, Variant
from advisor.sizing.cache import default_kv_format
from advisor.sizing.columns import Hardware, LoadColumns, ModelKey, PlanColumns, Runtime
from advisor.sizing.footprint import FootprintArrays, footprint_columns
from advisor.sizing.layout import why_invalid
from advisor.sizing.plan import Layout

__all__ = ["CONTEXTS", "FORMATS", "MatrixRow", "matrix"]

CONTEXTS = (4096, 32768, 131072)
FORMATS = ("bf16", "fp8-block", "int8-w8a8", "awq", "gguf-q8_0", "gguf-q4_k_m", "gguf-q2_k")
COUNTS = (1, 2, 4, 8, 16, 32)
DISK_FACTOR = 1.05  # tokenizer, configuration and room to replace a file beside the weights
LOADING_BYTES = 2**33  # host memory while loading: the largest shard in flight, and the process itself
_CLASSES = (DeviceClass.CONSUMER_GPU, DeviceClass.WORKSTATION_GPU, DeviceClass.DATACENTER_GPU)


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


@dataclass(frozen=True, slots=True)
class _Choice:
    """One way to hold a model: `count` devices in a layout. `yardstick`: any device, only for the bytes."""

    model: int
    engine: int
    device: int
    layout: Layout
    yardstick: bool = False


def matrix(
    catalog: Catalog,
    *,
    variants: Sequence[Variant] | None = None,
    formats: Sequence[Format] | None = None,
    contexts: Sequence[int] | None = None,
) -> tuple[MatrixRow, ...]:
    """Rows in the order of the catalogue; contexts above what a model was made for are left out."""
    chosen = variants or [v for v in catalog.variants.values() if v.role in (Role.FULL, Role.DISTILLED, Role.USER)]
    models = [_key(v, f) for v in chosen for f in formats or _formats_of(v, catalog)]
    engines = (catalog.engine("vllm"), catalog.engine("llama.cpp"))
    devices = _candidates(catalog)
    choices = list(_choices(models, engines, devices))
    columns = _columns(models, engines, devices, choices)
    rows: list[tuple[int, MatrixRow]] = []
    for context in contexts or CONTEXTS:
        n = float(context)
        loads = LoadColumns.from_arrays(
            input_tokens=np.full(len(choices), n - 1), output_tokens=1.0, context_tokens=n, concurrency=1.0
        )
        sized = footprint_columns(columns, loads)
        rows += _rows(models, choices, devices, sized, context)
    return tuple(row for _, row in sorted(rows, key=lambda pair: pair[0]))


def _key(v: Variant, f: Format) -> ModelKey:
    kv = default_kv_format(v.architecture)
    return ModelKey(v, f, "f16" if f.gguf is not None and kv == "bf16" else kv)


def _formats_of(v: Variant, catalog: Catalog) -> list[Format]:
    native = catalog.format(v.native_format)
    if native.id.startswith("v4"):
        return [native]
    return list(dict.fromkeys([native, *(catalog.formats[f] for f in FORMATS if f in catalog.formats)]))


def _candidates(catalog: Catalog) -> list[Device]:
    """Devices on offer, smallest first; among equals the slower, which is usually the cheaper."""
    found = [d for d in catalog.devices.values() if not d.reference and d.device_class in _CLASSES and d.dies == 1]
    return sorted(found, key=lambda d: (d.memory_bytes, d.bandwidth_bytes_per_s))


def _choices(models: Sequence[ModelKey], engines: Sequence[Engine], devices: Sequence[Device]) -> Iterator[_Choice]:
    """For each model one yardstick, then every count of every device that its engine supports."""
    known: dict[tuple[int, str], list[int]] = {}
    for m, key in enumerate(models):
        e = 0 if key.format.gguf is None else 1
        yield _Choice(m, e, 0, Layout(), yardstick=True)
        if runs_model(engines[e], key.variant) is not None:
            continue
        able = known.setdefault((e, key.format.id), [])
        if not able:
            able += [i for i, d in enumerate(devices) if support(engines[e], key.format, d) is not None]
        for count in COUNTS:
            split = Layout(tp=min(count, 8), pp=max(count // 8, 1))
            layout = split if engines[e].tensor_parallel else Layout(pp=count)
            if why_invalid(key.variant.architecture, layout, engines[e]) is None:
                yield from (_Choice(m, e, i, layout) for i in able if _linked(devices[i], count))


def _linked(d: Device, count: int) -> bool:
    """More than eight consumer cards in one replica is nothing that anybody builds."""
    return count <= 8 or d.device_class is DeviceClass.DATACENTER_GPU


def _columns(
    models: Sequence[ModelKey], engines: Sequence[Engine], devices: Sequence[Device], choices: Sequence[_Choice]
) -> PlanColumns:
    def index(name: str) -> NDArray[np.intp]:
        return np.array([getattr(c, name) for c in choices], dtype=np.intp)

    n = len(choices)
    return PlanColumns(
        models=tuple(models),
        runtimes=tuple(Runtime(e, (*backends(e, devices[-1]), "cuda")[0]) for e in engines),
        hardware=tuple(Hardware(d) for d in devices),
        model=index("model"),
        runtime=index("engine"),
        machine=index("device"),
        tp=np.array([float(c.layout.tp) for c in choices]),
        pp=np.array([float(c.layout.pp) for c in choices]),
        ep=np.ones(n),
        dp_attention=np.ones(n),
        replicas=np.ones(n),
        offload=np.zeros(n, dtype=np.intp),
        gpu_expert_layers=np.zeros(n),
        gpu_layers=np.zeros(n),
    )


def _rows(
    models: Sequence[ModelKey],
    choices: Sequence[_Choice],
    devices: Sequence[Device],
    sized: FootprintArrays,
    context: int,
) -> Iterator[tuple[int, MatrixRow]]:
    """(position of the model, row) for the models that were made for this context."""
    best: dict[int, tuple[tuple[int, int], int]] = {}
    yard: dict[int, int] = {}
    for i, c in enumerate(choices):
        if c.yardstick:
            yard[c.model] = i
        elif sized.shortfall_bytes[i] <= 0:
            cost = (c.layout.devices * devices[c.device].memory_bytes, c.layout.devices)
            if c.model not in best or cost < best[c.model][0]:
                best[c.model] = (cost, i)
    for m, i in yard.items():
        if context <= (models[m].variant.architecture.max_context_tokens or context):
            yield m, _row(models[m], choices[best[m][1]] if m in best else None, devices, sized, i, context)


def _row(
    key: ModelKey, choice: _Choice | None, devices: Sequence[Device], sized: FootprintArrays, i: int, context: int
) -> MatrixRow:
    weights, cache = round(float(sized.weights_bytes[i])), round(float(sized.kv_cache_bytes[i]))
    rest = round(float(sized.activation_bytes[i] + sized.overhead_bytes[i]))
    return MatrixRow(
        variant_id=key.variant.id,
        format_id=key.format.id,
        context_tokens=context,
        weights_bytes=weights,
        kv_cache_bytes=cache,
        memory_bytes=weights + cache + rest,
        ram_bytes=min(weights, LOADING_BYTES) + LOADING_BYTES,
        disk_bytes=round(weights * DISK_FACTOR),
        device_id=devices[choice.device].id if choice is not None else None,
        device_count=choice.layout.devices if choice is not None else None,
    )
