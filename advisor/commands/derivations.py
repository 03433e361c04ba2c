"""Numbers unfolded, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from advisor.sizing.derivation import Derivation
from advisor.sizing.derivation_speed import derivation_text

__all__ = ["derivations_json", "derivations_text"]


def derivations_text(found: Sequence[Derivation], language: str) -> str:
    """A block per number: title, formula with the values put in, source."""
    blocks = []
    for item in found:
        title, lines = derivation_text(language, item)
        blocks.append("\n".join([title, *(f"  {line}" for line in lines), f"  [{item.source}]"]))
    return "\n".join(blocks) + "\n"


def derivations_json(found: Sequence[Derivation], language: str) -> list[dict[str, Any]]:
    """`key`, `title`, `value` in `unit`, `source`, and `steps` with their values and the sentence they fill."""
    return [_as_json(item, *derivation_text(language, item)) for item in found]


def _as_json(item: Derivation, title: str, lines: Sequence[str]) -> dict[str, Any]:
    steps = [
        {"key": step.key, "values": dict(step.values), "text": line}
        for step, line in zip(item.steps, lines, strict=True)
    ]
    return {
        "key": item.key,
        "title": title,
        "value": item.value,
        "unit": item.unit,
        "source": item.source,
        "steps": steps,
    }
