"""Power, price and carbon of fleets, for every plan of the grid. Prices that nobody published stay missing (NaN).

The assumptions are those of `data/economics.yaml` and the formulas those of `advisor.serving.economics`, in columns:
capital with a share for servers, spread over its life with maintenance and energy; rent around the clock; power
between idle and loaded by how busy the fleet is, with the host's share and the data centre's overhead. Beyond them:
modules that are sold only in whole servers (those with a switched or full-mesh link) are bought in whole servers;
boards, phones and computers with shared memory are complete machines, without servers around them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.catalog import Catalog
from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.records import DeviceClass
from advisor.decision.loaded import Served
from advisor.decision.offers import Offer, support_device
from advisor.decision.scenario import Hosting, Scenario
from advisor.decision.space import Space
from advisor.serving.assumptions import Assumptions, load_assumptions

__all__ = ["HOURS_PER_MONTH", "Costs", "Tariff", "costs", "needs_server", "price_dates", "sold_in", "tariff"]

Floats = NDArray[np.float64]

HOURS_PER_MONTH = 730.0
_COMPLETE_MACHINES = frozenset(
    {DeviceClass.EDGE, DeviceClass.PHONE, DeviceClass.APPLE, DeviceClass.UNIFIED_PC, DeviceClass.LAPTOP_GPU}
)


@dataclass(frozen=True, slots=True)
class Band:
    """A value with its range, arrays of one shape; NaN where unknown."""

    value: Floats
    low: Floats
    high: Floats

    def times(self, factor: Floats | float) -> Band:
        return Band(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, other: Band) -> Band:
        return Band(self.value + other.value, self.low + other.low, self.high + other.high)

    def quantity(self, row: int, source: str = "") -> Quantity | None:
        """Row `row` as a Quantity; None where unknown."""
        value = float(self.value[row])
        if not np.isfinite(value):
            return None
        return Quantity(value, float(self.low[row]), float(self.high[row]), Basis.ESTIMATED, source)


@dataclass(frozen=True, slots=True)
class Tariff:
    """Electricity (US dollars per kWh) and carbon (kg CO2e per kWh) of the scenario's region."""

    usd_per_kwh: Quantity | None
    kg_per_kwh: Quantity | None


@dataclass(frozen=True, slots=True)
class Costs:
    """Money and power of the whole fleet, arrays of shape (plans,). `monthly_usd`: the cheaper allowed way to pay."""

    capital_usd: Band
    rent_monthly_usd: Band
    own_monthly_usd: Band
    electricity_monthly_usd: Band
    monthly_usd: Band
    power_w: Band
    device_power_w: Floats  # thermal design power alone: what a power limit at the edge means
    carbon_kg_month: Band

    def where(self, rows: NDArray[np.bool_], other: Costs) -> Costs:
        """These costs at `rows`, those of `other` elsewhere."""
        columns: dict[str, Any] = {}
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if isinstance(mine, Band):
                ends = zip(_ends(mine), _ends(theirs), strict=True)
                columns[item.name] = Band(*(np.where(rows, a, b) for a, b in ends))
            else:
                columns[item.name] = np.where(rows, mine, theirs)
        return Costs(**columns)


def tariff(scenario: Scenario, catalog: Catalog) -> Tariff:
    """The user's own tariff, else the region's newest non-household price, else the range over all regions."""
    if scenario.electricity_usd_per_kwh is not None:
        price: Quantity | None = Quantity.exact(scenario.electricity_usd_per_kwh, "stated by the user")
    else:
        price = _electricity(scenario.region, catalog)
    found = [item for item in catalog.carbon if item.region == scenario.region]
    carbon = None
    if found:
        newest = max(found, key=lambda item: item.year)
        carbon = Quantity(
            newest.kg_co2e_per_kwh, newest.kg_co2e_per_kwh, newest.kg_co2e_per_kwh, Basis.ESTIMATED, newest.source
        )
    return Tariff(price, carbon)


