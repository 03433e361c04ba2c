"""What a slice says about a whole model, against that model itself.

    python benchmarks/slice_against_whole.py [VARIANT] [--format bf16] [--prompt 128] [--repeats 3] [--skip-memory]

Seconds: one load, the whole visited in the rounds of the slices, by the slice probe's own rounds and extrapolation.
Bytes: a slice probe and a probe of the whole, one after the other, each in its own process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np

from advisor.catalog import load_catalog
from probes.cpu import read_cpu
from probes.engines.torch_engine import TorchEngine, set_threads
from probes.extrapolation import extrapolated, median_half_width
from probes.kinds.slices import decode_visit
from probes.layers import LayerCount, ends_of, layer_count, slices_of
from probes.need import DEFAULT_DEPTHS
from probes.process import Identity, ProbeProcess
from probes.slice_rounds import DECODE, PREFILL, Effort, of_slices, visited
from probes.spec import Kind, ProbeSpec

SPARE_TOKENS = 64


def main() -> None:
    arguments = parsed()
    a = load_catalog().variant(arguments.variant).architecture
    spec = ProbeSpec(
        arguments.variant, arguments.format, a, prompt_tokens=(arguments.prompt,), output_tokens=8,
        repeats=arguments.repeats,
    )  # fmt: skip
    if not arguments.skip_memory:
        memory(spec)
    set_threads(read_cpu().cores)
    engine = TorchEngine(spec, tokens=arguments.prompt + SPARE_TOKENS)
    engine.load()
    depths = slices_of(a, DEFAULT_DEPTHS)
    against_whole("prefill", prefill_visit(engine, arguments.prompt), ends_of(depths), PREFILL, spec)
    against_whole("decode", decode_visit(engine, arguments.prompt), depths, DECODE, spec)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="deepseek-r1-distill-qwen-1.5b")
    parser.add_argument("--format", default="bf16")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip-memory", action="store_true")
    return parser.parse_args()


def prefill_visit(engine: TorchEngine, tokens: int) -> Callable[[LayerCount], float]:
    def visit(count: LayerCount) -> float:
        engine.use(count)
        return engine.prefill(tokens)

    return visit


def against_whole(
    name: str, visit: Callable[[LayerCount], float], slices: tuple[LayerCount, ...], effort: Effort, spec: ProbeSpec
) -> None:
    whole = layer_count(spec.architecture)
    visit(slices[0])  # chooses kernels
    rounds = visited(visit, slices, whole, effort, repeats=spec.repeats, beside=(whole,))
    found, seen = extrapolated(of_slices(rounds, slices), whole), [r[whole] for r in rounds]
    true, spread = median(seen), median_half_width(np.array(seen))
    print(
        f"{name:8} from slices {found.value:.4f} s ({found.low:.4f} to {found.high:.4f}, noise {found.noise:.1%}), "
        f"whole {true:.4f} s (+- {spread:.1%}): {found.value / true - 1:+.1%}, "
        f"{'inside' if found.low <= true <= found.high else 'outside'}; "
        f"{found.rounds} rounds kept, {found.left_out} left out",
        flush=True,
    )


def memory(spec: ProbeSpec) -> None:
    part, full = (
        ProbeProcess(replace(spec, kind=kind, repeats=1), Identity(kind, "", "")).result()
        for kind in (Kind.SLICE, Kind.FULL)
    )
    said, peak = part.figures.get("full_peak_bytes"), full.peak_bytes
    if said is None or peak is None:
        raise SystemExit(f"no peak was measured: {part.error or full.error}")
    print(
        f"memory   from slices {said.value / 1e9:.3f} GB ({said.low / 1e9:.3f} to {said.high / 1e9:.3f}), "
        f"whole {peak / 1e9:.3f} GB: {said.value / peak - 1:+.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
