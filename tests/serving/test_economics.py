"""Money, power and carbon: hand-worked sums, ranges that hold, unknowns that stay unknown."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import DataError, InputError
from advisor.catalog.quantity import Basis, Quantity
from advisor.commands.plan_file import plan_from_mapping
from advisor.serving.assumptions import EnergyRates, energy_rates, load_assumptions
from advisor.serving.economics import FleetUse, break_even_months, compare_with_api, economics

USE = FleetUse(replicas=4, busy_share=0.5, requests_per_s=2.0, output_tok_s=1000.0, input_tok_s=3000.0)


def exact(value):
    return Quantity.exact(float(value))


def plain_assumptions():
    """Round figures, no ranges."""
    figures = {
        "life_years": 4,
        "server_share": 0.5,
        "network_share": 0.1,
        "maintenance_per_year": 0.05,
        "host_power_share": 0.4,
        "idle_power_share": 0.2,
        "loaded_power_share": 0.8,
        "power_usage": 1.5,
        "residual_share": 0.0,
        "cloud_hours_share": 1.0,
    }
    return replace(load_assumptions(), **{name: exact(value) for name, value in figures.items()})


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.fixture(scope="module")
def plan(catalog):
    words = {"model": "deepseek-r1-distill-qwen-32b", "format": "bf16", "device": "h100-sxm", "tp": 2, "replicas": 4}
    return plan_from_mapping({**words, "engine": "vllm"}, catalog)


def test_hand_worked_sum(plan, catalog):
    """8 H100 of 700 W at the catalogue's median price, 0.10 $/kWh, 0.5 kg/kWh."""
    known = replace(plan, device=replace(plan.device, idle_w=None))
    answer = economics(known, USE, catalog, EnergyRates(exact(0.1), exact(0.5)), plain_assumptions())
    price = catalog.price_range("h100-sxm", "purchase").median
    assert answer.devices_usd.value == pytest.approx(8 * price)
    assert answer.capital_usd.value == pytest.approx(8 * price * 1.5)  # one chassis: no network
    watts = 5600 * ((0.8 + 0.2) / 2 + 0.4) * 1.5
    assert answer.power.mean_w.value == pytest.approx(watts)
    assert answer.energy_month_usd.value == pytest.approx(watts / 1000 * 730 * 0.1)
    assert answer.carbon_month_kg.value == pytest.approx(watts / 1000 * 730 * 0.5)
    monthly = 8 * price * 1.5 * (1 / 48 + 0.05 / 12) + watts * 0.073
    assert answer.own_month_usd.value == pytest.approx(monthly)
    assert answer.own_million_tokens_usd.value == pytest.approx(monthly / (4000 * 730 * 3600 / 1e6))
    assert answer.own_conversation_usd.value == pytest.approx(monthly / (2 * 730 * 3600))
    yearly = 8 * price * 1.5 * 0.05 + watts * 0.073 * 12
    assert answer.tco_usd[2].value == pytest.approx(8 * price * 1.5 + 3 * yearly)
    rent = catalog.price_range("h100-sxm", "cloud_hourly").median * 8
    assert answer.rent_hour_usd.value == pytest.approx(rent)
    assert answer.rent_years_usd[0].value == pytest.approx(rent * 730 * 12)


def test_every_range_holds_its_value(plan, catalog):
    answer = economics(plan, USE, catalog, energy_rates(catalog, "USA"), load_assumptions())
    for item in fields(answer):
        value = getattr(answer, item.name)
        for q in value if isinstance(value, tuple) else [value]:
            if isinstance(q, Quantity):
                assert q.low <= q.value <= q.high, item.name
                assert q.basis is not Basis.EXACT, item.name


def test_the_built_in_assumptions_have_sources_and_ranges():
    for item in fields(load_assumptions()):
        q = getattr(load_assumptions(), item.name)
        assert q.low <= q.value <= q.high
        assert len(q.source) > 10


def test_an_unknown_price_stays_unknown(plan, catalog):
    strange = replace(plan, device=replace(plan.device, id="not-sold", tdp_w=None))
    answer = economics(strange, USE, catalog, EnergyRates(None, None), load_assumptions())
    assert answer.capital_usd is None
    assert answer.own_month_usd is None
    assert answer.rent_month_usd is None
    assert answer.energy_month_usd is None
    assert answer.tco_usd == ()
    assert answer.break_even_rent_months is None


