"""Parts of the Economics page: how the fleet is used, the headline, charts and tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import streamlit as st

from advisor.catalog.errors import InputError
from advisor.catalog.quantity import Quantity
from advisor.catalog.text import texts
from advisor.decision.result import Candidate
from advisor.decision.scenario import Scenario
from advisor.report.numbers import interval_text, money_text, number
from advisor.serving.assumptions import EnergyRates, energy_rates
from advisor.serving.economics import ApiComparison, Economics, FleetUse
from advisor.ui import backend
from advisor.ui.charts.money import capital_bars, power_bars, year_lines
from advisor.ui.load_memory import remembered
from advisor.ui.load_text import word
from advisor.ui.text import language, plain
from advisor.ui.widgets import basis_badges, chart, empty_state, sources

__all__ = ["ApiPrice", "api_verdict", "choose_api", "choose_rates", "choose_use", "details", "headline", "years"]

_MOST_REPLICAS = 100_000


@dataclass(frozen=True, slots=True)
class ApiPrice:
    """US dollars per million tokens."""

    input_usd: float
    output_usd: float


def choose_use(scenario: Scenario, candidate: Candidate) -> FleetUse:
    """Replicas and traffic on average over a month, from the recommendation, to change. Raises InputError."""
    replicas, load = remembered(candidate.plan.id) or (candidate.replicas, candidate.utilisation)
    key = f"economics.{scenario.id}.{candidate.plan.id}.{replicas}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        count = _number("replicas", float(replicas), key, step=1.0)
        rate = _number("rate", _mean_rate(scenario, candidate), key)
        busy = _number("busy", round(100 * min(1.0, load / scenario.peak_factor), 1), key)
        turns = _number("turns", 1.0, key, step=1.0)
    if not (count == int(count) and 1 <= count <= _MOST_REPLICAS):
        raise InputError(word("economics.replicas"), f"1..{_MOST_REPLICAS:,}", count)
    if not 0 <= rate <= 1e6:
        raise InputError(word("economics.rate"), "0..1,000,000", rate)
    if not 0 <= busy <= 100:
        raise InputError(word("economics.busy"), "0..100", busy)
    if not 1 <= turns <= 1000:
        raise InputError(word("economics.turns"), "1..1,000", turns)
    request = candidate.load
    return FleetUse(
        replicas=int(count),
        busy_share=busy / 100,
        requests_per_s=rate,
        output_tok_s=rate * request.output_tokens,
        input_tok_s=rate * request.input_tokens,
        requests_per_conversation=turns,
    )


def _mean_rate(scenario: Scenario, candidate: Candidate) -> float:
    """Requests per second on average; of users in a closed loop at the pace of the peak."""
    if scenario.arrivals_per_s is not None:
        return float(f"{scenario.arrivals_per_s / scenario.peak_factor:.4g}")
    users, e2e_s = scenario.closed_loop_users or 1.0, candidate.e2e_ms.value / 1e3
    return float(f"{users / max(e2e_s + scenario.closed_loop_pause_s, 1e-3):.3g}")


def _number(name: str, value: float, key: str, step: float | None = None) -> float:
    found = st.number_input(
        word(f"economics.{name}"),
        value=value,
        step=step,
        format="%g",
        key=f"{key}.{name}",
        help=word(f"economics.{name}_help"),
        persist_state="session",
        width=210,
    )
    return float(found)


def choose_rates(scenario: Scenario) -> EnergyRates:
    """Tariff and carbon of a region; the user's own tariff where given. Raises InputError."""
    catalog = backend.catalog()
    own = texts(language())
    names = {c.region: f"{own.get(f'region.{c.region}', c.name)} ({c.region})" for c in catalog.carbon}
    options = sorted({*names, *(e.region for e in catalog.electricity)}, key=lambda r: names.get(r, r))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        region = st.selectbox(
            word("economics.region"),
            options,
            index=options.index(scenario.region) if scenario.region in options else 0,
            format_func=lambda name: names.get(name, name),
            key=f"economics.{scenario.id}.region",
            persist_state="session",
            width=300,
        )
        tariff = st.number_input(
            word("economics.tariff"),
            value=scenario.electricity_usd_per_kwh,
            format="%g",
            placeholder=word("economics.tariff_of_region"),
            key=f"economics.{scenario.id}.tariff",
            persist_state="session",
            width=240,
        )
    if tariff is not None and not 0 <= tariff <= 10:
        raise InputError(word("economics.tariff"), "0..10", tariff)
    return energy_rates(catalog, str(region), None if tariff is None else float(tariff))


