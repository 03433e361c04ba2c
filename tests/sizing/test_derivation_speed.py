"""Speeds unfolded: every derivation ends in the number that `size` gives, and its steps add up to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from advisor.catalog import load_catalog
from advisor.catalog.calibration_records import LocalCalibration
from advisor.catalog.text import LANGUAGES
from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.derivation import Derivation
from advisor.sizing.derivation_shares import contributions, contributions_text
from advisor.sizing.derivation_speed import SHARES, derivation_text, derive_all, derive_speed
from advisor.sizing.efficiency import FRACTIONS, PRIORS, efficiency_table
from advisor.sizing.grid import step_context
from advisor.sizing.plan import Layout, Load, Offload, Plan
from advisor.sizing.size import size

CATALOG = load_catalog()


def plan_of(model: str, fmt: str, device: str | None, engine: str, backend: str, layout: Layout) -> Plan:
    variant = CATALOG.variant(model)
    host = next(h for h in CATALOG.hosts.values() if h.memory_bytes) if layout.offload is not Offload.NONE else None
    found = CATALOG.device(device) if device else None
    return Plan(variant, CATALOG.format(fmt), CATALOG.engine(engine), backend, found, layout, host=host)


PLANS = {
    "moe": plan_of("deepseek-r1", "fp8-block", "h200-sxm", "sglang", "cuda", Layout(tp=8)),
    "attention-dp": plan_of("deepseek-v3.2", "fp8-block", "h200-sxm", "sglang", "cuda", Layout(tp=8, dp_attention=8)),
    "dense": plan_of("deepseek-r1-distill-qwen-7b", "bf16", "rtx-4090", "vllm", "cuda", Layout()),
    "pipeline": plan_of("deepseek-r1-distill-llama-70b", "bf16", "h100-sxm", "vllm", "cuda", Layout(tp=2, pp=2)),
    "hybrid": plan_of(
        "deepseek-r1", "gguf-q4_k_m", "rtx-4090", "llama.cpp", "cuda", Layout(offload=Offload.EXPERTS_CPU)
    ),
    "cpu": plan_of("qwen3-8b", "gguf-q4_k_m", None, "llama.cpp", "cpu", Layout(offload=Offload.CPU_ONLY)),
}
LOADS = {"one": Load(1024, 256, 4096, 1), "many": Load(2048, 300, 4096, 24)}


def by_key(found: tuple[Derivation, ...]) -> dict[str, Derivation]:
    return {item.key: item for item in found}


def values(item: Derivation, key: str) -> dict[str, float]:
    return next({k: float(v) for k, v in step.values.items()} for step in item.steps if step.key == key)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_each_ends_in_the_number_that_is_shown(plan: Plan, load: Load) -> None:
    found, shown = by_key(derive_speed(plan, load)), size(plan, load, CATALOG)
    assert found["decode"].value * 1e3 == pytest.approx(shown.tpot_ms.value)
    assert values(found["decode"], "token_rate")["rate"] == pytest.approx(shown.decode_tok_s.value)
    assert values(found["prefill"], "prompt_rate")["rate"] == pytest.approx(shown.prefill_tok_s.value)
    assert found["ttft"].value * 1e3 == pytest.approx(shown.ttft_ms.value)
    assert found["output"].value == pytest.approx(shown.output_tok_s.value)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_steps_add_up(plan: Plan, load: Load) -> None:
    """From the printed milliseconds alone: parts of the step, other users' prompts, fitted remainder."""
    found = by_key(derive_speed(plan, load))
    for key in ("decode", "prefill"):
        item = found[key]
        parts = sum(float(s.values["ms"]) for s in item.steps if s.key.startswith("part_"))
        between = sum(float(s.values["ms"]) for s in item.steps if s.key == "interference")
        assert (parts + between) * values(item, "bias")["factor"] == pytest.approx(1e3 * item.value, rel=2e-3)
    first = values(found["ttft"], "first_token")
    assert first["wait"] >= -1e-9
    assert sum(first.values()) * values(found["ttft"], "bias")["factor"] == pytest.approx(1e3 * found["ttft"].value)


def test_own_measurements_are_part_of_it() -> None:
    own = LocalCalibration("rtx-4090", "vllm", "16bit", 1.1, 1.2, 0.9, 1.2, 3, effects=(("bandwidth", 0.8),))
    catalog = replace(CATALOG, calibrations=(own,))
    found = by_key(derive_all(PLANS["dense"], LOADS["one"], catalog))
    shown = size(PLANS["dense"], LOADS["one"], catalog)
    assert found["decode"].value * 1e3 == pytest.approx(shown.tpot_ms.value)
    assert found["ttft"].value * 1e3 == pytest.approx(shown.ttft_ms.value)
    assert values(found["rates"], "own_share")["factor"] == pytest.approx(0.8)
    assert "own_share" not in {step.key for step in derive_all(PLANS["dense"], LOADS["one"], CATALOG)[-5].steps}


def test_speculative_tokens_are_counted() -> None:
    tuning = Tuning(accepted_tokens=1.8, draft_tokens=1)
    found = by_key(derive_speed(PLANS["moe"], LOADS["one"], tuning))["decode"]
    assert found.value * 1e3 == pytest.approx(size(PLANS["moe"], LOADS["one"], CATALOG, tuning).tpot_ms.value)
    assert values(found, "step")["accepted"] == 1.8


def test_experts_are_the_expected_union_of_the_choices() -> None:
    plans, loads = PlanColumns.from_plans([PLANS["moe"]]), LoadColumns.of(LOADS["many"], 1)
    routing = float(step_context(plans, loads, Tuning(), None).found.efficiency.routing[0])
    a = PLANS["moe"].variant.architecture
    touched = a.n_routed_experts * (1 - (1 - a.experts_per_tok / a.n_routed_experts) ** (24**routing))
    found = by_key(derive_speed(PLANS["moe"], LOADS["many"]))["decode"]
    assert values(found, "experts")["touched"] == pytest.approx(touched)


@pytest.mark.parametrize("effect", SHARES)
def test_contributions_make_up_the_share(effect: str) -> None:
    plans, loads = PlanColumns.from_plans([PLANS["dense"]]), LoadColumns.of(LOADS["one"], 1)
    found = step_context(plans, loads, Tuning(), None).found
    _, numbers = found.pairings.machine_arrays()
    parts = contributions(efficiency_table(), found.pairings.factor_columns(numbers), effect)
    start = np.log(PRIORS[effect] / (1 - PRIORS[effect]))
    assert effect in FRACTIONS
    share = 1 / (1 + np.exp(-(start + sum(p.change for p in parts))))
    assert share == pytest.approx(float(getattr(found.efficiency, effect)[0]))
    assert contributions_text(parts)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_step_has_a_text(language: str, plan: Plan) -> None:
    found = derive_all(replace(plan, kv_format="bf16"), LOADS["many"], CATALOG)
    assert [item.unit for item in found[-5:]] == ["bytes/s", "s", "s", "s", "tok/s"]
    for item in found:
        title, lines = derivation_text(language, item)
        assert title
        assert item.source
        assert len(lines) == len(item.steps)
        assert not any("{" in line for line in lines)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_terms_of_the_workspace_add_up(plan: Plan) -> None:
    found = by_key(derive_all(replace(plan, kv_format="bf16"), LOADS["many"], CATALOG))["workspace"]
    terms = sum(float(s.values["bytes"]) for s in found.steps if s.key == "term")
    assert terms == pytest.approx(_activation(found), rel=1e-6, abs=2)


def _activation(found: Derivation) -> float:
    return next(float(s.values["bytes"]) for s in found.steps if s.key == "activation")
