"""Money, power and carbon of a fleet over the years, with ranges: owning against renting against an API.

Every result is an interval from the ends of its inputs (all low, all high): wide, and honest about it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from advisor.catalog import Catalog
from advisor.catalog.errors import InputError
from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.records import Device
from advisor.serving.assumptions import Assumptions, EnergyRates
from advisor.serving.ranges import over, plus, scaled, times
from advisor.sizing.plan import Plan

__all__ = ["HOURS_PER_MONTH", "ApiComparison", "Economics", "FleetUse", "Power", "compare_with_api", "economics"]

HOURS_PER_MONTH = 730.0
MOST_YEARS = 5


@dataclass(frozen=True, slots=True)
class FleetUse:
    """How a fleet is used, on average over a month. `busy_share`: of the time in which replicas step."""

    replicas: int
    busy_share: float
    requests_per_s: float
    output_tok_s: float  # all replicas
    input_tok_s: float = 0.0
    requests_per_conversation: float = 1.0
    paid_replicas: float | None = None  # mean with autoscaling; None: all of them

    def __post_init__(self) -> None:
        if self.replicas < 1 or not 0 <= self.busy_share <= 1 or not self.requests_per_s >= 0:
            raise InputError("fleet", "replicas >= 1, busy_share 0..1, requests_per_s >= 0", self.replicas)

    @property
    def million_tokens_per_month(self) -> float:
        """Input and output."""
        return (self.output_tok_s + self.input_tok_s) * HOURS_PER_MONTH * 3600 / 1e6

    @property
    def conversations_per_month(self) -> float:
        return self.requests_per_s / self.requests_per_conversation * HOURS_PER_MONTH * 3600


@dataclass(frozen=True, slots=True)
class Power:
    """Watts at the wall, cooling included, of the whole fleet."""

    idle_w: Quantity
    loaded_w: Quantity
    mean_w: Quantity


@dataclass(frozen=True, slots=True)
class Economics:
    """US dollars. None: a price or tariff is not known, never zero. `tco_usd[i]`: owning for i + 1 years."""

    devices_usd: Quantity | None
    servers_usd: Quantity | None
    network_usd: Quantity | None
    capital_usd: Quantity | None
    power: Power | None
    energy_kwh_month: Quantity | None
    energy_month_usd: Quantity | None
    own_month_usd: Quantity | None  # capital over its life, maintenance, energy
    rent_hour_usd: Quantity | None
    rent_month_usd: Quantity | None
    tco_usd: tuple[Quantity, ...]
    rent_years_usd: tuple[Quantity, ...]
    own_million_tokens_usd: Quantity | None
    rent_million_tokens_usd: Quantity | None
    own_conversation_usd: Quantity | None
    rent_conversation_usd: Quantity | None
    carbon_month_kg: Quantity | None
    carbon_million_tokens_kg: Quantity | None
    break_even_rent_months: Quantity | None  # high may be infinite; None: never, or not known
    prices_from: str = ""
    prices_to: str = ""


def economics(plan: Plan, use: FleetUse, catalog: Catalog, rates: EnergyRates, assumptions: Assumptions) -> Economics:
    """Of `use.replicas` replicas of the plan."""
    device = plan.device
    count = float(plan.layout.devices * use.replicas)
    a = assumptions
    devices = scaled(_price(catalog, device, "purchase"), count)
    servers = times(devices, a.server_share)
    network = times(devices, a.network_share) if count > _devices_per_machine(plan, catalog) else _zero(devices)
    capital = plus(plus(devices, servers), network)
    power = _power(device, count, use, a)
    kwh = scaled(power.mean_w, HOURS_PER_MONTH / 1000) if power else None
    energy = times(kwh, rates.usd_per_kwh)
    running = plus(energy, scaled(times(capital, a.maintenance_per_year), 1 / 12))
    lost = times(capital, Quantity(1 - a.residual_share.value, 1 - a.residual_share.high, 1.0, Basis.ESTIMATED))
    own = plus(over(scaled(lost, 1 / 12), a.life_years), running)
    paid = use.paid_replicas if use.paid_replicas is not None else float(use.replicas)
    rent_hour = scaled(_price(catalog, device, "cloud_hourly"), plan.layout.devices * paid)
    rent = times(scaled(rent_hour, HOURS_PER_MONTH), a.cloud_hours_share)
    carbon = times(kwh, rates.kg_co2e_per_kwh)
    years = range(1, MOST_YEARS + 1)
    first, last = _dates(catalog, device)
    return Economics(
        devices_usd=devices,
        servers_usd=servers,
        network_usd=network,
        capital_usd=capital,
        power=power,
        energy_kwh_month=kwh,
        energy_month_usd=energy,
        own_month_usd=own,
        rent_hour_usd=rent_hour,
        rent_month_usd=rent,
        tco_usd=tuple(t for y in years if (t := plus(capital, scaled(running, 12.0 * y))) is not None),
        rent_years_usd=tuple(t for y in years if (t := scaled(rent, 12.0 * y)) is not None),
        own_million_tokens_usd=_per(own, use.million_tokens_per_month),
        rent_million_tokens_usd=_per(rent, use.million_tokens_per_month),
        own_conversation_usd=_per(own, use.conversations_per_month),
        rent_conversation_usd=_per(rent, use.conversations_per_month),
        carbon_month_kg=carbon,
        carbon_million_tokens_kg=_per(carbon, use.million_tokens_per_month),
        break_even_rent_months=break_even_months(capital, running, rent),
        prices_from=first,
        prices_to=last,
    )


def break_even_months(
    capital: Quantity | None, running: Quantity | None, alternative: Quantity | None
) -> Quantity | None:
    """Months after which capital + running costs are below the alternative; None: never, or not known."""
    if capital is None or running is None or alternative is None:
        return None

    def months(price: float, own: float, other: float) -> float:
        return price / (other - own) if other > own else math.inf

    value = months(capital.value, running.value, alternative.value)
    low = months(capital.low, running.low, alternative.high)
    if math.isinf(value):
        return None
    return Quantity(value, low, months(capital.high, running.high, alternative.low), Basis.ESTIMATED, "break-even")


@dataclass(frozen=True, slots=True)
class ApiComparison:
    """An API at the user's prices against the fleet. Tokens per month are input and output in the fleet's mix."""

    api_month_usd: float  # at the fleet's traffic
    own_is_cheaper: bool | None
    rent_is_cheaper: bool | None
    break_even_million_tokens_month: Quantity | None  # owning; above it the fleet is cheaper, if it can serve so many
    break_even_months: Quantity | None  # until the capital is earned back


def compare_with_api(
    answer: Economics, use: FleetUse, *, input_usd_per_million: float, output_usd_per_million: float
) -> ApiComparison:
    """Raises InputError for a negative price."""
    if not (input_usd_per_million >= 0 and output_usd_per_million >= 0):
        raise InputError("API price", "US dollars >= 0 per million tokens", output_usd_per_million)
    month_s = HOURS_PER_MONTH * 3600 / 1e6
    monthly = month_s * (use.input_tok_s * input_usd_per_million + use.output_tok_s * output_usd_per_million)
    tokens = use.million_tokens_per_month
    blend = monthly / tokens if tokens > 0 else 0.0
    own, rent = answer.own_month_usd, answer.rent_month_usd
    even = _per(own, blend) if blend > 0 else None
    running = None
    if answer.tco_usd and answer.capital_usd:
        year, capital = answer.tco_usd[0], answer.capital_usd
        value, low, high = ((t - c) / 12 for t, c in zip(_ends(year), _ends(capital), strict=True))
        running = Quantity(value, low, high, Basis.ESTIMATED)
    return ApiComparison(
        api_month_usd=monthly,
        own_is_cheaper=None if own is None else own.value < monthly,
        rent_is_cheaper=None if rent is None else rent.value < monthly,
        break_even_million_tokens_month=even,
        break_even_months=break_even_months(answer.capital_usd, running, Quantity.exact(monthly, "API price")),
    )


def _power(device: Device | None, count: float, use: FleetUse, a: Assumptions) -> Power | None:
    """Accelerators between idle and loaded, their servers, and the data centre's overhead."""
    if device is None or device.tdp_w is None:
        return None
    design = Quantity.exact(device.tdp_w * count, "thermal design power")
    idle_share = a.idle_power_share
    if device.idle_w is not None:
        measured = device.idle_w / device.tdp_w
        low, high = min(measured, idle_share.low), max(measured, idle_share.high)
        idle_share = Quantity(max(measured, idle_share.low), low, high, Basis.ESTIMATED, "idle power of the device")
    host = times(design, a.host_power_share)
    idle = times(plus(times(design, idle_share), host), a.power_usage)
    loaded = times(plus(times(design, a.loaded_power_share), host), a.power_usage)
    if idle is None or loaded is None:
        return None
    mean = plus(scaled(loaded, use.busy_share), scaled(idle, 1 - use.busy_share))
    return None if mean is None else Power(idle, loaded, mean)


