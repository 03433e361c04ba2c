"""Work that outlives a page: probes in processes of their own."""

from __future__ import annotations

from advisor.jobs.registry import ProbeRegistry, Snapshot

__all__ = ["ProbeRegistry", "Snapshot"]
