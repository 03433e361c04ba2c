"""Bytes that a probe will take, whichever engine runs it."""

from __future__ import annotations

from probes.gguf.need import gguf_need
from probes.need import Need, need_of
from probes.spec import EngineName, ProbeSpec

__all__ = ["needed"]


def needed(spec: ProbeSpec) -> Need:
    """Raises UnsupportedError or DataError for what the engine cannot run."""
    return gguf_need(spec) if spec.engine is EngineName.LLAMACPP else need_of(spec)