def _price(catalog: Catalog, device: Device | None, kind: str) -> Quantity | None:
    found = catalog.price_range(device.id, kind) if device else None
    if found is None:
        return None
    return Quantity(found.median, found.low, found.high, Basis.ESTIMATED, f"{found.n} {kind} prices")


def _dates(catalog: Catalog, device: Device | None) -> tuple[str, str]:
    kinds = ("purchase", "cloud_hourly")
    found = [catalog.price_range(device.id, kind) for kind in kinds] if device else []
    days = [d.isoformat() for r in found if r for d in (r.date_from, r.date_to) if d]
    return (min(days), max(days)) if days else ("", "")


def _devices_per_machine(plan: Plan, catalog: Catalog) -> int:
    if plan.server:
        return plan.server.n_devices
    known = catalog.servers_for(plan.device.id) if plan.device else ()
    return max((server.n_devices for server in known), default=8)


def _zero(like: Quantity | None) -> Quantity | None:
    return None if like is None else Quantity(0.0, 0.0, 0.0, Basis.ESTIMATED, "one machine")


def _per(total: Quantity | None, amount: float) -> Quantity | None:
    return scaled(total, 1 / amount) if amount > 0 else None


def _ends(q: Quantity) -> tuple[float, float, float]:
    return q.value, q.low, q.high
