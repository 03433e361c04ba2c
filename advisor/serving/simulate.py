"""Run a fleet on a table of requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from advisor.serving._jit import COMPILED
from advisor.serving.engines import EngineOptions
from advisor.serving.fleet import Fleet, single
from advisor.serving.kernel_route import finish_all, run_arrivals, run_follow_ups
from advisor.serving.requests import check_requests
from advisor.serving.result import SimulationResult
from advisor.serving.state import NEVER, State, build_state
from advisor.serving.step_costs import StepCosts
from advisor.serving.summary import summarise
from advisor.serving.workload import RequestTable, Slo

__all__ = ["Control", "simulate", "simulate_fleet", "warm_up"]

# Called between stretches of simulated time: (state, now) -> time of the next call. May change `active`,
# `scale` and the queues of the state.
Control = Callable[[State, float], float]


def simulate(
    costs: StepCosts, table: RequestTable, *, options: EngineOptions | None = None, slos: tuple[Slo, ...] = ()
) -> SimulationResult:
    """One replica (all `dp` ranks of it). Raises InputError for requests that make no sense."""
    return simulate_fleet(single(costs, options), table, slos=slos)


def simulate_fleet(
    fleet: Fleet,
    table: RequestTable,
    *,
    seed: int = 0,
    slos: tuple[Slo, ...] = (),
    priorities: tuple[int, ...] = (),
    class_names: tuple[str, ...] = (),
    control: Control | None = None,
) -> SimulationResult:
    """Deterministic for a seed. `slos[c]` and `priorities[c]` belong to class c. Raises InputError."""
    check_requests(table)
    warm_up()
    started = time.process_time()
    state = build_state(fleet, table, seed=seed, priorities=priorities)
    run = run_follow_ups if len(table.follows) else run_arrivals
    moment = control(state, 0.0) if control else NEVER
    while control and moment < NEVER:
        run(state, moment)
        finish_all(state, moment)
        moment = control(state, moment)
    run(state, NEVER)
    finish_all(state, NEVER)
    cpu_s = time.process_time() - started
    return summarise(state, fleet, table, slos=slos, class_names=class_names, cpu_s=cpu_s)


@lru_cache(maxsize=1)
def warm_up() -> None:
    """Compile, or load what was compiled before, outside of the time that is reported."""
    if not COMPILED:
        return
    costs = StepCosts((0, 8), (1e-3, 1e-3), 0.0, 0.0, 0.0, 0, 64, 8, 8)
    one = np.ones(1, dtype=np.int64)
    table = RequestTable(np.zeros(1), one, one, 0 * one, 0 * one)
    state = build_state(single(costs), table, seed=0)
    run_arrivals(state, NEVER)
    run_follow_ups(state, NEVER)
    finish_all(state, NEVER)
