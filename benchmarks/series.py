"""The kept series of processors, for the benchmarks that replay them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from advisor.evidence.own_truth import PROBES_FOLDER, kept_results
from probes.result import ProbeResult
from probes.spec import EngineName

__all__ = ["kept_series"]


def kept_series(paths: Sequence[str]) -> list[list[ProbeResult]]:
    """Per file (`advisor probe --export`; by default those in `data/probes/cpu`) the valid runs of our own engine on
    processors, newest first; files without one are left out.
    """
    files = [Path(path) for path in paths] or sorted((PROBES_FOLDER / "cpu").glob("*.json"))
    return [runs for path in files if (runs := _runs(path))]


def _runs(path: Path) -> list[ProbeResult]:
    runs = kept_results(path)
    own = [r for r in runs if r.is_valid and r.spec.engine is EngineName.TORCH and r.spec.device == "cpu"]
    return sorted(own, key=lambda r: r.started_at, reverse=True)
