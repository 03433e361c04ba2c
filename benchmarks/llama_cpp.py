"""The built-in engine beside llama.cpp (and OpenVINO, ONNX Runtime where installed): same shapes, about the same bits.

    python benchmarks/llama_cpp.py [VARIANT] [--pairs bf16 int8 int4] [--engines torch llama.cpp] [--prompt 128]

Weights are random and of the true shapes; each engine runs in a probe process of its own, between readings of the
memory's speed. Says so and ends where llama.cpp is not installed.
"""

from __future__ import annotations

import argparse
import sys

from advisor.catalog import load_catalog
from advisor.catalog.errors import FathomError
from advisor.sizing.tensors import main_tensors
from probes.engines.installed import missing_engines
from probes.process import Identity, ProbeProcess
from probes.result import ProbeResult, State
from probes.spec import EngineName, ProbeSpec

PAIRS = {
    "bf16": ((EngineName.TORCH, "bf16"), (EngineName.LLAMACPP, "gguf-bf16"), (EngineName.OPENVINO, "bf16")),
    "int8": (
        (EngineName.TORCH, "int8-w8a8"),
        (EngineName.TORCH, "int8-w8a16"),
        (EngineName.LLAMACPP, "gguf-q8_0"),
        (EngineName.OPENVINO, "int8-w8a16"),
        (EngineName.ORT, "int8-w8a16"),
    ),
    "int4": (
        (EngineName.TORCH, "w4a16-g128"),
        (EngineName.LLAMACPP, "gguf-q4_0"),
        (EngineName.LLAMACPP, "gguf-q4_k_m"),
        (EngineName.OPENVINO, "w4a16-g128"),
        (EngineName.ORT, "w4a16-g32"),
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="deepseek-r1-distill-qwen-1.5b")
    parser.add_argument("--pairs", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--engines", nargs="+", choices=[str(e) for e in EngineName], help="only these")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--output", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    missing = missing_engines()
    if EngineName.LLAMACPP in missing:
        print(f"llama.cpp is not installed (needs one of {missing[EngineName.LLAMACPP]}): nothing to compare")
        return 0
    try:
        _compare(arguments, missing)
    except FathomError as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


def _compare(arguments: argparse.Namespace, missing: dict[EngineName, str]) -> None:
    architecture = load_catalog().variant(arguments.variant).architecture
    params = sum(t.params for t in main_tensors(architecture))
    print(f"{'engine':12} {'format':12} {'bits':>5} {'prefill':>9} {'decode':>18} {'of memory':>9}  versions, flags")
    for engine, format_id in (row for pair in arguments.pairs for row in PAIRS[pair]):
        if arguments.engines and engine not in arguments.engines:
            continue
        if engine in missing:
            print(f"{engine:12} {format_id:12} not installed: {missing[engine]}")
            continue
        spec = ProbeSpec(
            arguments.variant, format_id, architecture, engine=engine, prompt_tokens=(arguments.prompt,),
            output_tokens=arguments.output, repeats=arguments.repeats,
        )  # fmt: skip
        print(_row(ProbeProcess(spec, Identity("benchmark", "", "")).result(), params), flush=True)


def _row(result: ProbeResult, params: int) -> str:
    name = f"{result.spec.engine:12} {result.spec.format_id:12}"
    decode, prefill = result.decode_tok_s, result.prefill_tok_s
    if result.state is not State.DONE or decode is None or prefill is None:
        return f"{name} {result.state}: {result.error}"
    bits = 8 * (result.tensor_bytes or 0) / params
    share = f"{result.mbu.value:9.0%}" if result.mbu else f"{'':9}"
    spread = f"{decode.value:6.2f} ({decode.low:.2f}-{decode.high:.2f})"
    remarks = ", ".join([*result.versions.values(), *result.flags, *result.conditions.warnings])
    return f"{name} {bits:5.2f} {prefill.value:9.1f} {spread:>18} {share}  {remarks}"


if __name__ == "__main__":
    sys.exit(main())
