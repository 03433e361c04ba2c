"""Quantities as people read and write them: "671.0 GB", "80GiB", "1.3B", "3.35 TB/s".

Decimal units count in thousands, binary units (KiB, MiB, GiB, TiB) in 1,024s; the two are never mixed up.
"""

from __future__ import annotations

import re

from advisor.catalog.errors import InputError

__all__ = [
    "format_bytes",
    "format_count",
    "format_ops",
    "format_rate",
    "format_seconds",
    "format_usd",
    "parse_bytes",
    "parse_count",
]

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_COUNTS = ("", "K", "M", "B", "T")
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([kmgtp]?)(i?)(b?)\s*", re.IGNORECASE)
_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([kmbt]?)\s*", re.IGNORECASE)
_STEPS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_LARGEST = 10**18


def format_bytes(size: float, *, binary: bool = False, digits: int = 1) -> str:
    """`673149554089` -> "673.1 GB", or "626.9 GiB" if `binary`."""
    base, names = (1024, _BINARY) if binary else (1000, _DECIMAL)
    return _scaled(size, base, names, digits)


def parse_bytes(text: str, field: str = "size") -> int:
    """`"80GB"`, `"79.6 GiB"`, `"512"` -> bytes, rounded. Raises InputError, also for sizes above 10^18."""
    found = _SIZE.fullmatch(text) if len(text) <= 40 else None
    if not found or (found[3] and not found[2]):
        raise InputError(field, "a size such as 80GB or 79.6 GiB", text)
    base = 1024 if found[3] else 1000
    size = float(found[1]) * float(base) ** _STEPS[found[2].lower()]
    if size > _LARGEST:
        raise InputError(field, "a size below 1,000 PB", text)
    return round(size)


def format_count(count: float, digits: int = 1) -> str:
    """`7615616512` -> "7.6B"; below 1,000 as it is."""
    if abs(count) < 1000:
        return f"{count:g}"
    text = _scaled(count, 1000, _COUNTS, digits)
    return text.replace(" ", "")


def parse_count(text: str, field: str = "count") -> int:
    """`"32K"` -> 32,000; `"1.5B"` -> 1,500,000,000. Raises InputError."""
    found = _NUMBER.fullmatch(text) if len(text) <= 40 else None
    if not found:
        raise InputError(field, "a number such as 8192 or 32K", text)
    step = {"": 0, "k": 1, "m": 2, "b": 3, "t": 4}[found[2].lower()]
    count = float(found[1]) * 1000.0**step
    if count > _LARGEST:
        raise InputError(field, "a number below 10^18", text)
    return round(count)


def format_rate(bytes_per_s: float, digits: int = 1) -> str:
    """`3.35e12` -> "3.4 TB/s"."""
    return format_bytes(bytes_per_s, digits=digits) + "/s"


def format_ops(ops_per_s: float, *, integer: bool = False) -> str:
    """`9.894e14` -> "989.4 TFLOPS" (or TOPS)."""
    return f"{ops_per_s / 1e12:,.1f} {'TOPS' if integer else 'TFLOPS'}"


def format_seconds(seconds: float) -> str:
    """`0.0213` -> "21.3 ms"; `5400` -> "90.0 min"."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.1f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    for limit, step, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / step:.1f} {name}"
    return f"{seconds / 86_400:.1f} d"


def format_usd(usd: float) -> str:
    """`1234567` -> "$1,234,567"; small amounts keep significant digits."""
    if abs(usd) >= 100:
        return f"${usd:,.0f}"
    return f"${usd:,.2f}" if abs(usd) >= 0.1 else f"${usd:.3g}"


def _scaled(value: float, base: int, names: tuple[str, ...], digits: int) -> str:
    step, scaled = 0, float(value)
    while abs(round(scaled, digits)) >= base and step < len(names) - 1:
        scaled, step = scaled / base, step + 1
    return f"{scaled:.{digits if step else 0}f} {names[step]}"
