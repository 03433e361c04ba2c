"""The cheapest changes that make a plan fit: shorter or fewer sequences, more devices, other formats or models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from advisor.catalog import Catalog
from advisor.catalog.engines import support
from advisor.catalog.formats import Format
from advisor.catalog.records import AttentionKind, Device, Role, Variant
from advisor.sizing.columns import LoadColumns, PlanColumns
from advisor.sizing.footprint import Footprint, footprint, footprint_columns
from advisor.sizing.layout import why_invalid
from advisor.sizing.plan import Layout, Load, Offload, Plan, Suggestion

__all__ = ["suggestions"]

_FAMILIES_BELOW = ("fp8", "int8", "fp4", "int4-weight-only", "gguf-8", "gguf-5-6", "gguf-4", "gguf-2-3", "gguf-iq")


def suggestions(plan: Plan, load: Load, catalog: Catalog, limit: int = 6) -> tuple[Suggestion, ...]:
    """At most `limit` changes, each of which alone makes `plan` fit under `load`; empty if it fits already."""
    now = footprint(plan, load)
    if now.fits:
        return ()
    found = [
        *_fewer_sequences(now, load),
        *_shorter_context(now, load),
        *_more_devices(plan, load),
        *_first(_other_formats(plan, load, catalog), 2),
        *_first(_bigger_devices(plan, load, catalog), 1),
        *_offload(plan, load),
        *_first(_other_variants(plan, load, catalog), 1),
    ]
    return tuple(found[:limit])


def _fewer_sequences(now: Footprint, load: Load) -> Iterator[Suggestion]:
    if 0 < now.max_concurrency < load.concurrency:
        yield Suggestion("fewer_sequences", {"concurrency": now.max_concurrency})


def _shorter_context(now: Footprint, load: Load) -> Iterator[Suggestion]:
    if (
        now.max_context_tokens >= load.input_tokens + load.output_tokens
        and now.max_context_tokens < load.context_tokens
    ):
        yield Suggestion("shorter_context", {"context_tokens": now.max_context_tokens})


def _more_devices(plan: Plan, load: Load) -> Iterator[Suggestion]:
    """The next counts that split evenly, up to four nodes of eight."""
    if plan.device is None:
        return
    for count in (2, 4, 8, 16, 24, 32):
        if count <= plan.layout.devices:
            continue
        layout = _spread(plan, count)
        if layout is not None and footprint(replace(plan, layout=layout), load).fits:
            yield Suggestion("more_devices", {"count": count})
            return


def _spread(plan: Plan, count: int) -> Layout | None:
    """`count` devices: tensor parallel inside a node of eight, stages across nodes."""
    tp = min(count, 8) if plan.engine.tensor_parallel else 1
    dp = tp if plan.layout.dp_attention > 1 else 1
    layout = replace(plan.layout, tp=tp, pp=count // tp, ep=min(plan.layout.ep, tp), dp_attention=dp)
    return layout if why_invalid(plan.variant.architecture, layout, plan.engine) is None else None


def _other_formats(plan: Plan, load: Load, catalog: Catalog) -> Iterator[Suggestion]:
    """Formats of the engine, largest first, so that the least is given up."""
    below = [f for f in catalog.formats.values() if _smaller(f, plan.format) and _runs(plan, f, plan.device)]
    for f in sorted(below, key=lambda f: -f.bits_per_weight):
        if footprint(replace(plan, format=f), load).fits:
            yield Suggestion("other_format", {"format_id": f.id})


def _smaller(f: Format, than: Format) -> bool:
    native_only = f.id.startswith("v4") or f.whole_model_bpw is not None
    return f.offered and not native_only and f.bits_per_weight < than.bits_per_weight and f.family in _FAMILIES_BELOW


def _bigger_devices(plan: Plan, load: Load, catalog: Catalog) -> Iterator[Suggestion]:
    """Devices of the same class and vendor, linked as well if these are, smallest first."""
    if plan.device is None:
        return
    own = plan.device
    same = [d for d in catalog.devices.values() if _like(d, own) and d.memory_bytes > own.memory_bytes]
    for device in sorted(same, key=lambda d: (d.memory_bytes, d.bandwidth_bytes_per_s)):
        if not _runs(plan, plan.format, device):
            continue
        if footprint(replace(plan, device=device, server=None), load).fits:
            yield Suggestion("bigger_device", {"device_id": device.id})


def _like(d: Device, own: Device) -> bool:
    same = not d.reference and d.device_class is own.device_class and d.vendor == own.vendor and d.dies == own.dies
    return same and (own.link is None or d.link is not None)


def _offload(plan: Plan, load: Load) -> Iterator[Suggestion]:
    a = plan.variant.architecture
    if not plan.engine.cpu_offload or not a.is_moe or plan.layout.offload is not Offload.NONE:
        return
    if footprint(replace(plan, layout=replace(plan.layout, offload=Offload.EXPERTS_CPU)), load).fits:
        yield Suggestion("offload", {})


def _other_variants(plan: Plan, load: Load, catalog: Catalog) -> Iterator[Suggestion]:
    """Smaller models that are recommended, distilled and large first, in the plan's format or a usual one."""
    smaller = [v for v in catalog.variants.values() if v.role in (Role.FULL, Role.DISTILLED) and v is not plan.variant]
    formats = (plan.format.id, "bf16", "awq", "gguf-q4_k_m")
    rows = [replace(plan, variant=v, format=catalog.format(f)) for v in smaller if _plain(v) for f in formats]
    rows = [p for p in rows if _runs(p, p.format, p.device) and why_invalid(p.variant.architecture, p.layout) is None]
    if not rows:
        return
    sized = footprint_columns(PlanColumns.from_plans(rows), LoadColumns.of(load, len(rows)))
    distilled = np.array([p.variant.role is Role.DISTILLED for p in rows])
    order = np.lexsort((-sized.weights_bytes, ~distilled))
    for i in order:
        if sized.shortfall_bytes[i] <= 0:
            yield Suggestion("other_variant", {"variant_id": rows[i].variant.id, "format_id": rows[i].format.id})


def _runs(plan: Plan, f: Format, device: Device | None) -> bool:
    return support(plan.engine, f, device, plan.backend) is not None


def _plain(v: Variant) -> bool:
    """A cache that any format of keys and values suits."""
    return v.architecture.attention in (AttentionKind.GQA, AttentionKind.MLA)


def _first(found: Iterator[Suggestion], n: int) -> list[Suggestion]:
    return [s for _, s in zip(range(n), found, strict=False)]
