"""Bytes that a probe will take, whichever engine runs it."""

from __future__ import annotations

from advisor.catalog.errors import UnsupportedError
from probes.engines.installed import KINDS
from probes.engines.ort_need import ort_need
from probes.gguf.need import gguf_need
from probes.need import Need, need_of
from probes.spec import EngineName, ProbeSpec

__all__ = ["needed"]


def needed(spec: ProbeSpec) -> Need:
    """Raises UnsupportedError or DataError for what the engine cannot run or measure."""
    kinds = KINDS[spec.engine]
    if not kinds:
        raise UnsupportedError(f"engine '{spec.engine}' has no probe here: serve it and measure its address with --url")
    if spec.kind not in kinds:
        raise UnsupportedError(f"engine '{spec.engine}' measures {', '.join(kinds)}, not '{spec.kind}'")
    return {EngineName.LLAMACPP: gguf_need, EngineName.ORT: ort_need}.get(spec.engine, need_of)(spec)
