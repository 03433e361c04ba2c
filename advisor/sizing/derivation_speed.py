"""Where a speed comes from: bytes and operations, datasheet rates, fitted shares, and what each costs.

The terms are those of the step model itself (`StepTime`, `Response`, `EfficiencyArrays`), so each derivation ends in
the number that `size` gives. Texts live in data/i18n/*/speed.yaml under `derivation`; a step is a text key with the
values that fill it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from advisor.catalog import Catalog
from advisor.catalog.frozen import FrozenDict
from advisor.catalog.text import translate
from advisor.sizing.cache import read_bytes
from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.derivation import Derivation, Step, Value, derive
from advisor.sizing.derivation_shares import contributions, contributions_text, share_of
from advisor.sizing.efficiency import PRIORS, EfficiencyArrays, EfficiencyTable, efficiency_table, table_for
from advisor.sizing.factors import FactorColumns
from advisor.sizing.grid import step_context, work_of
from advisor.sizing.pairings import gathered
from advisor.sizing.plan import Load, Plan
from advisor.sizing.response import Response, Work, respond
from advisor.sizing.step import experts_touched, priced
from advisor.sizing.step_arrays import StepInputs, StepTime

__all__ = ["SHARES", "derivation_text", "derive_all", "derive_speed"]

CALIBRATION = "data/calibration.yaml"
FORMULAS = f"advisor/sizing/step.py; {CALIBRATION}"
SHARES = ("bandwidth", "compute", "cache", "attention")  # of datasheet rates, shown with what they are made of


@dataclass(frozen=True, slots=True)
class _Case:
    """One plan under one load, as the step model sees it."""

    plan: Plan
    inputs: StepInputs
    work: Work
    efficiency: EfficiencyArrays
    response: Response
    columns: FactorColumns
    table: EfficiencyTable
    decode_factor: float
    prefill_factor: float
    accepted_tokens: float


def derive_speed(
    plan: Plan, load: Load, tuning: Tuning | None = None, table: EfficiencyTable | None = None
) -> tuple[Derivation, ...]:
    """Rates in bytes per second; a token, a prompt and the first token in seconds; all users in tokens per second."""
    case = _case(plan, load, tuning or Tuning(), table or efficiency_table())
    return _rates(case), _token(case), _prompt(case), _first_token(case), _everyone(case)


def derive_all(plan: Plan, load: Load, catalog: Catalog, tuning: Tuning | None = None) -> tuple[Derivation, ...]:
    """Every number of a plan under a load, bytes and then speeds, with the calibration in force."""
    return *derive(plan, load), *derive_speed(plan, load, tuning, table_for(catalog))


def derivation_text(language: str, found: Derivation) -> tuple[str, tuple[str, ...]]:
    """(title, lines) in a language."""
    texts = "sizing.derivation" if found.unit == "bytes" else "speed.derivation"
    title = translate(language, f"{texts}.{found.key}.title")
    return title, tuple(translate(language, f"{texts}.{s.key}", **s.values) for s in found.steps)


def _case(plan: Plan, load: Load, tuning: Tuning, table: EfficiencyTable) -> _Case:
    plans, loads = PlanColumns.from_plans([plan]), LoadColumns.of(load, 1)
    context = step_context(plans, loads, tuning, table)
    rows = slice(0, 1)
    inputs, work = context.inputs(rows), work_of(loads, rows)
    efficiency = gathered(context.found.efficiency, context.found.index)
    _, numbers = context.found.pairings.machine_arrays()
    return _Case(
        plan=plan,
        inputs=inputs,
        work=work,
        efficiency=efficiency,
        response=respond(priced(inputs, efficiency), work, tuning.accepted_tokens, float(tuning.draft_tokens)),
        columns=context.found.pairings.factor_columns(numbers),
        table=table,
        decode_factor=_one(context.found.decode_factor),
        prefill_factor=_one(context.found.prefill_factor),
        accepted_tokens=tuning.accepted_tokens,
    )


def _rates(case: _Case) -> Derivation:
    m, e, plan = case.inputs.machine, case.efficiency, case.plan
    steps = (
        _step("bandwidth", rate=_one(m.bandwidth), share=_one(e.bandwidth), usable=_one(m.bandwidth * e.bandwidth)),
        _step("compute", rate=_one(m.peak), share=_one(e.compute), usable=_one(m.peak * e.compute)),
        *_shares(case),
    )
    source = plan.device.source if plan.device else (plan.host.source if plan.host else ())
    return Derivation(
        "rates", _one(m.bandwidth * e.bandwidth), steps, "; ".join((*source[:2], CALIBRATION)), "bytes/s"
    )


def _shares(case: _Case) -> Iterator[Step]:
    for name in SHARES:
        share = _one(getattr(case.efficiency, name))
        host = f"host_{name}"  # a plan on the processor alone may use the rates of the host
        effect = host if hasattr(case.efficiency, host) and _one(getattr(case.efficiency, host)) == share else name
        found = contributions(case.table, case.columns, effect)
        public = share_of(found, effect)
        yield _step(f"share_{name}", share=public, start=PRIORS[effect], parts=contributions_text(found))
        if abs(share / public - 1) > 1e-6:
            yield _step("own_share", factor=share / public, share=share)


def _token(case: _Case) -> Derivation:
    """Time per output token: a step over the batch, and the prompts of others in between."""
    m, w, r = case.inputs.model, case.work, case.response
    every = _one(m.attention_split_bytes + m.attention_replicated_bytes + m.dense_bytes + m.head_bytes)
    cache = _one(read_bytes(case.inputs.cache, w.decode_context) * w.sequences)
    step, tpot = _one(r.decode.total) / case.accepted_tokens, _one(r.tpot_s)
    steps = (
        _step("every_token", bytes=every, tp=_one(case.inputs.layout.tp)),
        *_experts(case),
        _step("cache", sequences=_one(w.sequences), context=_one(w.decode_context), bytes=cache),
        *_parts(r.decode),
        _step("step", ms=1e3 * step, accepted=case.accepted_tokens),
        *([_step("interference", ms=1e3 * (tpot - step))] if tpot - step > 1e-3 * tpot else []),
        _bias(tpot, case.decode_factor),
        _step("token_rate", rate=1 / (tpot * case.decode_factor)),
    )
    return Derivation("decode", tpot * case.decode_factor, steps, FORMULAS, "s")


def _experts(case: _Case) -> Iterator[Step]:
    m = case.inputs.model
    experts = _one(m.n_experts)
    if not experts:
        return
    touched = _one(experts_touched(m.n_experts, m.log_unchosen, case.efficiency.routing, case.work.sequences))
    yield _step("experts", touched=touched, of=experts, bytes=touched * _one(m.expert_bytes * m.n_moe_layers))


def _prompt(case: _Case) -> Derivation:
    m, w, r = case.inputs.model, case.work, case.response
    tokens = _one(w.input_tokens)
    params = _one(m.attention_params + m.dense_params + m.experts_per_tok * m.expert_params * m.n_moe_layers)
    chunks = float(np.ceil(tokens / _one(case.inputs.layout.chunk_tokens)))
    seconds = _one(r.prefill.total)
    steps = (
        _step("prompt", tokens=tokens, chunks=chunks, flops=2 * params * tokens),
        *_parts(r.prefill),
        _bias(seconds, case.prefill_factor),
        _step("prompt_rate", rate=tokens / (seconds * case.prefill_factor)),
    )
    return Derivation("prefill", seconds * case.prefill_factor, steps, FORMULAS, "s")


def _first_token(case: _Case) -> Derivation:
    r = case.response
    constant, total = _one(case.efficiency.first_token_s), _one(r.ttft_s)
    prompt = min(_one(r.prefill.total), total - constant)  # stages overlap the prompts of many users
    steps = (
        _step("first_token", prompt=1e3 * prompt, constant=1e3 * constant, wait=1e3 * (total - prompt - constant)),
        _bias(total, case.prefill_factor),
    )
    return Derivation("ttft", total * case.prefill_factor, steps, f"advisor/sizing/response.py; {CALIBRATION}", "s")


def _everyone(case: _Case) -> Derivation:
    """Output of all sequences of a replica: each takes one first token and the tokens after it."""
    w, r = case.work, case.response
    ttft, tpot = _one(r.ttft_s) * case.prefill_factor, _one(r.tpot_s) * case.decode_factor
    sequences, tokens = _one(w.sequences), _one(w.output_tokens)
    last = max(tokens - 1, 1.0)
    rate = sequences * tokens / (ttft + last * tpot)
    step = _step("everyone", n=sequences, tokens=tokens, ttft=1e3 * ttft, last=last, tpot=1e3 * tpot, rate=rate)
    return Derivation("output", rate, (step,), "advisor/sizing/response.py", "tok/s")


def _bias(seconds: float, factor: float) -> Step:
    return _step("bias", factor=factor, ms=1e3 * seconds * factor)


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
