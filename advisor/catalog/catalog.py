"""Everything the catalogue knows, in one frozen object with look-ups by id, alias and device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import TypeVar

from advisor.catalog.errors import UnknownIdError
from advisor.catalog.formats import Format
from advisor.catalog.records import (
    CarbonIntensity,
    Device,
    ElectricityPrice,
    Engine,
    Host,
    NamedRate,
    PowerUsage,
    Price,
    Server,
    Variant,
)

__all__ = ["Catalog", "PriceRange"]

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class PriceRange:
    """Spread of the known prices of one kind for one device, in US dollars."""

    low: float
    median: float
    high: float
    n: int
    date_from: date | None
    date_to: date | None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Built-in data plus one overlay. Mappings are by id; `aliases` maps lower-case names to ids, per kind."""

    variants: Mapping[str, Variant]
    devices: Mapping[str, Device]
    hosts: Mapping[str, Host]
    servers: Mapping[str, Server]
    engines: Mapping[str, Engine]
    formats: Mapping[str, Format]
    prices: tuple[Price, ...] = ()
    electricity: tuple[ElectricityPrice, ...] = ()
    carbon: tuple[CarbonIntensity, ...] = ()
    power_usage: tuple[PowerUsage, ...] = ()
    networks: Mapping[str, NamedRate] = field(default_factory=dict)
    storage: Mapping[str, NamedRate] = field(default_factory=dict)
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    as_of: date | None = None  # the day the built-in facts were gathered
    overlay_dir: Path | None = None

    def variant(self, wanted: str) -> Variant:
        """By id, alias or Hugging Face repository name. Raises UnknownIdError with the nearest ids."""
        return self._find("model", self.variants, wanted)

    def device(self, wanted: str) -> Device:
        """By id or alias, such as the name that NVML reports. Raises UnknownIdError."""
        return self._find("device", self.devices, wanted)

    def host(self, wanted: str) -> Host:
        return self._find("host", self.hosts, wanted)

    def server(self, wanted: str) -> Server:
        return self._find("server", self.servers, wanted)

    def engine(self, wanted: str) -> Engine:
        return self._find("engine", self.engines, wanted)

    def format(self, wanted: str) -> Format:
        return self._find("format", self.formats, wanted)

    def price_range(self, device_id: str, kind: str) -> PriceRange | None:
        """Range of the prices of `kind` (cloud_hourly, purchase, cloud_hourly_tco) for a device; None: none known."""
        found = [price for price in self.prices if price.device_id == device_id and price.kind == kind]
        if not found:
            return None
        values = sorted(price.usd for price in found)
        days = sorted(price.date for price in found if price.date)
        first, last = (days[0], days[-1]) if days else (None, None)
        return PriceRange(values[0], median(values), values[-1], len(values), first, last)

    def servers_for(self, device_id: str) -> tuple[Server, ...]:
        """The real chassis that hold this device."""
        return tuple(server for server in self.servers.values() if server.device_id == device_id)

    def _find(self, kind: str, table: Mapping[str, R], wanted: str) -> R:
        found = table.get(wanted)
        if found is not None:
            return found
        key = self.aliases.get(kind, {}).get(wanted.strip().lower(), wanted.strip().lower())
        if key in table:
            return table[key]
        raise UnknownIdError(kind, wanted, table)