def test_networks_cost_only_where_there_are_several_machines(plan, catalog):
    rates, a = EnergyRates(exact(0.1), None), plain_assumptions()
    assert economics(plan, USE, catalog, rates, a).network_usd.value == 0
    many = economics(plan, replace(USE, replicas=5), catalog, rates, a)
    assert many.network_usd.value == pytest.approx(0.1 * many.devices_usd.value)


def test_a_busier_fleet_costs_more_energy_and_less_per_token(plan, catalog):
    rates, a = energy_rates(catalog, "USA"), load_assumptions()
    calm = economics(plan, USE, catalog, rates, a)
    busy = economics(plan, replace(USE, busy_share=0.9, output_tok_s=1800.0, input_tok_s=5400.0), catalog, rates, a)
    assert busy.energy_month_usd.value > calm.energy_month_usd.value
    assert busy.own_million_tokens_usd.value < calm.own_million_tokens_usd.value


def test_break_even_against_renting():
    """1,200 to buy and 10 a month against 110 a month: 12 months."""
    months = break_even_months(exact(1200), exact(10), exact(110))
    assert (months.value, months.low, months.high) == (12, 12, 12)
    assert break_even_months(exact(1200), exact(110), exact(100)) is None
    unsure = break_even_months(exact(1200), Quantity(10, 5, 200, Basis.ESTIMATED), exact(110))
    assert math.isinf(unsure.high)


def test_against_an_api(plan, catalog):
    answer = economics(plan, USE, catalog, EnergyRates(exact(0.1), None), plain_assumptions())
    cheap = compare_with_api(answer, USE, input_usd_per_million=0.001, output_usd_per_million=0.001)
    assert cheap.own_is_cheaper is False
    assert cheap.break_even_months is None
    dear = compare_with_api(answer, USE, input_usd_per_million=5.0, output_usd_per_million=20.0)
    assert dear.api_month_usd == pytest.approx((3000 * 5 + 1000 * 20) * 730 * 3600 / 1e6)
    assert dear.own_is_cheaper
    blend = (3000 * 5 + 1000 * 20) / 4000
    assert dear.break_even_million_tokens_month.value == pytest.approx(answer.own_month_usd.value / blend)
    with pytest.raises(InputError):
        compare_with_api(answer, USE, input_usd_per_million=-1.0, output_usd_per_million=1.0)


def test_autoscaling_rents_less(plan, catalog):
    rates, a = energy_rates(catalog, "USA"), load_assumptions()
    whole = economics(plan, USE, catalog, rates, a).rent_month_usd.value
    scaled = economics(plan, replace(USE, paid_replicas=2.0), catalog, rates, a).rent_month_usd.value
    assert scaled == pytest.approx(whole / 2)


def test_carbon_differs_by_region_and_tariff_can_be_ones_own(catalog):
    assert energy_rates(catalog, "FRA").kg_co2e_per_kwh.value < energy_rates(catalog, "CHN").kg_co2e_per_kwh.value
    assert energy_rates(catalog, "USA", 0.31).usd_per_kwh == Quantity.exact(0.31, "your own tariff")
    assert energy_rates(catalog, "nowhere").kg_co2e_per_kwh is None


def test_ones_own_assumptions_replace_single_entries(tmp_path):
    (tmp_path / "economics.yaml").write_text("life_years: {value: 5, low: 5, high: 5, source: my accountant}\n")
    own = load_assumptions(tmp_path)
    assert own.life_years.value == 5
    assert own.server_share == load_assumptions().server_share


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("life_years: {value: 9, low: 1, high: 5, source: x}", ["life_years", "low <= value <= high"]),
        ("life_years: {value: 0, low: 0, high: 5, source: x}", ["life_years", "more than 0"]),
        ("life_years: 4", ["life_years", "mapping"]),
        ("live_years: {value: 1, low: 1, high: 1, source: x}", ["life_years"]),
        ("life_years: {value: -1, low: -1, high: 5, source: x}", ["life_years"]),
        ("- 1", ["mapping"]),
        ("a: [", ["valid YAML"]),
    ],
)
def test_broken_assumptions_are_one_clear_line(tmp_path, text, words):
    (tmp_path / "economics.yaml").write_text(text + "\n")
    with pytest.raises(DataError) as problem:
        load_assumptions(tmp_path)
    for word in ["economics.yaml", *words]:
        assert word in str(problem.value)
    assert "\n" not in str(problem.value)
