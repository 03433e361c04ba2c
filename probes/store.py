"""Measurements on disk: SQLite, one row per probe, with machine, versions, conditions and what was foreseen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from probes.result import ProbeResult

__all__ = ["Store", "default_path"]


def default_path() -> Path:
    """`FATHOM_STORE`, else fathom/probes.sqlite in the user's state folder."""
    raise NotImplementedError  # being written


class Store:
    """Thread-safe; every call opens and closes its own connection."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()

    def add(self, result: ProbeResult) -> None:
        """Keep one result. Absurd figures raise InputError, an unwritable or damaged file DataError."""
        raise NotImplementedError  # being written

    def get(self, result_id: str) -> ProbeResult | None:
        raise NotImplementedError  # being written

    def history(
        self,
        *,
        fingerprint: str | None = None,
        variant_id: str | None = None,
        valid_only: bool = False,
        limit: int = 200,
    ) -> Sequence[ProbeResult]:
        """Newest first."""
        raise NotImplementedError  # being written

    def export_json(self) -> str:
        raise NotImplementedError  # being written

    def import_json(self, text: str) -> int:
        """Add results exported elsewhere; returns how many were new."""
        raise NotImplementedError  # being written