def costs(space: Space, served: Served, scenario: Scenario, catalog: Catalog) -> Costs:
    """Costs of every row's fleet; NaN for rows without a fleet."""
    rates, use = tariff(scenario, catalog), load_assumptions(catalog.overlay_dir)
    count = np.where(np.isfinite(served.replicas), served.replicas, np.nan) * space.devices
    busy = np.clip(served.utilisation, 0, 1) / max(scenario.peak_factor, 1.0)
    watts = _Watts.of(space, catalog, use)
    energy = watts.mean(busy).times(count * HOURS_PER_MONTH / 1000)
    electricity = _times(energy, rates.usd_per_kwh)
    capital = _capital(space, count, catalog, use)
    owned = np.array([offer.owned for offer in space.offers], dtype=np.bool_)[space.offer]
    capital = Band(*(np.where(owned & np.isfinite(count), 0.0, v) for v in _ends(capital)))
    yearly = _yearly_share(use)
    own = Band(*(c * y / 12 for c, y in zip(_ends(capital), yearly, strict=True))).plus(electricity)
    own = _only(own, np.full(len(space), scenario.hosting is not Hosting.CLOUD))
    rent = _times(_prices(space, "cloud_hourly", catalog).times(count * HOURS_PER_MONTH), use.cloud_hours_share)
    rent = _only(rent, ~owned & (scenario.hosting is not Hosting.ON_PREMISES))
    cheaper = np.where(np.isnan(own.value), True, rent.value < own.value) & ~np.isnan(rent.value)
    monthly = Band(*(np.where(cheaper, r, o) for r, o in zip(_ends(rent), _ends(own), strict=True)))
    return Costs(
        capital_usd=capital,
        rent_monthly_usd=rent,
        own_monthly_usd=own,
        electricity_monthly_usd=electricity,
        monthly_usd=monthly,
        power_w=watts.loaded.times(count),
        device_power_w=watts.design * count,
        carbon_kg_month=_times(energy, rates.kg_per_kwh),
    )


@dataclass(frozen=True, slots=True)
class _Watts:
    """Watts per device, or per host without accelerators, arrays of shape (plans,); NaN where unknown."""

    design: Floats  # thermal design power alone
    idle: Band  # at the wall
    loaded: Band

    @classmethod
    def of(cls, space: Space, catalog: Catalog, use: Assumptions) -> _Watts:
        rows = [_design_watts(offer, catalog) for offer in space.offers]
        around = np.array([needs_server(offer) for offer in space.offers], dtype=np.bool_)[space.offer]
        design = np.array(rows, dtype=np.float64)[space.offer]

        def wall(share: Quantity) -> Band:
            parts = (share, use.host_power_share, use.power_usage)
            ends = zip(*(_quantity_ends(part) for part in parts), strict=True)
            return Band(*(design * np.where(around, (s + host) * overhead, s) for s, host, overhead in ends))

        return cls(design, wall(use.idle_power_share), wall(use.loaded_power_share))

    def mean(self, busy: Floats) -> Band:
        """Over a month in which the devices work for the share `busy` of the time."""
        return self.loaded.times(busy).plus(self.idle.times(1 - busy))


def price_dates(offer: Offer, catalog: Catalog) -> tuple[str, str]:
    """First and last date of the prices known for a machine; empty where none has a date."""
    device = support_device(offer, catalog)
    if device is None:
        return "", ""
    days = [price.date for price in catalog.prices if price.device_id == device.id and price.date is not None]
    return (min(days).isoformat(), max(days).isoformat()) if days else ("", "")


def _electricity(region: str, catalog: Catalog) -> Quantity | None:
    def homely(kind: str) -> bool:
        return "resident" in kind or kind.startswith("household")

    found = [item for item in catalog.electricity if item.region == region]
    if found:
        best = sorted(found, key=lambda item: (homely(item.kind), _minus(item.date)))[0]
        values = [item.usd_per_kwh for item in found]
        return Quantity(best.usd_per_kwh, min(values), max(values), Basis.ESTIMATED, best.source)
    values = [item.usd_per_kwh for item in catalog.electricity if not homely(item.kind)]
    if not values:
        return None
    return Quantity(median(values), min(values), max(values), Basis.EXTRAPOLATED, "range over all regions known")


