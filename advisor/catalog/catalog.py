"""Everything the catalogue knows, in one frozen object with look-ups by id, alias and device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TypeVar

from advisor.catalog.calibration_records import LocalCalibration
from advisor.catalog.errors import InputError, UnknownIdError
from advisor.catalog.formats import Format
from advisor.catalog.memory_options import MARK, with_memory
from advisor.catalog.records import (
    CarbonIntensity,
    Device,
    ElectricityPrice,
    Engine,
    Host,
    NamedRate,
    PowerUsage,
    Price,
    Role,
    Server,
    Variant,
)

__all__ = ["Catalog", "PriceRange", "name_key"]

R = TypeVar("R")

YEAR_DAYS = 366
_MARKS = re.compile(r"\((r|tm|c)\)|®|™|_")
_TAIL = re.compile(r"\s+(\d+-core\s+)?(cpu|processor)?\s*(@.*)?(with radeon.*)?$")


@dataclass(frozen=True, slots=True)
class PriceRange:
    """Spread of the known prices of one kind for one device, in US dollars."""

    low: float
    median: float
    high: float
    n: int
    date_from: date | None
    date_to: date | None


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """Built-in data plus one overlay. Mappings are by id; `aliases`: by kind, from a name's key to ids.

    Compared and hashed by identity, so that results can be cached per catalogue.
    """

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
    aliases: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    as_of: date | None = None  # the day the built-in facts were gathered
    overlay_dir: Path | None = None
    calibrations: tuple[LocalCalibration, ...] = ()  # own measurements; empty: the public calibration alone

    def variant(self, wanted: str) -> Variant:
        """By id, alias or Hugging Face repository name; a model's id means its newest tuned checkpoint.

        Raises UnknownIdError with the nearest ids.
        """
        of_model = [variant for variant in self.variants.values() if variant.model_id == wanted]
        if wanted in self.variants or not of_model:
            return self._find("model", self.variants, wanted)
        return ([variant for variant in of_model if variant.role is not Role.BASE] or of_model)[-1]

    def device(self, wanted: str, memory_bytes: int | None = None) -> Device:
        """By id or alias, such as the name that NVML reports. Raises UnknownIdError.

        Some products share a name; `memory_bytes`, as the driver reports it, tells them apart. Without it such a
        name means the one that is offered, or raises InputError that lists the ids. `id@48GB` chooses a memory size.
        """
        name, mark, size = wanted.partition(MARK)
        if mark and size and name in self.devices:
            return with_memory(self.devices[name], size)
        found = [self.devices[name] for name in self._named("device", self.devices, wanted)]
        if memory_bytes is not None:
            return min(found, key=lambda device: _memory_gap(device, memory_bytes))
        offered = [device for device in found if not device.reference] or found
        if len(offered) > 1:
            raise InputError("device", f"one of {', '.join(device.id for device in offered)}", wanted)
        return offered[0]

    def host(self, wanted: str) -> Host:
        return self._find("host", self.hosts, wanted)

    def server(self, wanted: str) -> Server:
        return self._find("server", self.servers, wanted)

    def engine(self, wanted: str) -> Engine:
        return self._find("engine", self.engines, wanted)

    def format(self, wanted: str) -> Format:
        return self._find("format", self.formats, wanted)

    def price_range(self, device_id: str, kind: str) -> PriceRange | None:
        """Range of the prices of `kind` (cloud_hourly, purchase, cloud_hourly_tco) for a device; None: none known.

        Prices move: where some are from the last twelve months before `as_of`, older ones are left out.
        """
        return _price_range(self, device_id, kind)

    def servers_for(self, device_id: str) -> tuple[Server, ...]:
        """The real chassis that hold this device."""
        return tuple(server for server in self.servers.values() if server.device_id == device_id)

    def _find(self, kind: str, table: Mapping[str, R], wanted: str) -> R:
        ids = self._named(kind, table, wanted)
        if len(ids) > 1:
            raise InputError(kind, f"one of {', '.join(ids)}", wanted)
        return table[ids[0]]

    def _named(self, kind: str, table: Mapping[str, R], wanted: str) -> tuple[str, ...]:
        """Ids that a name may mean; an id itself is never ambiguous."""
        if wanted in table:
            return (wanted,)
        key = name_key(wanted)
        if key in table:
            return (key,)
        ids = self.aliases.get(kind, {}).get(key, ())
        if not ids:
            raise UnknownIdError(kind, wanted, table)
        return ids


@lru_cache(maxsize=16)
def _prices(catalog: Catalog) -> Mapping[tuple[str, str], list[Price]]:
    """By device and kind."""
    found: dict[tuple[str, str], list[Price]] = {}
    for price in catalog.prices:
        found.setdefault((price.device_id, price.kind), []).append(price)
    return found


@lru_cache(maxsize=8192)
def _price_range(catalog: Catalog, device_id: str, kind: str) -> PriceRange | None:
    today = catalog.as_of
    found = _prices(catalog).get((device_id, kind), [])
    recent = [price for price in found if price.date and today and (today - price.date).days <= YEAR_DAYS]
    found = recent or found
    if not found:
        return None
    values = sorted(price.usd for price in found)
    days = sorted(price.date for price in found if price.date)
    first, last = (days[0], days[-1]) if days else (None, None)
    return PriceRange(values[0], median(values), values[-1], len(values), first, last)


def name_key(name: str) -> str:
    """What two spellings of one product name have in common: "Intel(R) Xeon(R) CPU @ 2.0GHz" -> "intel xeon"."""
    bare = _MARKS.sub(" ", name.lower())
    return " ".join(_TAIL.sub("", bare).split())


def _memory_gap(device: Device, memory_bytes: int) -> int:
    sizes = (device.memory_bytes, device.usable_memory_bytes or device.memory_bytes, *device.memory_options_bytes)
    return min(abs(size - memory_bytes) for size in sizes)
