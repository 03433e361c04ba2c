"""One catalogue and one answer per built-in scenario for all tests of the decision."""

from __future__ import annotations

import pytest

from advisor.catalog import Catalog, load_catalog
from advisor.decision.scenario import Scenario
from advisor.decision.scenario_form import scenario_from_mapping
from advisor.decision.scenarios import load_scenarios


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="session")
def scenarios(catalog: Catalog) -> dict[str, Scenario]:
    return dict(load_scenarios(catalog))


def make_scenario(**fields: object) -> Scenario:
    """A scenario of one request at a time, unless the fields say otherwise."""
    traffic = {"users", "requests_per_s", "requests_per_day", "concurrency"} & fields.keys()
    base: dict[str, object] = {"id": "case", "name": "Case"}
    return scenario_from_mapping(base | ({} if traffic else {"concurrency": 1}) | fields)
