"""The cheapest plan over variants, formats, machines and engines: ranked by closed form, decided by simulation.

The cheapest plans of the whole grid are each simulated under the scenario's peak, and priced again for the replicas
that the simulation asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from advisor.catalog.catalog import Catalog
from advisor.catalog.errors import InputError
from advisor.catalog.quantity import Quantity
from advisor.decision.finalists import FinalistTask, agrees, finalist_task
from advisor.decision.money import costs
from advisor.decision.recommend import Contenders, contenders
from advisor.decision.result import Candidate
from advisor.decision.scenario import Scenario
from advisor.serving.sweep import SweepRow, sweep
from probes.machine import detect
from probes.machine_records import Machine

__all__ = ["MOST_FINALISTS", "Finalist", "cheapest_plans"]

MOST_FINALISTS = 40


@dataclass(frozen=True, slots=True)
class Finalist:
    """A simulated plan. `row` None: no room for one request of the traffic. Money is for `row.safe_replicas`; None:
    no dated price, or no number of replicas meets the limits."""

    candidate: Candidate
    row: SweepRow | None
    monthly_usd: Quantity | None
    capital_usd: Quantity | None
    power_w: Quantity | None

    @property
    def feasible(self) -> bool:
        return self.row is not None and self.row.feasible

    @property
    def agrees(self) -> bool:
        """The ranking counted the simulated replicas, within a quarter or one."""
        return self.row is not None and agrees(self.candidate.replicas, self.row.replicas)


def cheapest_plans(
    scenario: Scenario,
    catalog: Catalog,
    *,
    most: int = 8,
    machine: Machine | None = None,
    workers: int | None = 0,
    ray_address: str | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Finalist, ...]:
    """The `most` cheapest plans of the ranking under simulation, cheapest first; infeasible ones last.

    `workers` and `ray_address` as in `advisor.serving.sweep`. Raises InputError for `most` and CancelledError.
    """
    if not 1 <= most <= MOST_FINALISTS:
        raise InputError("finalists", f"1..{MOST_FINALISTS}", most)
    if scenario.this_machine and machine is None:
        machine = detect()
    found = contenders(scenario, catalog, machine, most)
    tasks = [finalist_task(candidate, found.scenario, catalog) for candidate in found.candidates]
    runnable = [task for task in tasks if task is not None]
    rows = {} if not runnable else _simulated(runnable, workers, ray_address, progress, cancelled)
    finalists = [
        _finalist(found, index, None if task is None else rows[task.search.key], catalog)
        for index, task in enumerate(tasks)
    ]
    return tuple(sorted(finalists, key=_order))


def _simulated(
    tasks: list[FinalistTask],
    workers: int | None,
    ray_address: str | None,
    progress: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> dict[str, SweepRow]:
    searches = [task.search for task in tasks]
    rows = sweep(searches, workers=workers, ray_address=ray_address, progress=progress, cancelled=cancelled)
    return {row.key: _as_the_user_waits(row, task) for row, task in zip(rows, tasks, strict=True)}


def _as_the_user_waits(row: SweepRow, task: FinalistTask) -> SweepRow:
    return replace(row, ttft_ms=task.first_token_ms(row.ttft_ms, row.tpot_ms))


def _finalist(found: Contenders, index: int, row: SweepRow | None, catalog: Catalog) -> Finalist:
    candidate = found.candidates[index]
    if row is None or not row.feasible:
        return Finalist(candidate, row, None, None, None)
    where = np.array([found.rows[index]], dtype=np.intp)
    load = row.load * row.replicas / row.safe_replicas
    fleet = replace(
        found.outcome.served.take(where),
        replicas=np.array([float(row.safe_replicas)]),
        utilisation=np.array([min(1.0, load)]),
    )
    money = costs(found.outcome.space.take(where), fleet, found.scenario, catalog)
    return Finalist(
        candidate,
        row,
        monthly_usd=money.monthly_usd.quantity(0, "simulated replicas at the prices of the catalogue"),
        capital_usd=money.capital_usd.quantity(0),
        power_w=money.power_w.quantity(0),
    )


def _order(finalist: Finalist) -> tuple[bool, float]:
    monthly = finalist.monthly_usd
    return not finalist.feasible, float("inf") if monthly is None else monthly.value
