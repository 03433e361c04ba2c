"""Why a probe ended without its figures, in the reader's language."""

from __future__ import annotations

from advisor.catalog.text import texts, translate
from advisor.report.problems import problem_text
from probes.failure import DATA
from probes.result import ProbeResult

__all__ = ["failure_text"]


def failure_text(result: ProbeResult, language: str) -> str:
    """By its key where it has one that this Fathom knows; else the text that was stored. Empty where nothing failed."""
    failure = result.failure
    if failure is None or f"probes.failure.{failure.key}" not in texts(language):
        return result.error
    if failure.key == DATA:
        return problem_text(failure.data_error(), language)
    try:
        return translate(language, f"probes.failure.{failure.key}", **failure.values)
    except (KeyError, IndexError):  # stored with other values, by another Fathom
        return result.error
