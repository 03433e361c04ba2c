"""How many replicas hold the scenario's traffic, and at what latency, for every plan of the grid.

The step model gives the time of a step at a few batch sizes; the closed form of `advisor.serving.steady` finds the
fewest replicas that meet the limits.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from advisor.decision.curves import loads_of, step_curve
from advisor.decision.loaded import Alone, Served
from advisor.decision.scenario import Scenario
from advisor.decision.space import Space
from advisor.serving.steady import Demand, fewest_replicas
from advisor.serving.workload import Slo
from advisor.sizing.grid import evaluate

__all__ = ["first_answer_s", "one_replica", "serve", "unloaded"]

Floats = NDArray[np.float64]


def unloaded(space: Space, scenario: Scenario) -> Alone:
    """Sizes every plan for one sequence of the full context."""
    if not len(space):  # nothing to ask the step model about
        none, no = np.zeros(0), np.zeros(0, dtype=np.bool_)
        return Alone(no, none, none, none, none, none, none, no)
    grid = evaluate(space.plans.compact(), loads_of(space, scenario, 1, full_context=True), table=space.efficiency)
    ttft, tpot = grid.ttft_s.value, grid.tpot_s.value
    return Alone(
        fits=grid.fits,
        shortfall_bytes=grid.shortfall_bytes,
        ttft_s=ttft,
        tpot_s=tpot,
        e2e_s=ttft + tpot * np.maximum(_outputs(space) - 1, 0),
        ttft_factor=grid.ttft_s.high / np.maximum(ttft, 1e-12),
        tpot_factor=grid.tpot_s.high / np.maximum(tpot, 1e-12),
        extrapolated=grid.extrapolated,
    )


def first_answer_s(space: Space, ttft_s: Floats, tpot_s: Floats) -> Floats:
    """Time to the first token that the user asked for: after a chain of thought that nobody asked for."""
    return ttft_s + space.table.hidden_tokens[space.plans.model] * tpot_s


def one_replica(alone: Alone) -> Served:
    """The smallest fleet there is, almost idle: no budget below its cost can be met."""
    n = len(alone.ttft_s)
    ones, none = np.ones(n), np.zeros(n)
    return Served(ones, ones, alone.ttft_s, alone.tpot_s, alone.e2e_s, none, none)


def serve(space: Space, scenario: Scenario, alone: Alone) -> Served:
    """Replicas and latency under the scenario's traffic."""
    if not len(space):
        return Served(*(np.zeros(0) for _ in fields(Served)))
    users = scenario.closed_loop_users
    demand = Demand(None if users is not None else scenario.arrivals_per_s, users or 0.0, scenario.closed_loop_pause_s)
    answer = fewest_replicas(step_curve(space, scenario, alone), demand, _slo(scenario))
    return Served(
        replicas=answer.replicas,
        concurrency=np.maximum(answer.sequences, 1.0),
        ttft_s=answer.ttft_s,
        tpot_s=answer.tpot_s,
        e2e_s=answer.e2e_s,
        utilisation=answer.utilisation,
        requests_per_s=answer.requests_per_s,
    )


def _slo(scenario: Scenario) -> Slo:
    return Slo(scenario.ttft_ms, scenario.tpot_ms, scenario.e2e_ms, scenario.percentile)


def _outputs(space: Space) -> Floats:
    return space.table.output_tokens[space.plans.model]
