"""Sentences on measured figures that lie outside their predicted intervals."""

from __future__ import annotations

from advisor.catalog.text import translate
from advisor.evidence.surprises import Surprise, surprises
from advisor.report.sweep_text import position_text
from probes.result import ProbeResult
from probes.spec import ProbeSpec

__all__ = ["surprise_texts"]


def surprise_texts(result: ProbeResult, language: str) -> list[str]:
    """One per figure: how far off it was, and why as far as the run tells."""
    return [_sentence(found, result.spec, language) for found in surprises(result)]


def _sentence(found: Surprise, spec: ProbeSpec, language: str) -> str:
    reasons = (translate(language, f"probes.why.{reason}", **found.figures) for reason in found.reasons)
    return translate(
        language,
        "probes.why.outside",
        figure=_figure(found, spec, language),
        ratio=f"{found.ratio:.2f}",
        reasons=("" if language == "zh" else " ").join(reasons),
    )


def _figure(found: Surprise, spec: ProbeSpec, language: str) -> str:
    """Its name; of a point of a sweep with the position."""
    name = translate(language, f"probes.figure.{found.name}")
    if not found.at:
        return name
    return translate(language, "probes.why.at", figure=name, at=position_text(spec, found.at, found.label, language))
