"""Sizes the whole grid for a scenario and checks every hard limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.catalog import Catalog
from advisor.decision.layouts import usable_bytes
from advisor.decision.loaded import Alone, Served
from advisor.decision.money import Costs, costs
from advisor.decision.result import Constraint
from advisor.decision.scenario import Scenario
from advisor.decision.space import Space
from advisor.decision.traffic import first_answer_s, one_replica, serve, unloaded

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

    Plans that one replica already puts beyond memory, latency or budget are not loaded with traffic: they have no
    fleet (`served` is NaN), and cost and excess are those of one replica.

    `excess` has shape (plans, CHECKED): what the plan needs over what the limit allows; above 1 it fails.
    """

    space: Space
    alone: Alone
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
    columns = {
        Constraint.MEMORY: _memory(space, alone),
        **_latency(space, scenario, alone),
        Constraint.QUALITY: _quality(space, scenario),
    }
    one = one_replica(alone)
    smallest = costs(space, one, scenario, catalog)
    at_least = _fleet(space, scenario, one, smallest)
    passed = [columns[Constraint.MEMORY], *_latency(space, scenario, alone).values(), *at_least.values()]
    live = np.all([column <= 1 for column in passed], axis=0)
    served = serve(space.take(live), scenario, alone.take(live)).spread(live)
    money = costs(space, served, scenario, catalog)
    columns = {**columns, **_under_load(space, scenario, served, live, columns)}
    columns[Constraint.LOAD] = np.where(np.isfinite(served.replicas) | ~live, 1.0, UNKNOWN)
    for constraint, excess in _fleet(space, scenario, served, money).items():
        columns[constraint] = np.where(live, excess, at_least[constraint])
    ones = np.ones(len(space))
    excess = np.stack([columns.get(constraint, ones) for constraint in CHECKED], axis=1)
    return Outcome(space, alone, served, money.where(live, smallest), excess)


def _memory(space: Space, alone: Alone) -> Floats:
    memory = np.array([usable_bytes(offer.hardware) for offer in space.offers], dtype=np.float64)[space.offer]
    return np.where(alone.fits, 1.0, 1 + np.maximum(alone.shortfall_bytes / memory, 1e-9))


def _latency(space: Space, scenario: Scenario, alone: Alone) -> dict[Constraint, Floats]:
    limits = (
        (Constraint.TTFT, first_answer_s(space, alone.ttft_s, alone.tpot_s), scenario.ttft_ms),
        (Constraint.TPOT, alone.tpot_s, scenario.tpot_ms),
        (Constraint.E2E, alone.e2e_s, scenario.e2e_ms),
    )
    return {constraint: seconds * 1e3 / limit for constraint, seconds, limit in limits if limit is not None}


def _under_load(
    space: Space, scenario: Scenario, served: Served, live: NDArray[np.bool_], columns: Mapping[Constraint, Floats]
) -> dict[Constraint, Floats]:
    """The first answer token again, now with the fleet's latency: the fleet was sized for the first token."""
    if scenario.ttft_ms is None:
        return {}
    runs = live & np.isfinite(served.replicas)
    wait = np.nan_to_num(first_answer_s(space, served.ttft_s, served.tpot_s), nan=0.0) * 1e3 / scenario.ttft_ms
    hidden = space.table.hidden_tokens[space.plans.model] > 0
    alone = columns[Constraint.TTFT]
    return {Constraint.TTFT: np.where(runs & hidden, np.maximum(alone, wait), alone)}


def _quality(space: Space, scenario: Scenario) -> Floats:
    if not scenario.quality_floor:
        return np.ones(len(space))
    quality = space.table.quality[space.plans.model]
    return np.where(np.isnan(quality), UNKNOWN, scenario.quality_floor / np.maximum(quality, 1))


def _fleet(space: Space, scenario: Scenario, served: Served, money: Costs) -> dict[Constraint, Floats]:
    """Limits on the whole fleet; plans without a fleet pass, since they fail elsewhere."""
    runs = np.isfinite(served.replicas)
    available = np.array([offer.available for offer in space.offers], dtype=np.float64)[space.offer]
    found = {Constraint.DEVICES: np.where(runs, served.replicas * space.devices / available, 1.0)}
    for constraint, values, ceiling in (
        (Constraint.CAPITAL, money.capital_usd.value, scenario.budget_capital_usd),
        (Constraint.MONTHLY, money.monthly_usd.value, scenario.budget_monthly_usd),
        (Constraint.POWER, money.device_power_w, scenario.power_limit_w),
    ):
        if ceiling is not None:
            found[constraint] = np.where(runs, np.nan_to_num(values / ceiling, nan=UNKNOWN), 1.0)
    return found
