"""From a plan and its traffic to what the simulator needs: step costs, scheduler rules, shares of a step's time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from advisor.catalog import Catalog
from advisor.catalog.errors import InputError
from advisor.catalog.records import Engine
from advisor.serving.engines import PRESETS, EngineOptions
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import Workload
from advisor.sizing.efficiency import table_for
from advisor.sizing.plan import Binding, Load, Plan, Sizing
from advisor.sizing.size import size
from advisor.sizing.steptables import outside_s, step_tables

__all__ = ["ServingPlan", "engine_options", "rules_of", "serving_plan", "typical_load"]

_TYPICAL_BATCH = 64  # around which the attention cost is made linear
_BY_ENGINE = {"vllm": "vllm", "vllm-ascend": "vllm", "sglang": "sglang", "trtllm": "tensorrt-llm"}
_BY_BATCHING = {"continuous": "vllm", "slots": "llama.cpp", "static": "static"}


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """One replica of a plan, ready to be simulated. `costs` is None where the plan does not fit its devices."""

    plan: Plan
    load: Load
    sizing: Sizing
    costs: StepCosts | None
    options: EngineOptions
    step_shares: Mapping[str, float]  # of a decode step's time: bandwidth, compute, link, host


def serving_plan(plan: Plan, workload: Workload, catalog: Catalog) -> ServingPlan:
    """Sizes the plan for the mean request of the workload and tabulates its steps.

    Raises InputError for traffic whose mean request is longer than the model's context.
    """
    _refuse_beyond_context(plan, workload)
    load = typical_load(workload, concurrency=1)
    sizing = size(plan, load, catalog)
    options = engine_options(plan)
    batch = _TYPICAL_BATCH
    while sizing.fits and batch > 1:  # the workspace grows with the batch: what one sequence leaves is too much
        batch = max(1, min(batch, sizing.max_concurrency))
        load = typical_load(workload, concurrency=batch)
        larger = size(plan, load, catalog)
        if larger.fits:
            sizing = larger
            break
        batch = min(batch - 1, larger.max_concurrency)
    shares = {str(name): share for name, share in sizing.shares.items() if name is not Binding.CAPACITY}
    if not sizing.fits:
        return ServingPlan(plan, load, sizing, None, options, shares)
    table = table_for(catalog)
    costs = StepCosts(**asdict(step_tables(plan, load, table=table)), outside_s=outside_s(plan, load, table))
    return ServingPlan(plan, load, sizing, costs, options, shares)


def _refuse_beyond_context(plan: Plan, workload: Workload) -> None:
    longest = plan.variant.architecture.max_context_tokens
    tokens = workload.mean_input_tokens + workload.mean_output_tokens
    if longest and tokens > longest:
        expected = f"requests of at most {longest:,} tokens, the context of {plan.variant.name}"
        raise InputError("traffic", expected, f"{tokens:,.0f} on average")


def typical_load(workload: Workload, *, concurrency: int) -> Load:
    """The mean request, with room for what a running request holds."""
    prompt, answer = max(1, round(workload.mean_input_tokens)), max(1, round(workload.mean_output_tokens))
    room = max(prompt + answer, math.ceil(workload.running_context_tokens))
    cached = min(prompt - 1, round(workload.mean_cached_tokens))
    return Load(prompt, answer, room, concurrency, cached)


def engine_options(plan: Plan) -> EngineOptions:
    """Scheduler rules of the plan's engine; those of its way of batching where the engine has no preset."""
    return rules_of(plan.engine)


def rules_of(engine: Engine) -> EngineOptions:
    """Scheduler rules of an engine."""
    return PRESETS[_BY_ENGINE.get(engine.id) or _BY_BATCHING.get(engine.batching, "vllm")]
