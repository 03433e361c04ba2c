"""Costs and power of one plan as formulas with the values put in, in US dollars, watts, kWh and kg CO2e.

The formulas are those of `advisor.decision.money` for the middle values; the intervals take the ends of each value.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from advisor.catalog.catalog import Catalog
from advisor.decision.loaded import Served
from advisor.decision.money import HOURS_PER_MONTH, Costs, needs_server, sold_in, tariff
from advisor.decision.offers import Offer, support_device
from advisor.decision.replica_cost import price_source
from advisor.decision.scenario import Scenario
from advisor.decision.space import Space
from advisor.serving.assumptions import Assumptions, load_assumptions

__all__ = ["MoneyFormulas", "money_formulas"]

_ASSUMED = "data/economics.yaml"


@dataclass(frozen=True, slots=True)
class MoneyFormulas:
    """`formula; source` of each number of a plan's fleet; empty where the number is unknown."""

    capital: str
    rent: str
    own: str
    electricity: str
    monthly: str
    power: str
    carbon: str


def money_formulas(
    space: Space, served: Served, costs: Costs, row: int, scenario: Scenario, catalog: Catalog
) -> MoneyFormulas:
    """Formulas of row `row`, which has a fleet."""
    offer, use = space.offers[space.offer[row]], load_assumptions(catalog.overlay_dir)
    count = int(served.replicas[row] * space.devices[row])
    rates = tariff(scenario, catalog)
    busy = float(np.clip(served.utilisation[row], 0, 1)) / max(scenario.peak_factor, 1.0)
    watts = float(costs.device_power_w[row]) / count
    wall = _wall(offer, use)
    loaded, idle = use.loaded_power_share.value, use.idle_power_share.value
    share = f"({loaded:g} x {busy:.4g} + {idle:g} x {1 - busy:.4g}{wall[0]})"
    energy = f"{count} x {watts:g} W x {share}{wall[1]} x {HOURS_PER_MONTH:g} h / 1000"
    electricity = f"{energy} x {rates.usd_per_kwh.value:g}; {rates.usd_per_kwh.source}" if rates.usd_per_kwh else ""
    rent = _rent(offer, count, use, catalog)
    own = electricity if offer.owned else _own(costs, row, use)
    rented = float(costs.monthly_usd.value[row]) == float(costs.rent_monthly_usd.value[row])
    return MoneyFormulas(
        capital=_capital(offer, count, use, catalog),
        rent=rent,
        own=own,
        electricity=electricity,
        monthly=rent if rented else own,
        power=f"{count} x {watts:g} W x ({loaded:g}{wall[0]}){wall[1]}; {_ASSUMED}",
        carbon=f"{energy} x {rates.kg_per_kwh.value:g}; {rates.kg_per_kwh.source}" if rates.kg_per_kwh else "",
    )


def _wall(offer: Offer, use: Assumptions) -> tuple[str, str]:
    """What a server around the devices adds: its own share, and the data centre's overhead."""
    if not needs_server(offer):
        return "", ""
    return f" + {use.host_power_share.value:g}", f" x {use.power_usage.value:g}"


def _capital(offer: Offer, count: int, use: Assumptions, catalog: Catalog) -> str:
    price, processors = _price(offer, "purchase", catalog)
    if not price:
        return ""
    step = sold_in(offer)
    parts = ["1"]
    if needs_server(offer):
        parts.append(f"{use.server_share.value:g}")
        parts += [f"{use.network_share.value:g}"] if count > offer.per_node else []
    bought = ceil(count / step) * step * processors
    return f"{bought} x {price[0]:,.0f} x ({' + '.join(parts)}); {price[1]}; {_ASSUMED}"


def _rent(offer: Offer, count: int, use: Assumptions, catalog: Catalog) -> str:
    price, processors = _price(offer, "cloud_hourly", catalog)
    if not price:
        return ""
    hours = f"{HOURS_PER_MONTH:g} h x {use.cloud_hours_share.value:g}"
    return f"{count * processors} x {price[0]:.4g} / h x {hours}; {price[1]}"


def _own(costs: Costs, row: int, use: Assumptions) -> str:
    capital, energy = float(costs.capital_usd.value[row]), float(costs.electricity_monthly_usd.value[row])
    yearly = f"({1 - use.residual_share.value:g} / {use.life_years.value:g} + {use.maintenance_per_year.value:g})"
    return f"{capital:,.0f} x {yearly} / 12 + {energy:,.2f}; {_ASSUMED}"


def _price(offer: Offer, kind: str, catalog: Catalog) -> tuple[tuple[float, str] | None, int]:
    """((median price of one, where from), how many a machine has)."""
    device, host = support_device(offer, catalog), offer.hardware.host
    found = catalog.price_range(device.id, kind) if device else None
    processors = host.sockets if offer.hardware.device is None and host else 1
    if found is None:
        return None, processors
    return (found.median, price_source(found, kind)), processors
