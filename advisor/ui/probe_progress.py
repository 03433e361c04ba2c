"""How far a running probe is: its phase, the step of how many, and the time taken of what was foreseen."""

from __future__ import annotations

from advisor.catalog.text import translate
from advisor.jobs.registry import Snapshot
from advisor.report.numbers import duration_text, range_text
from advisor.ui.text import language, t

__all__ = ["progress_share", "progress_text"]

LONG_S = 1000.0
MOST = 0.99  # a run that takes longer than foreseen is not at its end


def progress_share(snapshot: Snapshot) -> float:
    """Of the time that was foreseen; without a forecast, of the steps of this phase."""
    foreseen = snapshot.predicted.duration_s
    if foreseen is not None and foreseen.value > 0:
        return min(MOST, snapshot.elapsed_s / foreseen.value)
    return min(MOST, snapshot.done / snapshot.total) if snapshot.total else 0.0


def progress_text(snapshot: Snapshot) -> str:
    """For example "processing prompts, 2 of 2 · 26 s so far, 29–115 s foreseen"."""
    phase = translate(language(), f"probes.phase.{snapshot.phase}") if snapshot.phase else t("probe.starting")
    where = t("probe.step", phase=phase, step=_step(snapshot)) if snapshot.total else phase
    elapsed, foreseen = _clock(snapshot.elapsed_s), snapshot.predicted.duration_s
    if foreseen is None:
        return t("probe.progress", phase=where, elapsed=elapsed)
    whole = range_text(duration_text(foreseen.low), duration_text(foreseen.high))
    return t("probe.progress_of", phase=where, elapsed=elapsed, whole=whole)


def _clock(seconds: float) -> str:
    """Whole seconds, so that it counts evenly, as long as a person reads them at ease."""
    return duration_text(seconds) if seconds >= LONG_S else f"{seconds:.0f} s"


def _step(snapshot: Snapshot) -> str:
    if snapshot.phase == "sustained":
        done, total = (_clock(seconds) for seconds in (snapshot.done, snapshot.total))
    elif snapshot.phase == "write":
        done, total = f"{snapshot.done:,} MiB", f"{snapshot.total:,} MiB"
    else:
        done, total = str(min(snapshot.done + 1, snapshot.total)), str(snapshot.total)
    return t("probe.of", done=done, total=total)
