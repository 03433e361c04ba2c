"""Money, power and carbon of a plan, worked out by hand from prices and assumptions."""

from __future__ import annotations

import pytest

from advisor.catalog import Catalog
from advisor.decision.money import HOURS_PER_MONTH, tariff
from advisor.decision.recommend import recommend
from advisor.decision.result import Candidate
from advisor.decision.scenario import Scenario
from advisor.serving.assumptions import load_assumptions
from tests.decision.conftest import make_scenario

SMALL = {"variants": ["deepseek-r1-distill-qwen-7b"], "formats": ["bf16"], "engines": ["vllm"]}


def _single(scenario: Scenario, catalog: Catalog) -> Candidate:
    """The plan with one device."""
    return next(c for c in recommend(scenario, catalog).candidates if c.plan.n_devices == 1)


def test_modules_are_bought_in_whole_servers(catalog: Catalog) -> None:
    """One H100 SXM means an eight-way server: 8 x median price, and 40 % for the server around them."""
    found = _single(make_scenario(**SMALL, devices=["h100-sxm"], hosting="on_premises"), catalog)
    price = catalog.price_range("h100-sxm", "purchase")
    share = load_assumptions().server_share
    assert price is not None
    assert found.capital_usd is not None
    assert found.capital_usd.value == pytest.approx(8 * price.median * (1 + share.value))
    assert found.capital_usd.low == pytest.approx(8 * price.low * (1 + share.low))
    assert found.money.rent_monthly_usd is None


def test_cards_are_bought_one_by_one(catalog: Catalog) -> None:
    found = _single(make_scenario(**SMALL, devices=["rtx-4090"], hosting="on_premises"), catalog)
    price = catalog.price_range("rtx-4090", "purchase")
    assert price is not None
    assert found.capital_usd is not None
    assert found.capital_usd.value == pytest.approx(price.median * (1 + load_assumptions().server_share.value))


def test_boards_are_complete_machines(catalog: Catalog) -> None:
    scenario = make_scenario(
        variants=["deepseek-r1-distill-qwen-1.5b"], formats=["gguf-q4_k_m"], devices=["jetson-agx-orin-64"]
    )
    found = _single(scenario, catalog)
    price = catalog.price_range("jetson-agx-orin-64", "purchase")
    assert price is not None
    assert found.capital_usd is not None
    assert found.capital_usd.value == pytest.approx(price.median)
    assert found.power_w is not None
    assert found.power_w.value == pytest.approx(60 * load_assumptions().loaded_power_share.value)


def test_rent_is_the_median_price_around_the_clock(catalog: Catalog) -> None:
    found = _single(make_scenario(**SMALL, devices=["h100-sxm"], hosting="cloud"), catalog)
    price = catalog.price_range("h100-sxm", "cloud_hourly")
    assert price is not None
    assert found.money.own_monthly_usd is None
    assert found.monthly_usd is not None
    assert found.monthly_usd.value == pytest.approx(price.median * HOURS_PER_MONTH)
    assert (found.monthly_usd.low, found.monthly_usd.high) == pytest.approx(
        (price.low * HOURS_PER_MONTH, price.high * HOURS_PER_MONTH)
    )
    assert found.money.prices_from <= found.money.prices_to


def test_the_cheaper_way_is_taken(catalog: Catalog) -> None:
    found = _single(make_scenario(**SMALL, devices=["h100-sxm"]), catalog)
    ways = [found.money.rent_monthly_usd, found.money.own_monthly_usd]
    assert found.monthly_usd is not None
    assert found.monthly_usd.value == min(way.value for way in ways if way is not None)


def test_electricity_and_carbon_follow_the_region(catalog: Catalog) -> None:
    def electricity(region: str) -> tuple[float, float]:
        found = _single(make_scenario(**SMALL, devices=["rtx-4090"], region=region), catalog)
        assert found.money.electricity_monthly_usd is not None
        assert found.carbon_kg_month is not None
        return found.money.electricity_monthly_usd.value, found.carbon_kg_month.value

    usa, china = electricity("USA"), electricity("CHN")
    assert usa[0] / china[0] == pytest.approx(0.1436 / 0.0959, rel=1e-6)  # EIA 2026-02, China industrial 2024
    assert china[1] > usa[1]


def test_own_tariff_wins(catalog: Catalog) -> None:
    rates = tariff(make_scenario(electricity_usd_per_kwh=0.5), catalog)
    assert rates.usd_per_kwh is not None
    assert rates.usd_per_kwh.value == 0.5


def test_region_without_a_tariff_gets_the_range_of_all(catalog: Catalog) -> None:
    rates = tariff(make_scenario(region="WLD"), catalog)
    assert rates.usd_per_kwh is not None
    assert rates.usd_per_kwh.low < rates.usd_per_kwh.value < rates.usd_per_kwh.high
    assert str(rates.usd_per_kwh.basis) == "extrapolated"


def test_cost_per_million_tokens(catalog: Catalog) -> None:
    scenario = make_scenario(**SMALL, devices=["h100-sxm"], hosting="cloud", requests_per_s=0.5, output_tokens=100)
    found = recommend(scenario, catalog).picks.cheapest
    assert found is not None
    assert found.monthly_usd is not None
    assert found.per_million_tokens_usd is not None
    tokens = 0.5 * found.load.output_tokens * HOURS_PER_MONTH * 3600
    assert found.per_million_tokens_usd.value == pytest.approx(found.monthly_usd.value / tokens * 1e6)
