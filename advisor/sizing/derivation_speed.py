"""Where a number of seconds comes from: bytes and operations, datasheet rates, fitted shares, and what each costs.

Texts live in data/i18n/*/speed.yaml under `derivation`; a step is a text key with the values that fill it.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from advisor.catalog.frozen import FrozenDict
from advisor.catalog.text import translate
from advisor.sizing.cache import read_bytes
from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.derivation import Derivation, Step, Value
from advisor.sizing.efficiency import EfficiencyArrays, EfficiencyTable
from advisor.sizing.grid import StepContext, step_context, work_of
from advisor.sizing.pairings import gathered
from advisor.sizing.plan import Load, Plan
from advisor.sizing.response import Response, Work, respond
from advisor.sizing.step import StepInputs, StepTime

__all__ = ["derivation_text", "derive_speed"]

CALIBRATION = "data/calibration.yaml"
FORMULAS = "advisor/sizing/step.py"


def derive_speed(
    plan: Plan, load: Load, tuning: Tuning | None = None, table: EfficiencyTable | None = None
) -> tuple[Derivation, ...]:
    """Seconds of a decode step, of a prompt, and to the first token, as `Derivation`s whose value is seconds."""
    tuning = tuning or Tuning()
    plans, loads = PlanColumns.from_plans([plan]), LoadColumns.of(load, 1)
    context = step_context(plans, loads, tuning, table)
    rows = slice(0, 1)
    inputs, work = context.inputs(rows), work_of(loads, rows)
    e = gathered(context.found.efficiency, context.found.index)
    response = respond(inputs, e, work, tuning.accepted_tokens, float(tuning.draft_tokens))
    return (
        _rates(plan, inputs, e),
        _decode(inputs, e, work, response, context),
        _prefill(inputs, work, response, context),
        _first_token(e, response, context),
    )


def derivation_text(language: str, found: Derivation) -> tuple[str, tuple[str, ...]]:
    """(title, lines) in a language."""
    title = translate(language, f"speed.derivation.{found.key}.title")
    return title, tuple(translate(language, f"speed.derivation.{s.key}", **s.values) for s in found.steps)


def _rates(plan: Plan, i: StepInputs, e: EfficiencyArrays) -> Derivation:
    m = i.machine
    steps = (
        _step("bandwidth", rate=_one(m.bandwidth), share=_one(e.bandwidth), usable=_one(m.bandwidth * e.bandwidth)),
        _step("compute", rate=_one(m.peak), share=_one(e.compute), usable=_one(m.peak * e.compute)),
    )
    source = plan.device.source if plan.device else (plan.host.source if plan.host else ())
    return Derivation("rates", _one(m.bandwidth * e.bandwidth), steps, "; ".join((*source[:2], CALIBRATION)))


def _decode(i: StepInputs, e: EfficiencyArrays, w: Work, r: Response, context: StepContext) -> Derivation:
    m = i.model
    touched = _one(m.n_experts) and _one(
        m.n_experts * -np.expm1(w.sequences**e.routing * np.log1p(-np.minimum(m.experts_per_tok / m.n_experts, 0.999)))
    )
    experts = touched * _one(m.expert_bytes * m.n_moe_layers)
    every = _one(m.attention_split_bytes + m.attention_replicated_bytes + m.dense_bytes + m.head_bytes)
    cache = _one(read_bytes(i.cache, w.decode_context) * w.sequences)
    factor = _one(context.found.decode_factor)
    expert_steps = (_step("experts", touched=touched, of=_one(m.n_experts), bytes=experts),) if touched else ()
    steps = (
        _step("every_token", bytes=every, tp=_one(i.layout.tp)),
        *expert_steps,
        _step("cache", sequences=_one(w.sequences), context=_one(w.decode_context), bytes=cache),
        *_parts(r.decode),
        _step("bias", factor=factor, ms=1e3 * _one(r.decode.total) * factor),
    )
    return Derivation("decode", _one(r.decode.total) * factor, steps, f"{FORMULAS}; {CALIBRATION}")


def _prefill(i: StepInputs, w: Work, r: Response, context: StepContext) -> Derivation:
    m = i.model
    params = _one(m.attention_params + m.dense_params + m.experts_per_tok * m.expert_params * m.n_moe_layers)
    chunks = float(np.ceil(_one(w.input_tokens / i.layout.chunk_tokens)))
    factor = _one(context.found.prefill_factor)
    steps = (
        _step("prompt", tokens=_one(w.input_tokens), chunks=chunks, flops=2 * params * _one(w.input_tokens)),
        *_parts(r.prefill),
        _step("bias", factor=factor, ms=1e3 * _one(r.prefill.total) * factor),
    )
    return Derivation("prefill", _one(r.prefill.total) * factor, steps, f"{FORMULAS}; {CALIBRATION}")


def _first_token(e: EfficiencyArrays, r: Response, context: StepContext) -> Derivation:
    prompt, constant = _one(r.prefill.total), _one(e.first_token_s)
    factor, total = _one(context.found.prefill_factor), _one(r.ttft_s)
    wait = max(total - prompt - constant, 0.0)
    steps = (
        _step("first_token", prompt=1e3 * prompt, constant=1e3 * constant, wait=1e3 * wait),
        _step("bias", factor=factor, ms=1e3 * total * factor),
    )
    return Derivation("ttft", total * factor, steps, f"advisor/sizing/response.py; {CALIBRATION}")


def _parts(t: StepTime) -> tuple[Step, ...]:
    """Milliseconds by what they are spent on."""
    return tuple(
        _step(f"part_{f.name}", ms=1e3 * _one(getattr(t, f.name)))
        for f in fields(StepTime)
        if _one(getattr(t, f.name)) > 0
    )


def _one(value: object) -> float:
    return float(np.asarray(value).ravel()[0])


def _step(key: str, **values: Value) -> Step:
    return Step(key, FrozenDict(values))
