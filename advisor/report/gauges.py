"""What an accelerator's own tool says of it now, as names and values for people: clocks, power, ECC, throttling."""

from __future__ import annotations

from collections.abc import Mapping

from advisor.catalog.text import translate
from advisor.report.numbers import number

__all__ = ["gauges"]

_UNITS = {"_hz": (1e9, "GHz"), "_w": (1.0, "W"), "_c": (1.0, "°C")}
_WORDS = frozenset(
    {
        "on", "off", "none", "host", "passthrough", "vgpu", "power_cap", "hardware_slowdown", "software_thermal",
        "hardware_thermal", "power_brake", "throttled",
    }
)  # fmt: skip


def gauges(state: Mapping[str, float | str], language: str) -> dict[str, str]:
    """`state` as the probes report it; a gauge without a text of its own keeps its key."""
    return {translate(language, f"probes.gauge.{name}"): _text(name, value, language) for name, value in state.items()}


def _text(name: str, value: float | str, language: str) -> str:
    if isinstance(value, str):
        return ", ".join(_word(part, language) for part in value.split(", "))
    scale, unit = next((found for ending, found in _UNITS.items() if name.endswith(ending)), (1.0, ""))
    return f"{number(value / scale)} {unit}".strip()


def _word(text: str, language: str) -> str:
    return translate(language, f"probes.gauge_word.{text}") if text in _WORDS else text