def choose_api() -> ApiPrice | None:
    """None until both prices are given. Raises InputError."""
    st.caption(word("api.lead"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        prices = [
            st.number_input(
                word(f"api.{name}"),
                value=None,
                format="%g",
                placeholder=word("api.none"),
                key=f"economics.api.{name}",
                persist_state="session",
                width=240,
            )
            for name in ("input", "output")
        ]
    for name, price in zip(("input", "output"), prices, strict=True):
        if price is not None and not 0 <= price <= 10_000:
            raise InputError(word(f"api.{name}"), "0..10,000", price)
    return None if None in prices else ApiPrice(float(prices[0] or 0), float(prices[1] or 0))


def headline(answer: Economics) -> None:
    """Capital, months, break-even, carbon: value with its range."""
    with st.grid(4, min_column_width=190):
        _metric("capital", answer.capital_usd, "account_balance")
        _metric("own_month", answer.own_month_usd, "home_work")
        _metric("rent_month", answer.rent_month_usd, "cloud")
        _break_even(answer)
    if answer.capital_usd is None and answer.rent_month_usd is None:
        empty_state(word("economics.no_price_title"), word("economics.no_price_text"), icon="money_off")
    elif answer.prices_from:
        key = "economics.date" if answer.prices_from == answer.prices_to else "economics.dates"
        st.caption(word(key, first=answer.prices_from, last=answer.prices_to))


def _metric(name: str, quantity: Quantity | None, icon: str) -> None:
    st.metric(
        word(f"economics.metric_{name}"),
        "–" if quantity is None else money_text(float(f"{quantity.value:.2g}")),
        word("economics.unknown") if quantity is None else _range(quantity),
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        icon=f":material/{icon}:",
    )


def _break_even(answer: Economics) -> None:
    found = answer.break_even_rent_months
    if found is not None:
        value, note = word("economics.months", count=number(found.value, 2)), _months(found)
    elif answer.capital_usd is None or answer.rent_month_usd is None:
        value, note = "–", word("economics.unknown")
    else:
        value, note = word("economics.never"), word("economics.never_note")
    st.metric(
        word("economics.metric_break_even"),
        value,
        note,
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        icon=":material/balance:",
    )


def years(answer: Economics, api: ApiComparison | None) -> None:
    """Spent after each year; capital and power beside it."""
    if answer.tco_usd or answer.rent_years_usd or api is not None:
        texts = {name: word(f"years.{name}") for name in ("title", "hint", "alt", "x", "y", "own", "rent", "api")}
        chart(year_lines(answer, api.api_month_usd if api else None, texts), key="economics.years", height=380)
    _spent(answer)
    left, right = st.columns(2)
    with left:
        if answer.capital_usd is not None:
            names = ("title", "hint", "alt", "row", "devices", "servers", "network")
            chart(capital_bars(answer, {n: word(f"capital.{n}") for n in names}), key="economics.capital")
    with right:
        if answer.power is None:
            st.caption(word("power.none"))
        else:
            names = ("title", "hint", "alt", "idle", "mean", "loaded", "power")
            chart(power_bars(answer, {n: word(f"power.{n}") for n in names}), key="economics.power")


def _spent(answer: Economics) -> None:
    """The same as numbers: total cost after one to five years."""
    rows: dict[str, list[str]] = {word("years.column"): [word("years.own"), word("years.rent")]}
    for year in range(5):
        found = (q[year] if year < len(q) else None for q in (answer.tco_usd, answer.rent_years_usd))
        rows[word("years.after", year=year + 1)] = [_range(quantity) for quantity in found]
    st.table(rows, border="horizontal", hide_index=True, alt=word("years.table_alt"))


def details(answer: Economics, rates: EnergyRates) -> None:
    """Per million tokens and per conversation; energy and carbon; where the numbers come from."""
    rows = {
        word("unit.what"): [word("unit.million"), word("unit.conversation"), word("unit.month")],
        word("unit.own"): [
            _range(q) for q in (answer.own_million_tokens_usd, answer.own_conversation_usd, answer.own_month_usd)
        ],
        word("unit.rent"): [
            _range(q) for q in (answer.rent_million_tokens_usd, answer.rent_conversation_usd, answer.rent_month_usd)
        ],
    }
    st.table(rows, border="horizontal", hide_index=True, alt=word("unit.alt"))
    facts = {
        word("energy.rent_hour"): _range(answer.rent_hour_usd),
        word("energy.tariff"): _with_unit(rates.usd_per_kwh, "USD/kWh"),
        word("energy.kwh"): _with_unit(answer.energy_kwh_month, "kWh"),
        word("energy.usd"): _range(answer.energy_month_usd),
        word("energy.intensity"): _with_unit(rates.kg_co2e_per_kwh, "kg CO₂e/kWh"),
        word("energy.carbon"): _with_unit(answer.carbon_month_kg, "kg CO₂e"),
        word("energy.carbon_tokens"): _with_unit(answer.carbon_million_tokens_kg, "kg CO₂e"),
    }
    st.table({plain(k): v for k, v in facts.items()}, border="horizontal", alt=word("energy.alt"))
    known = {
        word("economics.metric_capital"): (answer.capital_usd, "USD"),
        word("economics.metric_own_month"): (answer.own_month_usd, "USD"),
        word("economics.metric_rent_month"): (answer.rent_month_usd, "USD"),
        word("energy.tariff"): (rates.usd_per_kwh, "USD/kWh"),
        word("energy.intensity"): (rates.kg_co2e_per_kwh, "kg CO₂e/kWh"),
    }
    with st.container(horizontal=True, vertical_alignment="center"):
        basis_badges([quantity for quantity, _ in known.values()])
        sources(known, key="economics.sources")


def api_verdict(found: ApiComparison) -> None:
    """The API at this traffic against owning and renting."""
    st.markdown(f":material/api: {word('api.month', value=plain(money_text(found.api_month_usd)))}")
    for name, cheaper in (("own", found.own_is_cheaper), ("rent", found.rent_is_cheaper)):
        if cheaper is not None:
            said = "yes" if cheaper else "no"
            st.markdown(f":material/compare_arrows: {word(f'api.{name}_{said}')}")
    tokens = found.break_even_million_tokens_month
    if tokens is not None:
        st.markdown(f":material/balance: {word('api.tokens', value=_span(tokens))}")
    if found.break_even_months is not None:
        st.markdown(f":material/schedule: {word('api.months', value=_months(found.break_even_months))}")


def _range(quantity: Quantity | None) -> str:
    if quantity is None:
        return "–"
    if quantity.low == quantity.high:
        return plain(money_text(float(f"{quantity.value:.2g}")))
    low, high = (money_text(float(f"{end:.2g}")) for end in (quantity.low, quantity.high))
    return plain(f"{low} – {high}")


def _months(quantity: Quantity) -> str:
    if math.isinf(quantity.high):
        return word("economics.months_open", low=number(quantity.low, 2))
    return word("economics.months_range", low=number(quantity.low, 2), high=number(quantity.high, 2))


def _span(quantity: Quantity) -> str:
    return f"{number(quantity.low, 2)}–{number(quantity.high, 2)}"


def _with_unit(quantity: Quantity | None, unit: str) -> str:
    return "–" if quantity is None else plain(interval_text(quantity, unit))
