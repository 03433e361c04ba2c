"""From command-line words to a plan and a load; shared by commands that size one plan."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from advisor.catalog import Catalog
from advisor.catalog.engines import backends, runs_model, support, why_not
from advisor.catalog.errors import InputError, UnknownIdError, UnsupportedError
from advisor.catalog.formats import Format
from advisor.catalog.hf_config import variant_from_config
from advisor.catalog.records import Architecture, Device, DeviceClass, Engine, Host, Variant
from advisor.catalog.text import translate
from advisor.catalog.units import parse_bytes
from advisor.sizing.cache import default_kv_format
from advisor.sizing.layout import why_invalid
from advisor.sizing.plan import Layout, Load, Offload, Plan
from probes.machine import THIS_MACHINE, detect
from probes.place import this_host

__all__ = ["add_plan_arguments", "load_from", "plan_from", "variant_from"]

NODE = 8  # accelerators of the usual server
_PREFERRED = ("vllm", "sglang", "trtllm", "llama.cpp", "mlx", "rkllm", "qnn-genie", "openvino", "transformers", "torch")


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL and everything that describes how it is served."""
    parser.add_argument("model", metavar="MODEL", help="a model id, a Hugging Face name, or path/to/config.json")
    parser.add_argument("--format", metavar="F", help="weight format (default: the publisher's)")
    parser.add_argument("--device", metavar="D", help="accelerator or processor")
    host = "machine around the accelerators, or that serves alone; this-machine: this one"
    parser.add_argument("--host", metavar="H", help=host)
    parser.add_argument("--server", metavar="S", help="chassis that holds the accelerators")
    parser.add_argument("--ram", metavar="SIZE", help="host memory, such as 512GiB")
    parser.add_argument("--count", type=_positive, default=None, metavar="N", help="accelerators")
    for name, text in (("tp", "tensor parallel"), ("pp", "pipeline stages"), ("ep", "expert parallel")):
        parser.add_argument(f"--{name}", type=_positive, default=None, metavar="N", help=text)
    parser.add_argument("--dp-attention", type=_positive, default=1, metavar="N", help="attention replicas")
    parser.add_argument("--offload", choices=[str(o) for o in Offload], default=str(Offload.NONE))
    parser.add_argument("--gpu-expert-layers", type=float, default=0.0, metavar="N", help="with experts_cpu")
    parser.add_argument("--gpu-layers", type=int, default=0, metavar="N", help="with layers_split")
    parser.add_argument("--engine", metavar="E", help="software (default: the first that fits)")
    parser.add_argument("--backend", metavar="B", help="cuda, rocm, metal, vulkan, cpu …")
    parser.add_argument("--kv-format", metavar="F", help="cache format (default: by attention)")
    parser.add_argument("--context", type=_positive, default=None, metavar="N", help="tokens that a sequence may reach")
    parser.add_argument("--concurrency", type=_positive, default=1, metavar="N", help="sequences at once")
    parser.add_argument("--input", type=_positive, default=None, metavar="N", help="prompt tokens")
    parser.add_argument("--output", type=_positive, default=None, metavar="N", help="generated tokens")


def variant_from(words: str, catalog: Catalog) -> Variant:
    """A catalogue model, or a dropped-in `config.json`."""
    if words.endswith(".json") or Path(words).is_file():
        return variant_from_config(Path(words))
    try:
        return catalog.variant(words)
    except UnknownIdError:
        short = f"deepseek-{words.strip().lower()}"  # "R1", "V3.2", "r1-distill-qwen-7b"
        if short in catalog.variants:
            return catalog.variant(short)
        raise


