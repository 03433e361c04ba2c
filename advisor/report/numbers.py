"""Numbers as text for people: three significant digits, units in the text, intervals beside the value."""

from __future__ import annotations

import math

from advisor.catalog.quantity import Basis, Quantity

__all__ = [
    "bytes_text",
    "change_text",
    "duration_text",
    "gib_text",
    "interval_text",
    "latency_text",
    "money_text",
    "number",
    "percent_text",
    "range_text",
    "value_text",
]

_SECOND_MS = 999.5
_FAR = 3.0
_SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float, digits: int = 3) -> str:
    """Three significant digits; thousands as "1,230" up to 10,000, then "12.3k", "4.56M"."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if abs(value) < 9_999.5:
        return _plain(value, digits)
    scale, suffix = next((s, p) for s, p in (*_PREFIXES, (1.0, "")) if abs(value) >= 0.9995 * s)
    return f"{_plain(value / scale, digits)}{suffix}"


def bytes_text(value: float) -> str:
    """Decimal units, as published file sizes: "671 GB"."""
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= 0.9995 * scale:
            return f"{_plain(value / scale, 3)} {unit}"
    return f"{value:.0f} B"


def gib_text(value: float) -> str:
    """Binary units, as drivers and operating systems count memory: "74.5 GiB"."""
    for scale, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= 0.9995 * scale:
            return f"{_plain(value / scale, 3)} {unit}"
    return f"{value:.0f} B"


def duration_text(seconds: float) -> str:
    """With the unit that a person would choose: "42 ms", "8.04 s", "8.04 min", "5.97 h", "12 d"."""
    for scale, unit in ((172_800, "d"), (7_200, "h"), (120, "min"), (1, "s")):
        if abs(seconds) >= scale:
            return f"{number(seconds / _SECONDS[unit])} {unit}"
    return f"{number(seconds * 1e3)} ms"


def range_text(low: str, high: str) -> str:
    """Two texts with units as one range; the unit is said once where both have the same: "12.3–27.6 GB/s"."""
    first, _, unit = low.rpartition(" ")
    return f"{first}–{high}" if first and unit == high.rpartition(" ")[2] else f"{low} – {high}"


def money_text(value: float) -> str:
    """US dollars: "$0.042", "$12.3", "$4,560", "$1.2M"."""
    return f"-${number(-value)}" if value < 0 else f"${number(value)}"


def change_text(value: float, reference: float) -> str:
    """Of a value over a reference: "+12 %", or "× 3.4" from three times on, where a factor reads better."""
    if not reference:
        return "–"
    ratio = value / reference
    return f"{100 * (ratio - 1):+.0f} %" if 1 / _FAR < ratio < _FAR else f"× {number(ratio, 2)}"


def percent_text(share: float) -> str:
    return f"{100 * share:.0f} %"


def latency_text(milliseconds: float) -> str:
    """"85 ms"; from one second on "1.2 s", since nobody reads "160k ms"."""
    if abs(milliseconds) < _SECOND_MS:
        return f"{number(milliseconds)} ms"
    return f"{number(milliseconds / 1e3)} s"


def value_text(quantity: Quantity, unit: str = "") -> str:
    """The value alone, with its unit; milliseconds from 1,000 on in seconds."""
    if unit == "ms":
        return latency_text(quantity.value)
    return f"{number(quantity.value)} {unit}".strip()


def interval_text(quantity: Quantity, unit: str = "") -> str:
    """The 90 % interval "35–48 tok/s"; the value alone where it is exact."""
    if quantity.basis is Basis.EXACT or quantity.low == quantity.high:
        return value_text(quantity, unit)
    if unit == "ms" and quantity.high >= _SECOND_MS:  # both ends in one unit
        return f"{number(quantity.low / 1e3, 2)}–{number(quantity.high / 1e3, 2)} s"
    return f"{number(quantity.low, 2)}–{number(quantity.high, 2)} {unit}".strip()


def _plain(value: float, digits: int) -> str:
    """`digits` significant digits without exponent; integers keep all digits and get separators."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    rounded = round(value, decimals)
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
