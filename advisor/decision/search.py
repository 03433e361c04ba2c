"""Sizes the whole grid for a scenario and checks every hard limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.catalog import Catalog
from advisor.decision.money import Costs, costs
from advisor.decision.result import Constraint
from advisor.decision.scenario import Scenario
from advisor.decision.space import Space
from advisor.decision.traffic import Served, Unloaded, serve, unloaded

__all__ = ["CHECKED", "Outcome", "search"]

Floats = NDArray[np.float64]

CHECKED = (
    Constraint.MEMORY,
    Constraint.TTFT,
    Constraint.TPOT,
    Constraint.E2E,
    Constraint.LOAD,
    Constraint.DEVICES,
    Constraint.QUALITY,
    Constraint.CAPITAL,
    Constraint.MONTHLY,
    Constraint.POWER,
)
UNKNOWN = np.inf  # excess of a limit whose figure nobody published


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every plan of the grid, sized and checked. Arrays of shape (plans,).

    `excess` has shape (plans, CHECKED): what the plan needs over what the limit allows; above 1 it fails. A plan
    without room for one sequence is not asked further; one that fails the latency limits alone is not loaded.
    """

    space: Space
    alone: Unloaded
    served: Served
    costs: Costs
    excess: Floats

    @property
    def accepted(self) -> NDArray[np.bool_]:
        return np.asarray((self.excess <= 1).all(axis=1), dtype=np.bool_)

    @property
    def binding(self) -> NDArray[np.intp]:
        """Position in CHECKED of the first limit that each plan fails; 0 for plans that fail none."""
        return np.asarray((self.excess > 1).argmax(axis=1), dtype=np.intp)

    @property
    def failures(self) -> NDArray[np.intp]:
        return np.asarray((self.excess > 1).sum(axis=1), dtype=np.intp)


def search(space: Space, scenario: Scenario, catalog: Catalog) -> Outcome:
    """Sizes, loads, prices and checks every row."""
    alone = unloaded(space, scenario)
    served = serve(space, scenario, alone)
    money = costs(space, served, scenario, catalog)
    columns = dict(_limits(space, scenario, alone, served, money))
    excess = np.ones((len(space), len(CHECKED)))
    for position, constraint in enumerate(CHECKED):
        if constraint in columns:
            excess[:, position] = columns[constraint]
    return Outcome(space, alone, served, money, excess)


def _limits(
    space: Space, scenario: Scenario, alone: Unloaded, served: Served, money: Costs
) -> Iterator[tuple[Constraint, Floats]]:
    grid = alone.grid
    need = grid.weights_bytes + grid.kv_cache_bytes + grid.activation_bytes + grid.overhead_bytes
    yield Constraint.MEMORY, np.where(grid.fits, 1.0, np.maximum(need / np.maximum(grid.usable_bytes, 1), 1 + 1e-9))
    for constraint, seconds, limit in (
        (Constraint.TTFT, alone.ttft_s, scenario.ttft_ms),
        (Constraint.TPOT, alone.tpot_s, scenario.tpot_ms),
        (Constraint.E2E, alone.e2e_s, scenario.e2e_ms),
    ):
        if limit is not None:
            yield constraint, seconds * 1e3 / limit
    runs = grid.fits & np.isfinite(served.replicas)
    yield Constraint.LOAD, np.where(runs | ~_alone_is_fast_enough(scenario, alone), 1.0, UNKNOWN)
    available = np.array([offer.available for offer in space.offers], dtype=np.float64)[space.offer]
    yield Constraint.DEVICES, np.where(runs, served.replicas * space.devices / available, 1.0)
    if scenario.quality_floor:
        quality = space.table.quality[space.plans.model]
        yield Constraint.QUALITY, np.where(np.isnan(quality), UNKNOWN, scenario.quality_floor / np.maximum(quality, 1))
    for constraint, values, ceiling in (
        (Constraint.CAPITAL, money.capital_usd.value, scenario.budget_capital_usd),
        (Constraint.MONTHLY, money.monthly_usd.value, scenario.budget_monthly_usd),
        (Constraint.POWER, money.device_power_w, scenario.power_limit_w),
    ):
        if ceiling is not None:
            yield constraint, np.where(runs, np.nan_to_num(values / ceiling, nan=UNKNOWN), 1.0)


def _alone_is_fast_enough(scenario: Scenario, alone: Unloaded) -> NDArray[np.bool_]:
    good = alone.grid.fits.copy()
    for seconds, limit in (
        (alone.ttft_s, scenario.ttft_ms),
        (alone.tpot_s, scenario.tpot_ms),
        (alone.e2e_s, scenario.e2e_ms),
    ):
        if limit is not None:
            good &= seconds * 1e3 <= limit
    return good
