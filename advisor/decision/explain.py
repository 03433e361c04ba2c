"""Reasons as sentences in either language; the templates are in `data/i18n/*/decision.yaml`."""

from __future__ import annotations

import re

from advisor.catalog.text import name_in, texts, translate
from advisor.decision.result import Reason

__all__ = ["field_name", "sentence", "value_text"]

_LATENCY_REASON = re.compile("(^|_)(ttft|tpot|e2e|latency)(_|$)")
_LATENCIES = ("value", "high", "limit", "ttft", "tpot", "e2e")  # milliseconds in those reasons


def sentence(language: str, reason: Reason) -> str:
    """One plain sentence. Values: numbers are written with separators, texts as they are.

    Milliseconds of reasons about latency become seconds from 1,000 on.
    `field` values name scenario fields in words; `<name>_en` and `<name>_zh` give the text `{<name>}`.
    """
    suffix = f"_{language}"
    values: dict[str, object] = {}
    for name, value in reason.values.items():
        if name.endswith(suffix):
            values[name.removesuffix(suffix)] = value
        elif name == "field":
            values[name] = field_name(language, str(value))
        elif name in _LATENCIES and _LATENCY_REASON.search(reason.key) and isinstance(value, (int, float)):
            values[name] = _latency_text(language, float(value))
        elif not name.endswith(("_en", "_zh")):
            values[name] = value_text(language, value)
    return translate(language, f"decision.reason.{reason.key}", **values)


def _latency_text(language: str, milliseconds: float) -> str:
    unit, scale = ("seconds", 1e3) if abs(milliseconds) >= 999.5 else ("milliseconds", 1.0)
    return translate(language, f"decision.latency.{unit}", value=value_text(language, milliseconds / scale))


def field_name(language: str, field: str) -> str:
    """A scenario field in words."""
    return texts(language)[f"decision.field.{field}"]


def value_text(language: str, value: float | str | bool | None) -> str:
    """A number in at most four significant digits, with separators; true and false in words."""
    if value is None:
        return translate(language, "decision.value.none")
    if isinstance(value, str):
        known = texts(language).get(f"decision.value.{value}")
        return name_in(language, value) if known is None else known
    if isinstance(value, bool):
        return translate(language, f"decision.value.{str(value).lower()}")
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
