"""How long a probe takes, from what it does: the counts of `probes.kinds` at the speeds that are foreseen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from probes.layers import slices_of
from probes.measure import DROPPED_STEPS, FEWEST_ROUNDS, MIN_STEPS, SAMPLE_BUDGET_S, SLICE_PREFILL_S, SWEEP_PREFILL_S
from probes.need import DEFAULT_DEPTHS
from probes.spec import EngineName, Kind, LoadTarget, ProbeSpec, SweepAxis
from probes.sweep_values import positions
from probes.traffic import DRAIN_FACTOR

__all__ = ["duration_s", "kernels_on_disk"]

BENCHMARK_S = 6.0  # imports, read bandwidth by threads, two square products
CHOOSE_S = 2.0  # trying the kernels for one number of rows
COMPILE_S = 15.0  # compiling them before, where no earlier probe has left them on disk
ENGINES = Path(__file__).parent / "engines"
WARM_STEPS = 8  # two before the rounds, three for each of two thread counts
SLICE_ROUNDS, SLICE_STEPS = 2, 12
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
) -> float:
    """Seconds. `prefill_tok_s`, `decode_tok_s`: of the whole variant; `slice_share`: of its bytes per token that the
    loaded part reads. `steps_s`: of a sweep, a decode step at each of its positions; `prompts_s`: a
    prompt at each.
    """
    step = 1 / max(decode_tok_s, 1e-9)
    prompts = {tokens: tokens / max(prefill_tok_s, 1e-9) for tokens in spec.prompt_tokens}
    fixed, choose = BENCHMARK_S + load_s, CHOOSE_S + (0.0 if kernels_on_disk() else COMPILE_S)
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
    return fixed + chosen + _prompts_s(spec, prompts.values()) + _rounds_s(spec, step) + parts


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


def _rounds_s(spec: ProbeSpec, step: float) -> float:
    affordable = int(SAMPLE_BUDGET_S / spec.repeats / step)
    steps = max(MIN_STEPS, min(spec.output_tokens, affordable)) + DROPPED_STEPS
    return step * (WARM_STEPS + spec.repeats * steps)


def _slice_s(spec: ProbeSpec, prefill: float, step: float) -> float:
    """Seconds of the deepest slice given; the others are shallower, on average about half."""
    count = 1 if spec.architecture is None else len(slices_of(spec.architecture, spec.slice_layers or DEFAULT_DEPTHS))
    passes = 0.6 * count
    within = int(SLICE_PREFILL_S / max(passes * prefill, 1e-9))
    rounds = 1 + max(FEWEST_ROUNDS, min(SLICE_ROUNDS * spec.repeats, within))
    return passes * (rounds * prefill + SLICE_ROUNDS * spec.repeats * SLICE_STEPS * step)
