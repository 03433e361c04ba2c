"""Arguments of `advisor probe`, and the spec that they mean."""

from __future__ import annotations

import argparse

from advisor.catalog import Catalog
from advisor.catalog.errors import InputError
from advisor.commands.probe_model import DEFAULT_VARIANT, find_model, format_of
from advisor.decision.scenarios import find_scenario
from probes.need import memory_limit
from probes.spec import EndpointTarget, EngineName, Kind, LoadTarget, ProbeSpec, SweepAxis

__all__ = ["add_spec_arguments", "spec_from", "sweep_formats"]

DEFAULT_SWEEPS = {
    SweepAxis.CONTEXT: (512, 1024, 2048, 4096, 8192),
    SweepAxis.BATCH: (1, 2, 4, 8, 16, 32),
    SweepAxis.THREADS: (1, 2, 4, 8, 16, 32),
    SweepAxis.FORMAT: (),
}
DEFAULT_SWEEP_FORMATS = ("bf16", "int8-w8a8", "w4a16-g128", "bf16-attn-int8-ffn")
ORT_SWEEP_FORMATS = ("fp32", "int8-w8a16", "w4a16-g128", "w4a16-g32")
OPENVINO_SWEEP_FORMATS = ("bf16", "int8-w8a16", "w4a16-g128")
GGUF_SWEEP_FORMATS = ("gguf-bf16", "gguf-q8_0", "gguf-q4_k_m", "gguf-q4_0")
MLA_RESIDENT_EXPERTS = 16  # decoding one token takes the same time with 16 of 256 experts resident
LAYERS_HELP = "slice: numbers of layers (default 1 4 8, fewer where memory is short)"


def add_spec_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", help=f"variant, or a config.json (default {DEFAULT_VARIANT})")
    parser.add_argument("--format", default="bf16", help="weight format; short names: int8, int4, mixed")
    parser.add_argument("--engine", default="torch", choices=[str(name) for name in EngineName])
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, mps")
    parser.add_argument("--threads", type=int, help="default: all physical cores, fewer on a busy machine")
    parser.add_argument("--prompt", type=int, nargs="+", default=[128, 512], metavar="TOKENS", help="prompt lengths")
    parser.add_argument("--output", type=int, default=32, metavar="TOKENS", help="tokens generated in each round")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1, help="sequences decoded together")
    parser.add_argument("--kind", default="full", choices=[str(kind) for kind in Kind])
    parser.add_argument("--layers", type=int, nargs="+", default=[], metavar="N", help=LAYERS_HELP)
    parser.add_argument("--experts", type=int, metavar="N", help="experts kept per layer (default all; slices 16)")
    parser.add_argument("--sweep", choices=[str(axis) for axis in SweepAxis], help="measure along one axis")
    parser.add_argument("--values", type=int, nargs="+", default=[], metavar="N", help="positions of the sweep")
    parser.add_argument("--formats", nargs="+", default=[], metavar="F", help="formats of a format sweep")
    parser.add_argument("--max-tpot-ms", type=float, metavar="MS", help="sweep: end with the first slower value")
    parser.add_argument("--scenario", metavar="FILE|ID", help="sweep: take that limit from a scenario")
    parser.add_argument("--rate", type=float, help="sustained: requests per second")
    parser.add_argument("--duration", type=float, default=60.0, metavar="SECONDS", help="sustained: length")
    parser.add_argument("--slots", type=int, default=8, help="sustained: sequences decoded together")
    parser.add_argument("--ttft-limit", type=float, default=2000.0, metavar="MS", help="sustained: for goodput")
    parser.add_argument("--tpot-limit", type=float, default=200.0, metavar="MS", help="sustained: for goodput")
    parser.add_argument("--resume", metavar="ID", help="sustained: continue a stored run")
    parser.add_argument("--url", help="endpoint: base address of an OpenAI-compatible server")
    parser.add_argument("--served-model", default="", help="endpoint: name of the model on the server")
    parser.add_argument("--key-env", default="", help="endpoint: environment variable that holds the key")
    parser.add_argument("--metrics-url", default="", help="endpoint: Prometheus metrics of the server")
    parser.add_argument("--checkpoint", help="safetensors folder, or GGUF file for llama.cpp")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="end it then; else after twice the longest time foreseen"
    )


