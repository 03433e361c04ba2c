"""What one replica costs: per hour, and per million output tokens while it is busy all the time."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.catalog import Catalog
from advisor.catalog.catalog import PriceRange
from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.records import Device
from advisor.serving.assumptions import load_assumptions
from advisor.sizing.plan import Plan, Sizing

__all__ = ["ReplicaCost", "price_source", "replica_cost"]

HOURS_PER_YEAR = 8760.0


@dataclass(frozen=True, slots=True)
class ReplicaCost:
    """US dollars. `rented`: the published rent of its devices; else their price and a server's share, written off."""

    hourly_usd: Quantity
    per_million_tokens_usd: Quantity
    rented: bool


def replica_cost(sizing: Sizing, catalog: Catalog) -> ReplicaCost | None:
    """The cost of a sized replica; None where no price of its devices is known. Energy is not in it."""
    hourly = _hourly(sizing.plan, catalog)
    if hourly is None:
        return None
    price, rented = hourly
    tokens = sizing.output_tok_s
    scale = 1e6 / 3600
    per_million = Quantity(
        price.value * scale / tokens.value,
        price.low * scale / tokens.high,
        price.high * scale / tokens.low,
        tokens.basis,
        price.source,
    )
    return ReplicaCost(price, per_million, rented)


def _hourly(plan: Plan, catalog: Catalog) -> tuple[Quantity, bool] | None:
    processor = catalog.devices.get(plan.host.cpu_device_id or "") if plan.host else None
    device = plan.device or processor
    if device is None:
        return None
    count = plan.layout.devices if plan.device else (plan.host.sockets if plan.host else 1)
    rent = catalog.price_range(device.id, "cloud_hourly")
    if rent is not None:
        return _times(rent, count), True
    bought = catalog.price_range(device.id, "purchase")
    return None if bought is None else (_owned(bought, device, count, catalog), False)


def _owned(price: PriceRange, device: Device, count: int, catalog: Catalog) -> Quantity:
    """Straight-line depreciation with a server's share and maintenance, as data/economics.yaml says."""
    use = load_assumptions(catalog.overlay_dir)
    share = 1.0 if device.unified_memory else 1 + use.server_share.value
    per_hour = (1 / use.life_years.value + use.maintenance_per_year.value) / HOURS_PER_YEAR
    least = (1 / use.life_years.high + use.maintenance_per_year.low) / HOURS_PER_YEAR
    most = (1 / use.life_years.low + use.maintenance_per_year.high) / HOURS_PER_YEAR
    middle = price.median * count * share * per_hour
    return Quantity(
        middle,
        price.low * count * share * least,
        price.high * count * share * most,
        Basis.ESTIMATED,
        f"{price_source(price, 'purchase')}; data/economics.yaml",
    )


def _times(price: PriceRange, count: int) -> Quantity:
    source = price_source(price, "cloud_hourly")
    return Quantity(price.median * count, price.low * count, price.high * count, Basis.ESTIMATED, source)


def price_source(price: PriceRange, kind: str) -> str:
    """Kind, number and dates of the prices behind a range."""
    what = "rent per hour" if kind == "cloud_hourly" else "purchase price"
    dates = f"{price.date_from} to {price.date_to}" if price.date_from != price.date_to else str(price.date_from)
    return f"{what}, {price.n} published, {dates}"
