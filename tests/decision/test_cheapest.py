"""The cheapest plan by simulation: ordered by cost, priced for what was simulated, varied, cancellable."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import InputError
from advisor.decision.cheapest import cheapest_plans
from advisor.decision.scenarios import find_scenario
from advisor.serving.capacity import CancelledError


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture(scope="module")
def scenario(catalog):
    return find_scenario("customer-service", catalog)


@pytest.fixture(scope="module")
def found(scenario, catalog):
    return cheapest_plans(scenario, catalog, most=6)


def test_the_cheapest_comes_first_and_holds_the_traffic(found, scenario):
    good = [f for f in found if f.feasible]
    assert good
    monthly = [f.monthly_usd.value for f in good]
    assert monthly == sorted(monthly)
    assert list(found[: len(good)]) == good
    for finalist in good:
        assert 1 <= finalist.row.replicas <= finalist.row.safe_replicas
        assert finalist.row.e2e_ms <= (scenario.e2e_ms or float("inf"))


def test_a_plan_is_priced_for_the_replicas_that_were_simulated(found):
    """Money grows with the replicas, and is that of the ranking where both count the same."""
    for finalist in (f for f in found if f.feasible):
        per_replica = finalist.monthly_usd.value / finalist.row.safe_replicas
        ranked = finalist.candidate.monthly_usd.value / finalist.candidate.replicas
        assert per_replica == pytest.approx(ranked, rel=0.1)


def test_finalists_differ_in_more_than_the_layout(found):
    plans = [f.candidate.plan for f in found]
    assert max(Counter(plan.variant.id for plan in plans).values()) <= 3
    where = [(p.variant.id, p.device.id if p.device else "", p.engine.id, p.backend) for p in plans]
    assert len(set(where)) == len(where)


def test_limits_that_nothing_meets_leave_no_finalist(scenario, catalog):
    assert cheapest_plans(replace(scenario, tpot_ms=0.001), catalog, most=2) == ()


def test_a_search_can_be_stopped(scenario, catalog):
    with pytest.raises(CancelledError):
        cheapest_plans(scenario, catalog, most=2, cancelled=lambda: True)


@pytest.mark.parametrize("most", [0, -1, 41])
def test_a_senseless_number_of_finalists_is_refused(scenario, catalog, most):
    with pytest.raises(InputError, match="finalists"):
        cheapest_plans(scenario, catalog, most=most)
