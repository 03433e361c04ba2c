"""The step-cost table of a plan, in the form that the simulator runs on."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.sizing.columns import Tuning
from advisor.sizing.plan import Load, Plan

__all__ = ["StepTables", "step_tables"]


@dataclass(frozen=True, slots=True)
class StepTables:
    """Seconds of one engine step: `step_s[ntok] + c(decodes) * tokens read + cpre * A`, as in the simulator.

    The keys are those of `advisor simulate --step-model`. `cdec`: seconds per cached token read in decode-only
    steps, `cmix`: in steps that also prefill; `cpre`: per query token times context token of a prefill chunk, of
    at least `cmin` query tokens.
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


def step_tables(plan: Plan, load: Load, tuning: Tuning | None = None) -> StepTables:
    """Step costs of one replica of `plan`; `load` gives the context that linearises the attention cost."""
    raise NotImplementedError
