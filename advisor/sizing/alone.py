"""Seconds of measurements: one phase at a time, without the prompts of other users in between, many of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from advisor.catalog.quantity import Quantity
from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.efficiency import EfficiencyTable
from advisor.sizing.grid import Range, evaluate_speed
from advisor.sizing.plan import Plan
from advisor.sizing.size import SOURCE, basis_of

__all__ = ["Moment", "Speed", "speeds_alone"]


@dataclass(frozen=True, slots=True)
class Moment:
    """`sequences` decode together for `output_tokens` steps, each after `prompt_tokens`."""

    plan: Plan
    prompt_tokens: int
    output_tokens: int
    sequences: int = 1


@dataclass(frozen=True, slots=True)
class Speed:
    """`decode_tok_s` of one sequence; the prompt is processed alone."""

    decode_tok_s: Quantity
    prefill_tok_s: Quantity
    ttft_ms: Quantity


def speeds_alone(moments: Sequence[Moment], table: EfficiencyTable) -> list[Speed]:
    """In one pass: a row for each decode, and one for each prompt that is not in it already."""
    several = [m for m in moments if m.sequences > 1]
    rows = [*moments, *several]
    sequences = [m.sequences for m in moments] + [1] * len(several)
    loads = LoadColumns.from_arrays(
        input_tokens=[m.prompt_tokens for m in rows],
        output_tokens=[m.output_tokens for m in rows],
        context_tokens=[m.prompt_tokens + m.output_tokens for m in rows],
        concurrency=sequences,
    )
    result = evaluate_speed(PlanColumns.from_plans([m.plan for m in rows]), loads, Tuning(), table, alone=True)

    def quantity(values: Range, row: int, factor: float = 1.0) -> Quantity:
        value, low, high = values.at(row)
        return Quantity(value * factor, low * factor, high * factor, basis_of(result, row), SOURCE)

    prompts = iter(range(len(moments), len(rows)))
    found = []
    for row, moment in enumerate(moments):
        prompt = next(prompts) if moment.sequences > 1 else row
        prefill, ttft = quantity(result.prefill_tok_s, prompt), quantity(result.ttft_s, prompt, 1e3)
        found.append(Speed(quantity(result.decode_tok_s, row), prefill, ttft))
    return found
