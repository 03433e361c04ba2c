"""The step-cost table of a plan, in the form that the simulator runs on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.efficiency import EfficiencyTable
from advisor.sizing.footprint import footprint
from advisor.sizing.grid import StepContext, step_context
from advisor.sizing.plan import Load, Plan
from advisor.sizing.running import sequence_cap
from advisor.sizing.step import batch_step, decode_step

__all__ = ["StepTables", "outside_s", "step_tables"]

Floats = NDArray[np.float64]

# Attention of decodes in steps that also prefill costs 1.7 to 3.2 times as much per cached token (vLLM 0.19 operator
# profiles of LLMServingSim): their geometric mean.
MIXED_STEP = 2.3
SMALLEST_CHUNK = 256  # query tokens that a prefill attention kernel is charged at least (same profiles)


@dataclass(frozen=True, slots=True)
class StepTables:
    """Seconds of one engine step: `step_s[ntok] + c(decodes) * tokens read + cpre * A`, as in the simulator.

    The keys are those of `advisor simulate --step-model`. `cdec`: seconds per cached token read in decode-only
    steps, `cmix`: in steps that also prefill; `cpre`: per query token times context token of a prefill chunk, of
    at least `cmin` query tokens. With `dp` > 1 counts and capacities are those of one of `dp` ranks.
    """

    ntok: tuple[int, ...]
    step_s: tuple[float, ...]
    cdec: float
    cmix: float
    cpre: float
    cmin: int
    kvcap_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    dp: int


def step_tables(
    plan: Plan, load: Load, tuning: Tuning | None = None, table: EfficiencyTable | None = None
) -> StepTables:
    """Step costs of one replica of `plan`; `load` gives the context that linearises the attention cost."""
    tuning = tuning or Tuning()
    plans, loads = PlanColumns.from_plans([plan]), LoadColumns.of(load, 1)
    context = step_context(plans, loads, tuning, table)
    ranks = plan.layout.dp_attention
    held = footprint(plan, load, tuning).max_concurrency
    cap = int(tuning.max_num_seqs or sequence_cap(plan.engine.id, plan.backend, many_prompts=True))
    chunk = int(min(context.layout.chunk_tokens[0], 8192))
    budget = max(chunk, cap)
    tokens = _tokens(budget)
    cached, scored = _attention(context, load)
    return StepTables(
        ntok=tuple(int(n) for n in tokens),
        step_s=tuple(float(s) for s in _steps(context, tokens * ranks, load, chunk * ranks)),
        cdec=cached,
        cmix=cached * MIXED_STEP,
        cpre=scored,
        cmin=SMALLEST_CHUNK,
        kvcap_tokens=max(held * load.context_tokens // ranks, 1),
        max_num_seqs=cap,
        max_num_batched_tokens=budget,
        dp=ranks,
    )


def outside_s(plan: Plan, load: Load, table: EfficiencyTable | None = None) -> float:
    """Seconds to the first token that no step explains: the request's way through the server (fitted)."""
    found = step_context(PlanColumns.from_plans([plan]), LoadColumns.of(load, 1), Tuning(), table).found
    return float(found.efficiency.first_token_s[0] * found.prefill_factor[0])


def _tokens(budget: int) -> Floats:
    """Powers of two and their middles up to the batch budget."""
    powers = 2.0 ** np.arange(0, np.log2(budget) + 1)
    every = np.unique(np.concatenate([powers, np.round(powers * 1.5), [budget]]))
    return every[every <= budget]


def _steps(context: StepContext, tokens: Floats, load: Load, chunk: int) -> Floats:
    """Seconds without cache reads; the bias goes from that of decoding to that of prefill with the batch."""
    sampled = np.minimum(tokens, max(load.concurrency, 1))
    step = batch_step(context.costs(slice(0, 1)), tokens, sampled).total
    towards = np.clip(np.log(np.maximum(tokens / max(load.concurrency, 1), 1)) / np.log(max(chunk, 2)), 0, 1)
    decode, prefill = context.found.decode_factor[0], context.found.prefill_factor[0]
    seconds: Floats = step * decode ** (1 - towards) * prefill**towards
    return np.maximum.accumulate(seconds)


def _attention(context: StepContext, load: Load) -> tuple[float, float]:
    """(seconds per cached token read, seconds per query and context token) around the load's context."""
    costs = context.costs(slice(0, 1))
    sequences = np.full(2, float(max(load.concurrency, 1)))
    at = np.array([0.0, max(load.mean_context_tokens, 1.0)])
    steps = decode_step(costs, sequences, at).total * context.found.decode_factor[0]
    per_token = float((steps[1] - steps[0]) / (sequences[0] * at[1]))
    scored = (costs.costs.prefill_scores[0] + costs.costs.indexer_scores[0]) / costs.layout.tp[0]
    return max(per_token, 0.0), float(scored * context.found.prefill_factor[0])
