"""Power, price and carbon of fleets, for every plan of the grid. Prices that nobody published stay missing (NaN).

Power at the wall: the published all-in power per accelerator (host, network and cooling shared out) where there is
one; else the thermal design power times the data centre's overhead, and up to the largest all-in ratio known.
Owning: purchase price of the devices over `LIFE_MONTHS`, plus electricity; servers and staff are not included.
Energy of a month lies between the mean use of the devices and their full power around the clock.
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
from advisor.decision.offers import Offer, support_device
from advisor.decision.scenario import Hosting, Scenario
from advisor.decision.space import Space
from advisor.decision.traffic import Served

__all__ = ["HOURS_PER_MONTH", "LIFE_MONTHS", "Costs", "Tariff", "costs", "price_dates", "tariff"]

Floats = NDArray[np.float64]

HOURS_PER_MONTH = 730.0
LIFE_MONTHS = 48  # straight-line life of hardware; an assumption, stated wherever it is used
_COOLED = frozenset({DeviceClass.DATACENTER_GPU, DeviceClass.NPU, DeviceClass.TPU, DeviceClass.WORKSTATION_GPU})


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
    """Costs of every row's fleet; rows without a fleet (infinite replicas) get NaN or infinity."""
    rates = tariff(scenario, catalog)
    count = np.where(np.isfinite(served.replicas), served.replicas, np.nan) * space.devices
    watts, design = _watts(space, catalog)
    power = watts.times(count)
    share = np.clip(served.utilisation, 0, 1) / max(scenario.peak_factor, 1.0)
    energy = Band((power.low * share + power.high) / 2, power.low * share, power.high).times(HOURS_PER_MONTH / 1000)
    electricity = _times(energy, rates.usd_per_kwh)
    bought = _prices(space, "purchase", catalog).times(count)
    owned = np.array([offer.owned for offer in space.offers], dtype=np.bool_)[space.offer]
    capital = Band(*(np.where(owned & np.isfinite(count), 0.0, v) for v in (bought.value, bought.low, bought.high)))
    rent = _prices(space, "cloud_hourly", catalog).times(count * HOURS_PER_MONTH)
    rent = _only(rent, ~owned & (scenario.hosting is not Hosting.ON_PREMISES))
    own = capital.times(1 / LIFE_MONTHS).plus(electricity)
    own = _only(own, np.full(len(space), scenario.hosting is not Hosting.CLOUD))
    cheaper = np.where(np.isnan(own.value), True, rent.value < own.value) & ~np.isnan(rent.value)
    monthly = Band(*(np.where(cheaper, r, o) for r, o in zip(_ends(rent), _ends(own), strict=True)))
    return Costs(capital, rent, own, electricity, monthly, power, design * count, _times(energy, rates.kg_per_kwh))


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


def _watts(space: Space, catalog: Catalog) -> tuple[Band, Floats]:
    """Watts at the wall per device of each row, and thermal design power; NaN where unknown."""
    ratios = [d.all_in_power_w / d.tdp_w for d in catalog.devices.values() if d.all_in_power_w and d.tdp_w]
    overhead = [item for item in catalog.power_usage if item.scope.startswith(("global", "enterprise"))]
    low = min((item.low for item in overhead), default=1.0)
    rows = [_device_watts(offer, catalog, low, max(ratios, default=1.0)) for offer in space.offers]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 4)[space.offer]
    return Band(table[:, 0], table[:, 1], table[:, 2]), table[:, 3]


def _device_watts(offer: Offer, catalog: Catalog, overhead: float, ratio: float) -> tuple[float, ...]:
    """(value, low, high, thermal design power) per device, or per host for machines without accelerators."""
    device = support_device(offer, catalog)
    if device is None or device.tdp_w is None:
        return (np.nan,) * 4
    host = offer.hardware.host
    design = device.tdp_w * (host.sockets if offer.hardware.device is None and host else 1)
    if device.all_in_power_w:
        return device.all_in_power_w, device.tdp_w * overhead, device.all_in_power_w, design
    if offer.device_class in _COOLED or offer.device_class is DeviceClass.CPU:
        return design * overhead, design, design * max(ratio, overhead), design
    return design, design, design * overhead, design


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
