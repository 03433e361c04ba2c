"""One plan from a few choices: the first engine that runs this format on this hardware."""

from __future__ import annotations

from collections.abc import Iterator

from advisor.catalog import Catalog
from advisor.catalog.engines import backends, runs_model, support
from advisor.catalog.errors import UnsupportedError
from advisor.catalog.formats import Format
from advisor.catalog.records import Device, Engine, Host, Variant
from advisor.sizing.cache import default_kv_format
from advisor.sizing.plan import Layout, Load, Offload, Plan

__all__ = ["device_plan", "host_plan", "quick_load"]

# Engines that people run in practice, best known first; others follow in the catalogue's order.
_PREFERRED = ("vllm", "sglang", "llama.cpp", "mlx", "torch")


def device_plan(catalog: Catalog, variant: Variant, format_id: str, device: Device, count: int) -> Plan:
    """One replica over `count` devices. Raises UnsupportedError where no engine runs the format there."""
    fmt = catalog.format(format_id)
    for engine, backend in _runtimes(catalog, variant, fmt, device):
        layout = Layout(tp=count) if engine.tensor_parallel else Layout(pp=count)
        kv_format = default_kv_format(variant.architecture)
        return Plan(variant, fmt, engine, backend, device, layout, kv_format=kv_format)
    raise UnsupportedError(f"no engine in the catalogue runs {variant.name} as {fmt.name} on {device.name}")


def host_plan(catalog: Catalog, variant: Variant, format_id: str, host: Host) -> Plan:
    """On the processors alone. Raises UnsupportedError where no engine runs the format there."""
    fmt = catalog.format(format_id)
    processor = catalog.devices.get(host.cpu_device_id or "")
    for engine, backend in _runtimes(catalog, variant, fmt, processor):
        layout = Layout(offload=Offload.CPU_ONLY)
        kv_format = default_kv_format(variant.architecture)
        return Plan(variant, fmt, engine, backend, None, layout, host=host, kv_format=kv_format)
    raise UnsupportedError(f"no engine in the catalogue runs {variant.name} as {fmt.name} on a processor")


def quick_load(context_tokens: int, sequences: int) -> Load:
    """A quarter of the context is generated."""
    output = max(1, context_tokens // 4)
    return Load(max(1, context_tokens - output), output, context_tokens, sequences)


def _runtimes(catalog: Catalog, variant: Variant, fmt: Format, device: Device | None) -> Iterator[tuple[Engine, str]]:
    rank = {name: index for index, name in enumerate(_PREFERRED)}
    for engine in sorted(catalog.engines.values(), key=lambda e: rank.get(e.id, len(rank))):
        if runs_model(engine, variant) is not None:
            continue
        for backend in backends(engine, device):
            if support(engine, fmt, device, backend) is not None:
                yield engine, backend
