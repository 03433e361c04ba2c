"""How long a probe takes, from what it does: the counts of `probes.kinds` at the speeds that are foreseen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from probes.layers import LayerCount, deepest_of, ends_of, slices_of
from probes.measure import DROPPED_STEPS, SAMPLE_BUDGET_S, SWEEP_PREFILL_S, rounds_of, times_of
from probes.need import DEFAULT_DEPTHS
from probes.slice_rounds import DECODE, PREFILL, steps_of_visit
from probes.spec import EngineName, Kind, LoadTarget, ProbeSpec, SweepAxis
from probes.sweep_values import positions
from probes.traffic import DRAIN_FACTOR

__all__ = ["duration_s", "kernels_on_disk"]

BENCHMARK_S = 6.0  # imports, read bandwidth by threads, two square products
CHOOSE_S = 2.0  # trying the kernels for one number of rows
COMPILE_S = 15.0  # compiling them before, where no earlier probe has left them on disk
GPU_BENCHMARK_S, GPU_CHOOSE_S, GPU_COMPILE_S = 6.5, 1.0, 2.0  # an H100 with 16 cores, 2026-11-26
TRITON_CACHE = "~/.triton/cache"
ENGINES = Path(__file__).parent / "engines"
WARM_STEPS = 8  # two before the rounds, three for each of two thread counts
READING_S, READING_PASSES = 0.2, 2  # of products and memory beside a round, and of the weights at least
PART_STEPS, PART_SHARE = 6, 0.5  # steps of one layer and of a quarter of them, against one of the whole model
PART_ROUNDS, PART_BUDGET_S = 8, 6.0


def duration_s(
    spec: ProbeSpec,
    prefill_tok_s: float,
    decode_tok_s: float,
    load_s: float,
    slice_share: float,
    steps_s: Sequence[float] = (),
    prompts_s: Sequence[float] = (),
    *,
    virtual: bool = False,
) -> float:
    """Seconds. `prefill_tok_s`, `decode_tok_s`: of the whole variant; `slice_share`: of its bytes per token that the
    loaded part reads. `steps_s`: of a sweep, a decode step at each of its positions; `prompts_s`: a
    prompt at each. `virtual`: a virtual machine, whose memory moves, so that there are more rounds.
    """
    step = 1 / max(decode_tok_s, 1e-9)
    prompts = {tokens: tokens / max(prefill_tok_s, 1e-9) for tokens in spec.prompt_tokens}
    start, choose = _preparation_s(spec.device)
    fixed = start + load_s
    if spec.kind is Kind.SUSTAINED and spec.load is not None:
        return fixed + choose + sum(prompts.values()) + _serving_s(spec, spec.load, max(prompts.values()), step)
    if spec.kind is Kind.SLICE:
        return fixed + choose + _slice_s(spec, slice_share * max(prompts.values()), slice_share * step)
    if spec.kind is Kind.SWEEP:
        steps_s = steps_s or (step,) * max(1, len(positions(spec)))
        loads = load_s * (len(steps_s) - 1) if spec.sweep_axis is SweepAxis.FORMAT else 0.0
        prompt_s = _prompts_s(spec, (one for one in prompts_s if one <= SWEEP_PREFILL_S))
        return fixed + loads + prompt_s + sum(choose / 2 + _rounds_s(spec, each) for each in steps_s)
    chosen = choose * (1 + len(prompts))
    a_round = PART_SHARE * PART_STEPS * step
    parts = max(a_round, min(PART_ROUNDS * a_round, PART_BUDGET_S)) if spec.engine is EngineName.TORCH else 0.0
    rounds = _rounds_s(spec, step, times_of(spec, virtual=virtual))
    return fixed + chosen + _prompts_s(spec, prompts.values()) + rounds + parts


def _preparation_s(device: str) -> tuple[float, float]:
    """Until the model is loaded, and for the choice of kernels for one number of rows."""
    if not device.startswith("cuda"):
        return BENCHMARK_S, CHOOSE_S + (0.0 if kernels_on_disk() else COMPILE_S)
    known = any(True for _ in Path(os.environ.get("TRITON_CACHE_DIR", TRITON_CACHE)).expanduser().glob("*"))
    return GPU_BENCHMARK_S, GPU_CHOOSE_S + (0.0 if known else GPU_COMPILE_S)


def kernels_on_disk() -> bool:
    """Whether numba has compiled kernels of this tree before."""
    own = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(own)] if own else [ENGINES / "__pycache__"]
    return any(True for folder in folders for _ in folder.rglob("*.nbi"))


def _serving_s(spec: ProbeSpec, load: LoadTarget, prompt: float, step: float) -> float:
    """Until the last request is answered: those that come faster than they are served are answered afterwards, for as
    long as the run allows. Prompts are processed one after the other, the steps of all slots together.
    """
    each = prompt + spec.output_tokens * step / max(1, load.slots)
    served = max(load.duration_s, load.requests_per_s * load.duration_s * each)
    return min(served, DRAIN_FACTOR * load.duration_s) + spec.output_tokens * step


def _prompts_s(spec: ProbeSpec, seconds: Iterable[float]) -> float:
    """Prefills of each length: at least one, then as many as the budget holds."""
    return sum(one * max(1, min(spec.repeats + 1, int(SAMPLE_BUDGET_S / one))) for one in seconds)


def _rounds_s(spec: ProbeSpec, step: float, times: int = 1) -> float:
    least, steps = rounds_of(spec, step)
    rounds = times * least
    reading = 0.0 if spec.device.startswith("cuda") else (rounds + 1) * (READING_S + READING_PASSES * step)
    return step * (WARM_STEPS + rounds * (steps + DROPPED_STEPS)) + reading


def _slice_s(spec: ProbeSpec, prefill: float, step: float) -> float:
    """Seconds with all loaded layers; each slice takes its share by layers, and the head counts as one. Rounds are as
    many as there are on a machine that never gets steady.
    """
    if spec.architecture is None:
        return 0.0
    slices = slices_of(spec.architecture, spec.slice_layers or DEFAULT_DEPTHS)
    loaded = _layers(deepest_of(slices)) + 1
    a_pass = sum(prefill * (_layers(one) + 1) / loaded for one in ends_of(slices))
    steps = [step * (_layers(one) + 1) / loaded for one in slices]
    a_round = 2 * sum(each * steps_of_visit(each) for each in steps)
    prompts, rounds = PREFILL.rounds_within(spec.repeats, a_pass), DECODE.rounds_within(spec.repeats, a_round)
    return prompts * a_pass + rounds * a_round


def _layers(count: LayerCount) -> int:
    return count.dense + count.moe
