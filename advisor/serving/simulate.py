"""Run a fleet on a table of requests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from advisor.serving._jit import COMPILED
from advisor.serving.engines import EngineOptions
from advisor.serving.fleet import Fleet, single
from advisor.serving.kernel_run import run
from advisor.serving.requests import check_requests
from advisor.serving.result import SimulationResult
from advisor.serving.state import NEVER, State, build_state, column
from advisor.serving.step_costs import StepCosts
from advisor.serving.summary import summarise
from advisor.serving.workload import RequestTable, Slo

__all__ = ["Control", "simulate", "simulate_fleet", "warm_up"]


class Control(Protocol):
    """Called at time 0 and then whenever it asked for: looks at the state, may change it, says when to call again."""

    def __call__(self, state: State, now: float) -> float: ...


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
    controls: Sequence[Control] = (),
) -> SimulationResult:
    """Deterministic for a seed. `slos[c]` and `priorities[c]` belong to class c. Raises InputError."""
    check_requests(table)
    warm_up()
    started = time.process_time()
    state = build_state(fleet, table, seed=seed, priorities=priorities)
    due = [control(state, 0.0) for control in controls]
    while controls and min(due) < NEVER and not _is_done(state):
        moment = min(due)
        run(state, moment, -1, 0.0)
        due = [control(state, moment) if at <= moment else at for control, at in zip(controls, due, strict=True)]
    run(state, NEVER, -1, 0.0)
    cpu_s = time.process_time() - started
    return summarise(state, fleet, table, slos=slos, class_names=class_names, cpu_s=cpu_s)


def _is_done(state: State) -> bool:
    expected = len(state.first) or len(state.req)
    record = state.run[0]
    arrived = record["next"] if COMPILED else record.next
    pending = record["pending"] if COMPILED else record.pending
    return bool(arrived >= expected and pending == 0 and column(state.groups, "end").min() >= NEVER)


@lru_cache(maxsize=1)
def warm_up() -> None:
    """Compile, or load what was compiled before, outside of the time that is reported."""
    if not COMPILED:
        return
    costs = StepCosts((0, 8), (1e-3, 1e-3), 0.0, 0.0, 0.0, 0, 64, 8, 8)
    one = np.ones(1, dtype=np.int64)
    table = RequestTable(np.zeros(1), one, one, 0 * one, 0 * one)
    state = build_state(single(costs), table, seed=0)
    run(state, NEVER, -1, 0.0)
