"""Economic assumptions: one YAML that a user may edit, each entry with range, source and date."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from advisor.catalog.catalog import Catalog
from advisor.catalog.errors import DataError
from advisor.catalog.files import DataFile, default_overlay, read_yaml
from advisor.catalog.paths import DATA_DIR
from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.schema_base import validate

__all__ = ["Assumptions", "EnergyRates", "energy_rates", "load_assumptions"]

FILE = "economics.yaml"


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Shares are of the accelerators' price or thermal design power, as `data/economics.yaml` says."""

    life_years: Quantity
    server_share: Quantity
    network_share: Quantity
    maintenance_per_year: Quantity
    host_power_share: Quantity
    idle_power_share: Quantity
    loaded_power_share: Quantity
    power_usage: Quantity
    residual_share: Quantity
    cloud_hours_share: Quantity


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    value: float = Field(ge=0, le=1000)
    low: float = Field(ge=0, le=1000)
    high: float = Field(ge=0, le=1000)
    date: str | int = ""
    source: str = Field(min_length=1, max_length=500)

    @model_validator(mode="after")
    def _ordered(self) -> _Entry:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"low <= value <= high, got {self.low}, {self.value}, {self.high}")
        return self

    def quantity(self) -> Quantity:
        return Quantity(self.value, self.low, self.high, Basis.ESTIMATED, f"{self.source} ({self.date})")


def load_assumptions(overlay: Path | None = None) -> Assumptions:
    """The built-in assumptions, single entries replaced by the overlay's. Raises DataError."""
    folder = overlay or default_overlay()
    values = dict(_builtin())
    own = folder / FILE if folder else None
    if own is not None and own.is_file():
        values |= _entries(DataFile(own, FILE, False))
    return Assumptions(**values)


@lru_cache(maxsize=1)
def _builtin() -> tuple[tuple[str, Quantity], ...]:
    entries = _entries(DataFile(DATA_DIR / FILE, f"data/{FILE}", True))
    return tuple(entries.items())


def _entries(file: DataFile) -> dict[str, Quantity]:
    content = read_yaml(file)
    known = {item.name for item in fields(Assumptions)}
    if not isinstance(content, dict) or not set(content) <= known:
        raise DataError(file.name, "", "", f"a mapping of {', '.join(sorted(known))}", content)
    answer = {}
    for name, entry in content.items():
        if not isinstance(entry, dict):
            raise DataError(file.name, name, "", "a mapping with value, low, high, date, source", entry)
        answer[name] = validate(_Entry, entry, file.name, name).quantity()
    life = answer.get("life_years")
    if life is not None and life.low <= 0:
        raise DataError(file.name, "life_years", "low", "more than 0 years", life.low)
    return answer


@dataclass(frozen=True, slots=True)
class EnergyRates:
    """None: not known for the region."""

    usd_per_kwh: Quantity | None
    kg_co2e_per_kwh: Quantity | None


def energy_rates(catalog: Catalog, region: str, usd_per_kwh: float | None = None) -> EnergyRates:
    """Of a region: the user's own tariff or the spread of the published ones; the newest carbon intensity."""
    tariff = Quantity.exact(usd_per_kwh, "your own tariff") if usd_per_kwh is not None else None
    found = sorted((e for e in catalog.electricity if e.region == region), key=lambda e: e.date)
    if tariff is None and found:
        values = [e.usd_per_kwh for e in found]
        tariff = Quantity(found[-1].usd_per_kwh, min(values), max(values), Basis.ESTIMATED, found[-1].source)
    carbon = sorted((c for c in catalog.carbon if c.region == region), key=lambda c: c.year)
    if not carbon:
        return EnergyRates(tariff, None)
    kilograms, told = carbon[-1].kg_co2e_per_kwh, f"{carbon[-1].source} ({carbon[-1].year})"
    return EnergyRates(tariff, Quantity(kilograms, kilograms, kilograms, Basis.ESTIMATED, told))
