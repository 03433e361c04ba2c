"""Sentences on the rates foreseen for the pace that the machine had during a run."""

from __future__ import annotations

from advisor.catalog.quantity import Quantity
from advisor.catalog.text import translate
from advisor.report.numbers import bytes_text, number
from probes.pace import AtPace, foreseen_at_pace
from probes.result import Measured, ProbeResult

__all__ = ["at_pace_text"]


def at_pace_text(result: ProbeResult, language: str) -> str:
    """What had been foreseen for that pace, and what was measured over it; "" where there is no such prediction."""
    found = foreseen_at_pace(result)
    if found is None:
        return ""
    rates = (
        ("decode", found.decode_tok_s, result.decode_tok_s), ("prefill", found.prefill_tok_s, result.prefill_tok_s)
    )  # fmt: skip
    said = [_rate(name, quantity, seen, language) for name, quantity, seen in rates if quantity and seen]
    return (" " if language == "en" else "").join([_pace(found, language), *said]) if said else ""


def _pace(found: AtPace, language: str) -> str:
    read = f"{bytes_text(found.memory_bytes_per_s)}/s"
    if found.product_ops_per_s is None:
        return translate(language, "probes.at_pace.memory", read=read)
    multiplied = f"{number(found.product_ops_per_s / 1e9)} GFLOP/s"
    return translate(language, "probes.at_pace.both", read=read, multiplied=multiplied)


def _rate(name: str, said: Quantity, seen: Measured, language: str) -> str:
    return translate(
        language,
        f"probes.at_pace.{name}",
        said=f"{number(said.value)} ({number(said.low)}–{number(said.high)})",
        ratio=number(seen.value / said.value),
    )
