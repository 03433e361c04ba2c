"""What a slice says about a whole model, against that model itself: one load, both in turn, minute by minute.

    python benchmarks/slice_against_whole.py [VARIANT] [--format bf16] [--prompt 128] [--rounds 5]

Prints seconds of prefill and of a decode step, extrapolated from the layers that a slice probe takes and measured.
"""

from __future__ import annotations

import argparse
from statistics import mean, median

from advisor.catalog import load_catalog
from probes.cpu import read_cpu
from probes.engines.torch_engine import TorchEngine, set_threads
from probes.kinds.slices import DROPPED, STEPS
from probes.layers import LayerCount, extrapolate, layer_count, slices_of
from probes.need import DEFAULT_DEPTHS
from probes.spec import ProbeSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", nargs="?", default="deepseek-r1-distill-qwen-1.5b")
    parser.add_argument("--format", default="bf16")
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    architecture = load_catalog().variant(arguments.variant).architecture
    set_threads(read_cpu().cores)
    engine = TorchEngine(ProbeSpec(arguments.variant, arguments.format, architecture), tokens=arguments.prompt + 64)
    engine.load()
    whole, slices = layer_count(architecture), slices_of(architecture, DEFAULT_DEPTHS)
    for name, measure in (("prefill", engine.prefill), ("decode", lambda tokens: step_s(engine, tokens))):
        pairs = []
        for number in range(arguments.rounds + 1):
            seconds = {count: using(engine, count, measure, arguments.prompt) for count in (*slices, whole)}
            if number:  # the first round chooses kernels
                pairs.append((extrapolate({c: seconds[c] for c in slices}, whole), seconds[whole]))
        report(name, pairs)


def using(engine: TorchEngine, count: LayerCount, measure, tokens: int) -> float:
    engine.use(count)
    return measure(tokens)


def step_s(engine: TorchEngine, tokens: int) -> float:
    return mean(engine.decode(tokens, 1, STEPS)[DROPPED:])


def report(name: str, pairs: list[tuple[float, float]]) -> None:
    ratios = sorted(slice_s / whole_s - 1 for slice_s, whole_s in pairs)
    slice_s, whole_s = (median(values) for values in zip(*pairs, strict=True))
    print(
        f"{name:8} from the slice {slice_s:.4f} s, whole {whole_s:.4f} s: {slice_s / whole_s - 1:+.1%} "
        f"(rounds {ratios[0]:+.1%} to {ratios[-1]:+.1%})"
    )


if __name__ == "__main__":
    main()
