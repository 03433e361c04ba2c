"""A scenario's traffic as the simulator takes it."""

from __future__ import annotations

from dataclasses import replace

from advisor.decision.scenario import Scenario
from advisor.serving.needs import workload_from_figures
from advisor.serving.workload import Slo, Workload

__all__ = ["scenario_workload"]


def scenario_workload(
    scenario: Scenario, *, fixed_lengths: bool = True, generated_tokens: int | None = None
) -> Workload:
    """The peak traffic of a scenario after growth; lengths as stated, or spread as in real conversations.

    `generated_tokens`: what a certain model generates per request, its chain of thought included, where it is not
    what the scenario states.
    """
    users = scenario.closed_loop_users
    traffic = workload_from_figures(
        input_tokens=scenario.input_tokens,
        output_tokens=scenario.output_tokens if generated_tokens is None else generated_tokens,
        reasoning_tokens=scenario.reasoning_tokens if generated_tokens is None else 0,
        cached_input_tokens=scenario.cached_input_tokens,
        rate_per_s=scenario.arrivals_per_s if users is None else None,
        users=None if users is None else max(1, round(users)),
        think_s=scenario.closed_loop_pause_s,
        context_tokens=scenario.context_tokens,
        slo=Slo(scenario.ttft_ms, scenario.tpot_ms, scenario.e2e_ms, scenario.percentile),
        fixed_lengths=fixed_lengths,
    )
    return replace(traffic, id=scenario.id, name=scenario.name.en, name_zh=scenario.name.zh)