def load_from(arguments: argparse.Namespace) -> Load:
    """The load; unless said otherwise a quarter of the context, at most 512 tokens, is generated."""
    context = arguments.context or (arguments.input or 1024) + (arguments.output or 512)
    output = arguments.output or max(min(512, context // 4), 1)
    prompt = arguments.input or max(min(1024, context - output), 1)
    if prompt + output > context:
        raise InputError("context", f"at least input + output = {prompt + output} tokens", context)
    return Load(prompt, output, context, arguments.concurrency)


def plan_from(arguments: argparse.Namespace, catalog: Catalog, *, check_engine: bool = True) -> Plan:
    """The plan that the words describe. Raises UnknownIdError, InputError or UnsupportedError."""
    variant = variant_from(arguments.model, catalog)
    model_format = catalog.format(arguments.format or variant.native_format)
    device, host, offload = _where(arguments, catalog)
    engine, backend = _software(arguments, catalog, variant, model_format, device)
    if check_engine:
        _refuse_unsupported(engine, model_format, device, variant, arguments.backend, catalog)
    layout, replicas = _layout(arguments, variant, engine, offload)
    return Plan(
        variant=variant,
        format=model_format,
        engine=engine,
        backend=backend,
        device=device,
        layout=layout,
        replicas=replicas,
        host=host,
        server=catalog.server(arguments.server) if arguments.server else None,
        kv_format=_kv_format(arguments.kv_format, variant, engine),
    )


def _where(arguments: argparse.Namespace, catalog: Catalog) -> tuple[Device | None, Host | None, Offload]:
    """A processor named as the device becomes the host of a plan without accelerators."""
    if not arguments.device and not arguments.host:
        raise InputError("device", "--device or --host", "neither")
    host = _host(arguments.host, catalog) if arguments.host else None
    ram = parse_bytes(arguments.ram, "ram") if arguments.ram else None
    offload = Offload(arguments.offload)
    device = catalog.device(arguments.device) if arguments.device else None
    if device is not None and device.device_class is DeviceClass.CPU:
        host, device = _processor(device, arguments.count or 1, ram), None
    elif host is not None and ram is not None:
        host = _with_memory(host, ram)
    elif host is None and (ram is not None or offload is not Offload.NONE):
        host = _typical_host(catalog, ram)
    return device, host, Offload.CPU_ONLY if device is None else offload


def _host(name: str, catalog: Catalog) -> Host:
    """A catalogue machine, or this one: as its probes measured it, else as a moment's reading says."""
    if name != THIS_MACHINE or THIS_MACHINE in catalog.hosts:
        return catalog.host(name)
    return this_host(detect(), catalog)


def _processor(device: Device, sockets: int, ram: int | None) -> Host:
    return Host(
        id=device.id,
        name=device.name,
        sockets=sockets,
        cores=(device.units or 1) * sockets,
        memory_bandwidth_bytes_per_s=device.bandwidth_bytes_per_s * sockets,
        cpu_device_id=device.id,
        memory_bytes=ram or device.memory_bytes * sockets,
        isa=device.isa,
        peak_fp32_ops_per_s=_times(device.peak_ops_per_s.get("fp32"), sockets),
        peak_bf16_ops_per_s=_times(device.peak_ops_per_s.get("bf16"), sockets),
    )


def _typical_host(catalog: Catalog, ram: int | None) -> Host:
    """The catalogue's machine nearest in memory, with the memory that the user has."""
    on_offer = [h for h in catalog.hosts.values() if not h.reference and h.memory_bytes]
    nearest = min(on_offer, key=lambda h: abs((h.memory_bytes or 0) - (ram or 2**37)))
    return replace(nearest, memory_bytes=ram or nearest.memory_bytes)


def _with_memory(host: Host, ram: int) -> Host:
    return replace(host, memory_bytes=ram)


def _software(
    arguments: argparse.Namespace, catalog: Catalog, variant: Variant, f: Format, device: Device | None
) -> tuple[Engine, str]:
    if arguments.engine:
        engine = catalog.engine(arguments.engine)
        return engine, arguments.backend or _backend(engine, f, device)
    order = [*_PREFERRED, *(e for e in catalog.engines if e not in _PREFERRED)]
    for engine in (catalog.engines[e] for e in order if e in catalog.engines):
        if support(engine, f, device, arguments.backend) and runs_model(engine, variant) is None:
            return engine, arguments.backend or _backend(engine, f, device)
    key = "catalog.unsupported.no_engine" if device else "catalog.unsupported.no_engine_processor"
    names = {"model": variant.name, "format": f.name, "device": device.name if device else ""}
    raise UnsupportedError(translate("en", key, **names), key, names)


def _backend(engine: Engine, f: Format, device: Device | None) -> str:
    rule = support(engine, f, device)
    found = rule.backends if rule else backends(engine, device)
    return found[0] if found else "cpu"


def _refuse_unsupported(
    engine: Engine, f: Format, device: Device | None, variant: Variant, backend: str | None, catalog: Catalog
) -> None:
    """`backend`: the one that was asked for; a way that nobody named is never the reason."""
    reason = why_not(engine, f, device, backend) or runs_model(engine, variant)
    if reason is None:
        return
    key, values, kind = reason.key, dict(reason.values), f.compute_precision
    able = [g for g in catalog.formats.values() if g.offered and support(engine, g, device, backend)]
    if key == "catalog.unsupported.format" and able:
        near = min(able, key=lambda g: (abs(g.bits_per_weight - f.bits_per_weight), g.compute_precision != kind))
        key, values = f"{key}_near", {**values, "near": near.name, "near_id": near.id}
    raise UnsupportedError(translate("en", key, **values), key, values)


def _layout(arguments: argparse.Namespace, variant: Variant, engine: Engine, offload: Offload) -> tuple[Layout, int]:
    """(layout of one replica, replicas); unless told otherwise as `_usual_split` says."""
    count = 1 if offload is Offload.CPU_ONLY else arguments.count
    tp, pp = arguments.tp, arguments.pp
    if count is None:
        count = (tp or 1) * (pp or 1)
    if tp is None and pp is None:
        tp, pp = _usual_split(count, variant.architecture, engine)
    tp = tp or 1
    pp = pp or (1 if engine.tensor_parallel else max(count // tp, 1))
    layout = Layout(
        tp=tp,
        pp=pp,
        ep=arguments.ep or 1,
        dp_attention=arguments.dp_attention,
        offload=offload,
        gpu_expert_layers=arguments.gpu_expert_layers,
        gpu_layers=arguments.gpu_layers,
    )
    if count % layout.devices:
        raise InputError("count", f"a multiple of tp x pp = {layout.devices}", count)
    reason = why_invalid(variant.architecture, layout, engine)
    if reason is not None:
        key, names = f"sizing.layout.{reason}", {"engine": engine.name, "model": variant.name}
        raise UnsupportedError(translate("en", key, **names), key, names)
    return layout, count // layout.devices


def _usual_split(count: int, a: Architecture, engine: Engine) -> tuple[int, int]:
    """Tensor parallel inside a node of eight as far as the heads divide, stages across nodes; without it, stages."""
    if not engine.tensor_parallel:
        return 1, count
    tp = max(n for n in range(1, min(count, NODE) + 1) if count % n == 0 and a.n_heads % n == 0)
    return tp, count // tp if count > NODE and engine.pipeline_parallel else 1


def _kv_format(wanted: str | None, variant: Variant, engine: Engine) -> str:
    """As asked for, if the engine keeps it; else what suits the attention, else the engine's first."""
    if wanted is not None:
        parts = wanted.split("/")
        if any(part not in engine.kv_formats for part in parts):
            raise InputError("kv-format", f"one of {', '.join(engine.kv_formats)} with {engine.name}", wanted)
        return wanted
    usual = default_kv_format(variant.architecture)
    for choice in (usual, "fp8" if usual.startswith("fp8") else usual):
        if choice in engine.kv_formats:
            return choice
    return engine.kv_formats[0]


def _times(value: float | None, n: int) -> float | None:
    return None if value is None else value * n


def _positive(text: str) -> int:
    value = int(text)
    if not 0 < value <= 10**9:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1,000,000,000, got {text}")
    return value
