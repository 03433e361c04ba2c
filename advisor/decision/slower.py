"""Plans that a longer latency limit would admit, although it is the traffic that they fail on: with the devices allowed
they do hold it, only slower."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.catalog import Catalog
from advisor.decision.result import Constraint
from advisor.decision.scenario import Scenario
from advisor.decision.search import CHECKED, Outcome, search
from advisor.decision.traffic import first_answer_s

__all__ = ["LongerLimit", "longer_limits"]

_FIELDS = {Constraint.TTFT: "ttft_ms", Constraint.TPOT: "tpot_ms", Constraint.E2E: "e2e_ms"}
_TIMED = (*_FIELDS, Constraint.LOAD, Constraint.DEVICES)
_FLEET = (Constraint.CAPITAL, Constraint.MONTHLY, Constraint.POWER)  # too high when the traffic takes more replicas
_STEPS = (1.25, 2.0, 4.0)  # times the limit
_ROWS = 200  # looked at, the nearest of them first
_VERIFIED = 4


@dataclass(frozen=True, slots=True)
class LongerLimit:
    """Row `row` of the grid is admitted once the limit `constraint` is `value_ms`, `factor` times what it was."""

    row: int
    constraint: Constraint
    value_ms: float
    factor: float


def longer_limits(outcome: Outcome, scenario: Scenario, catalog: Catalog) -> Iterator[LongerLimit]:
    """The least longer limit for rows that a latency limit or the traffic ruled out; each was tried."""
    rows = _nearest(outcome)
    for constraint, field in _FIELDS.items():
        limit = getattr(scenario, field)
        if limit is None or not len(rows):
            continue
        for factor in _STEPS:
            relaxed = _with(scenario, field, limit * factor)
            found = search(outcome.space.take(rows), relaxed, catalog)
            if found.accepted.any():
                yield from _least(outcome, rows, found, relaxed, scenario, catalog, constraint)
                break


def _nearest(outcome: Outcome) -> NDArray[np.intp]:
    """Rows that fail a latency limit or the traffic, and besides at most what a fleet costs or draws."""
    timed, fleet = (np.array([c in group for c in CHECKED], dtype=np.bool_) for group in (_TIMED, _FLEET))
    failed = outcome.excess > 1
    rows = np.flatnonzero(failed[:, timed].any(axis=1) & ~failed[:, ~(timed | fleet)].any(axis=1))
    worst = np.where(np.isfinite(outcome.excess[rows]), outcome.excess[rows], 1.0).max(axis=1)
    return rows[np.argsort(worst, kind="stable")[:_ROWS]]


def _least(
    outcome: Outcome,
    rows: NDArray[np.intp],
    found: Outcome,
    relaxed: Scenario,
    scenario: Scenario,
    catalog: Catalog,
    constraint: Constraint,
) -> Iterator[LongerLimit]:
    """The limit that the latency itself would meet, else the one that is known to admit the plan."""
    field = _FIELDS[constraint]
    limit, known = getattr(scenario, field), getattr(relaxed, field)
    reached = _latency_ms(found, constraint)
    accepted = np.flatnonzero(found.accepted)
    for position in accepted[np.argsort(reached[accepted], kind="stable")][:_VERIFIED]:
        row = int(rows[position])
        value = _three_digits_up(max(float(reached[position]), limit))
        tried = search(outcome.space.take(np.array([row])), _with(scenario, field, value), catalog)
        value = value if tried.accepted[0] else known
        yield LongerLimit(row, constraint, value, value / limit)


def _with(scenario: Scenario, field: str, limit_ms: float) -> Scenario:
    changed: dict[str, Any] = {field: limit_ms}
    return replace(scenario, **changed)


def _latency_ms(outcome: Outcome, constraint: Constraint) -> NDArray[np.float64]:
    served = outcome.served
    if constraint is Constraint.E2E:
        return 1e3 * served.e2e_s
    if constraint is Constraint.TPOT:
        return 1e3 * served.tpot_s
    return 1e3 * first_answer_s(outcome.space, served.ttft_s, served.tpot_s)


def _three_digits_up(value: float) -> float:
    step = 10.0 ** (floor(log10(value)) - 2)
    return ceil(value / step) * step