def _minus(date: str) -> tuple[int, ...]:
    """Sorts newer dates first."""
    return tuple(-ord(letter) for letter in date)


def _design_watts(offer: Offer, catalog: Catalog) -> float:
    device = support_device(offer, catalog)
    if device is None or device.tdp_w is None:
        return float("nan")
    host = offer.hardware.host
    return device.tdp_w * (host.sockets if offer.hardware.device is None and host else 1)


def needs_server(offer: Offer) -> bool:
    """Not a complete machine: a server stands around it."""
    return offer.device_class not in _COMPLETE_MACHINES


def _capital(space: Space, count: Floats, catalog: Catalog, use: Assumptions) -> Band:
    """Devices in the steps in which they are sold, servers around them, and a network between several nodes."""
    step = np.array([sold_in(offer) for offer in space.offers], dtype=np.float64)[space.offer]
    node = np.array([offer.per_node for offer in space.offers], dtype=np.float64)[space.offer]
    around = np.array([needs_server(offer) for offer in space.offers], dtype=np.bool_)[space.offer]
    prices = _prices(space, "purchase", catalog).times(np.ceil(count / step) * step)
    several = count > node
    parts = zip(_ends(prices), _quantity_ends(use.server_share), _quantity_ends(use.network_share), strict=True)
    return Band(
        *(
            price * (1 + np.where(around, server + np.where(several, network, 0.0), 0.0))
            for price, server, network in parts
        )
    )


def sold_in(offer: Offer) -> int:
    """Devices of the smallest unit on sale: a whole server for modules on a switched or full-mesh link."""
    device, server = offer.hardware.device, offer.hardware.server
    if device is None or device.link is None or server is None:
        return 1
    return server.n_devices if device.link.topology in ("nvswitch", "mesh") else 1


def _yearly_share(use: Assumptions) -> tuple[float, float, float]:
    """(value, low, high) of a year's cost of owning over the capital: what it loses, and maintenance."""
    value, low, high = _quantity_ends(use.residual_share)
    kept = (1 - value, 1 - high, 1 - low)
    life, care = use.life_years, _quantity_ends(use.maintenance_per_year)
    years = (life.value, life.high, life.low)
    found = [k / y + m for k, y, m in zip(kept, years, care, strict=True)]
    return found[0], found[1], found[2]


def _quantity_ends(quantity: Quantity) -> tuple[float, float, float]:
    return quantity.value, quantity.low, quantity.high


def _prices(space: Space, kind: str, catalog: Catalog) -> Band:
    rows = [_price(offer, kind, catalog) for offer in space.offers]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)[space.offer]
    return Band(table[:, 0], table[:, 1], table[:, 2])


def _price(offer: Offer, kind: str, catalog: Catalog) -> tuple[float, float, float]:
    """(median, low, high) of one device, or of a host's processors; NaN where no price is known."""
    device = support_device(offer, catalog)
    found = catalog.price_range(device.id, kind) if device else None
    if found is None:
        return np.nan, np.nan, np.nan
    host = offer.hardware.host
    count = host.sockets if offer.hardware.device is None and host else 1
    return found.median * count, found.low * count, found.high * count


def _times(band: Band, rate: Quantity | None) -> Band:
    if rate is None:
        return band.times(np.nan)
    return Band(band.value * rate.value, band.low * rate.low, band.high * rate.high)


def _only(band: Band, rows: NDArray[np.bool_]) -> Band:
    """NaN outside `rows`."""
    return Band(*(np.where(rows, value, np.nan) for value in _ends(band)))


def _ends(band: Band) -> tuple[Floats, Floats, Floats]:
    return band.value, band.low, band.high
