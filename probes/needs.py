"""Bytes that a probe will take, whichever engine runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from advisor.catalog.errors import UnsupportedError
from probes.engines.installed import KINDS
from probes.engines.openvino_need import openvino_need
from probes.engines.ort_need import ort_need
from probes.gguf.need import gguf_need
from probes.need import Need, need_of
from probes.spec import EngineName, ProbeSpec

__all__ = ["needed"]

_NEEDS: Mapping[EngineName, Callable[[ProbeSpec], Need]] = {
    EngineName.LLAMACPP: gguf_need,
    EngineName.OPENVINO: openvino_need,
    EngineName.ORT: ort_need,
}


def needed(spec: ProbeSpec) -> Need:
    """Raises UnsupportedError or DataError for what the engine cannot run or measure."""
    kinds = KINDS[spec.engine]
    if spec.kind not in kinds:
        others = [str(name) for name, able in KINDS.items() if spec.kind in able and name is not EngineName.ENDPOINT]
        wanted = f"for '{spec.kind}' take engine {' or '.join(others)}"
        raise UnsupportedError(f"engine '{spec.engine}' measures {', '.join(kinds)}; {wanted}")
    return _NEEDS.get(spec.engine, need_of)(spec)
