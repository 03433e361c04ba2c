"""A sentence on decode at the speed that memory had during a run."""

from __future__ import annotations

from advisor.catalog.text import translate
from advisor.report.numbers import bytes_text, number
from probes.at_memory import foreseen_at_memory
from probes.result import ProbeResult

__all__ = ["at_memory_text"]


def at_memory_text(result: ProbeResult, language: str) -> str:
    """What had been foreseen for that speed, and what was measured over it; "" where there is no such prediction."""
    found, seen = foreseen_at_memory(result), result.decode_tok_s
    if found is None or seen is None:
        return ""
    read, said = found
    return translate(
        language,
        "probes.at_memory",
        read=f"{bytes_text(read)}/s",
        said=f"{number(said.value)} ({number(said.low)}–{number(said.high)})",
        ratio=number(seen.value / said.value),
    )