def spec_from(arguments: argparse.Namespace, catalog: Catalog) -> ProbeSpec:
    """Raises UnknownIdError or InputError for what cannot be."""
    model = find_model(arguments, catalog)
    kind = _kind(arguments)
    axis = SweepAxis(arguments.sweep) if arguments.sweep else None
    load = _load(arguments, kind)
    on_cpu = arguments.device == "cpu" and not arguments.url
    return ProbeSpec(
        variant_id=model.variant_id,
        format_id=model.format_id,
        architecture=model.architecture,
        engine=EngineName.ENDPOINT if arguments.url else EngineName(arguments.engine),
        kind=kind,
        device=arguments.device,
        threads=arguments.threads,
        prompt_tokens=tuple(arguments.prompt),
        output_tokens=arguments.output,
        repeats=arguments.repeats,
        batch=arguments.batch,
        slice_layers=tuple(arguments.layers) if kind is Kind.SLICE else (),
        resident_experts=_experts(arguments, kind, is_moe=model.architecture.is_moe),
        sweep_axis=axis,
        sweep_values=tuple(arguments.values) or (DEFAULT_SWEEPS[axis] if axis else ()),
        sweep_formats=_formats(arguments, axis),
        tpot_limit_ms=_tpot_limit(arguments, axis, catalog),
        load=load,
        endpoint=_endpoint(arguments),
        checkpoint=arguments.checkpoint,
        timeout_s=_timeout(arguments, load),
        memory_limit_bytes=memory_limit() if on_cpu else None,
    )


def _timeout(arguments: argparse.Namespace, load: LoadTarget | None) -> float:
    """Without one given, a quarter of an hour at least; `Foresight.patient` gives slow machines longer."""
    shortest = load.patience_s if load else 0.0
    return max(900.0 if arguments.timeout is None else arguments.timeout, shortest)


def _kind(arguments: argparse.Namespace) -> Kind:
    if arguments.sweep:
        return Kind.SWEEP
    if arguments.rate is not None:
        return Kind.SUSTAINED
    if arguments.layers:
        return Kind.SLICE
    return Kind(arguments.kind)


def _experts(arguments: argparse.Namespace, kind: Kind, *, is_moe: bool) -> int | None:
    if arguments.experts is not None or not is_moe or kind is not Kind.SLICE:
        return int(arguments.experts) if arguments.experts is not None else None
    return MLA_RESIDENT_EXPERTS


def _formats(arguments: argparse.Namespace, axis: SweepAxis | None) -> tuple[str, ...]:
    if axis is not SweepAxis.FORMAT:
        return ()
    names = arguments.formats or sweep_formats(EngineName(arguments.engine))
    return tuple(format_of(name, arguments.engine) for name in names)


def sweep_formats(engine: EngineName) -> tuple[str, ...]:
    """One format of each width that the engine runs."""
    others = {
        EngineName.LLAMACPP: GGUF_SWEEP_FORMATS,
        EngineName.OPENVINO: OPENVINO_SWEEP_FORMATS,
        EngineName.ORT: ORT_SWEEP_FORMATS,
    }
    return others.get(engine, DEFAULT_SWEEP_FORMATS)


def _tpot_limit(arguments: argparse.Namespace, axis: SweepAxis | None, catalog: Catalog) -> float | None:
    if axis is None and (arguments.max_tpot_ms is not None or arguments.scenario):
        raise InputError("max-tpot-ms", "a sweep that it could end (--sweep)", "no sweep")
    if arguments.max_tpot_ms is not None or not arguments.scenario:
        return None if arguments.max_tpot_ms is None else float(arguments.max_tpot_ms)
    limit = find_scenario(arguments.scenario, catalog).tpot_ms
    if limit is None:
        raise InputError("scenario", "one with a limit on the time per token (tpot_ms)", arguments.scenario)
    return limit


def _load(arguments: argparse.Namespace, kind: Kind) -> LoadTarget | None:
    if kind is not Kind.SUSTAINED:
        return None
    return LoadTarget(
        requests_per_s=10.0 if arguments.rate is None else arguments.rate,
        duration_s=arguments.duration,
        slots=arguments.slots,
        ttft_limit_ms=arguments.ttft_limit,
        tpot_limit_ms=arguments.tpot_limit,
        resume_id=arguments.resume,
    )


def _endpoint(arguments: argparse.Namespace) -> EndpointTarget | None:
    if not arguments.url:
        return None
    return EndpointTarget(arguments.url, arguments.served_model, arguments.key_env, arguments.metrics_url)
