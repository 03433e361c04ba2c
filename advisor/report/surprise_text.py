"""Sentences on measured figures that lie outside their predicted intervals."""

from __future__ import annotations

from advisor.catalog.text import translate
from advisor.evidence.surprises import Surprise, surprises
from probes.result import ProbeResult

__all__ = ["surprise_texts"]


def surprise_texts(result: ProbeResult, language: str) -> list[str]:
    """One per figure: how far off it was, and why as far as the run tells."""
    return [_sentence(found, language) for found in surprises(result)]


def _sentence(found: Surprise, language: str) -> str:
    reasons = (translate(language, f"probes.why.{reason}") for reason in found.reasons)
    return translate(
        language,
        "probes.why.outside",
        figure=translate(language, f"probes.figure.{found.name}"),
        ratio=f"{found.ratio:.2f}",
        reasons=("" if language == "zh" else " ").join(reasons),
    )
