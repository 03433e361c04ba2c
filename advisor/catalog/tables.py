"""The plain tables of the catalogue: prices, electricity, carbon, power usage, network and storage rates."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path

from advisor.catalog.errors import DataError
from advisor.catalog.files import RawRecord, data_files, parse_yaml, read_csv
from advisor.catalog.paths import DATA_DIR
from advisor.catalog.records import CarbonIntensity, ElectricityPrice, NamedRate, PowerUsage, Price

__all__ = [
    "ENERGY_KINDS",
    "as_of",
    "carbon",
    "electricity",
    "power_usage",
    "prices",
    "rates",
    "source_title",
]

ENERGY_KINDS = ("electricity", "carbon", "power_usage", "networks", "storage")
PRICE_KINDS = ("cloud_hourly", "purchase", "cloud_hourly_tco")


class _Row:
    """A row of a CSV file that names itself in messages."""

    def __init__(self, file: str, line: int, values: dict[str, str], *, builtin: bool) -> None:
        self.file, self.line, self.values, self.builtin = file, f"line {line}", values, builtin

    def text(self, field: str) -> str:
        if not self.values[field].strip():
            raise DataError(self.file, self.line, field, "a value")
        return self.values[field].strip()

    def number(self, field: str, *, zero_allowed: bool = False) -> float:
        expected = "a number of at least 0" if zero_allowed else "a number above 0"
        try:
            value = float(self.values[field])
        except ValueError:
            raise DataError(self.file, self.line, field, expected, self.values[field]) from None
        if not (0 < value < 1e20 or (zero_allowed and value == 0)):
            raise DataError(self.file, self.line, field, expected, self.values[field])
        return value

    def day(self, field: str) -> date | None:
        """A date, or the first day of a month or year; empty: None."""
        text = self.values[field].strip()
        if not text:
            return None
        try:
            return date(*(int(part) for part in (text + "-1-1").split("-")[:3]))
        except (ValueError, TypeError):
            raise DataError(self.file, self.line, field, "a date such as 2026-11-22", text) from None


def prices(devices: Collection[str], overlay: Path | None) -> tuple[Price, ...]:
    """All prices; a user's prices of a device and kind replace the built-in ones."""
    rows = list(_rows("prices", ("device_id", "kind", "usd", "provider", "date", "source"), overlay))
    found = [(row.builtin, _price(row, devices)) for row in rows]
    own = {(price.device_id, price.kind) for builtin, price in found if not builtin}
    return tuple(price for builtin, price in found if not builtin or (price.device_id, price.kind) not in own)


def electricity(overlay: Path | None) -> tuple[ElectricityPrice, ...]:
    """Prices in US dollars; other currencies at the stated rate. A user's price of a region and kind wins."""
    columns = ("region", "kind", "per_kwh", "currency", "usd_per_currency", "date", "source")
    table = {}
    for row in _rows("electricity", columns, overlay):
        usd = row.number("per_kwh") * row.number("usd_per_currency")
        key = row.text("region"), row.text("kind")
        table[*key, row.text("date")] = ElectricityPrice(*key, usd, row.text("date"), row.text("source"))
    return tuple(table.values())


def carbon(overlay: Path | None) -> tuple[CarbonIntensity, ...]:
    """Grams are kilograms here: SI. A user's value of a region wins."""
    table = {}
    for row in _rows("carbon", ("region", "name", "kg_co2e_per_kwh", "year", "source"), overlay):
        value, year = row.number("kg_co2e_per_kwh", zero_allowed=True), int(row.number("year"))
        table[row.text("region")] = CarbonIntensity(
            row.text("region"), row.text("name"), value, year, row.text("source")
        )
    return tuple(table.values())


def power_usage(overlay: Path | None) -> tuple[PowerUsage, ...]:
    table = {}
    for row in _rows("power_usage", ("scope", "low", "high", "date", "source"), overlay):
        low, high = row.number("low"), row.number("high")
        if not 1 <= low <= high:
            raise DataError(row.file, row.line, "low", f"from 1 to high = {high}", low)
        table[row.text("scope")] = PowerUsage(row.text("scope"), low, high, row.text("date"), row.text("source"))
    return tuple(table.values())


def rates(kind: str, overlay: Path | None) -> dict[str, NamedRate]:
    """Networks or storage classes by id."""
    rows = _rows(kind, ("id", "bytes_per_s", "source"), overlay)
    return {row.text("id"): NamedRate(row.text("id"), row.number("bytes_per_s"), row.text("source")) for row in rows}


def source_title(raw: RawRecord) -> str:
    """What a reader sees for a source key."""
    title = raw.content.get("title")
    if not isinstance(title, str) or not title:
        raise DataError(raw.file, raw.id, "title", "a text", title)
    return title


def as_of() -> date:
    """The day on which the built-in facts were gathered."""
    content = parse_yaml((DATA_DIR / "as_of.yaml").read_text(encoding="utf-8"), "data/as_of.yaml", trusted=True)
    text = content.get("as_of") if isinstance(content, dict) else None
    try:
        return date.fromisoformat(str(text))
    except ValueError as problem:
        raise DataError("data/as_of.yaml", "", "as_of", "a date", text) from problem


def _rows(kind: str, columns: tuple[str, ...], overlay: Path | None) -> Iterator[_Row]:
    for file in data_files(kind, overlay, pattern="*.csv"):
        for line, values in read_csv(file, columns):
            yield _Row(file.name, line, values, builtin=file.builtin)


def _price(row: _Row, devices: Collection[str]) -> Price:
    device, kind = row.text("device_id"), row.text("kind")
    if device not in devices:
        raise DataError(row.file, row.line, "device_id", "the id of a device", device)
    if kind not in PRICE_KINDS:
        raise DataError(row.file, row.line, "kind", f"one of {', '.join(PRICE_KINDS)}", kind)
    return Price(device, kind, row.number("usd"), row.text("provider"), row.day("date"), row.text("source"))
