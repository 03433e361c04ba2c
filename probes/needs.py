"""Bytes that a probe will take, whichever engine runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from advisor.catalog.errors import UnsupportedError
from probes.engines.installed import KINDS
from probes.engines.openvino_need import openvino_need
from probes.engines.ort_need import ort_need
from probes.engines.precision import Precision, precision_of
from probes.gguf.need import gguf_need
from probes.need import Need, need_of
from probes.spec import EngineName, Kind, ProbeSpec

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
    if spec.engine is EngineName.TORCH and spec.device == "cpu" and spec.kind is not Kind.MACHINE and _has_fp8(spec):
        raise UnsupportedError("8-bit floating products need an accelerator; on a processor take bf16 or int8")
    return _NEEDS.get(spec.engine, need_of)(spec)


def _has_fp8(spec: ProbeSpec) -> bool:
    names = spec.sweep_formats or (spec.format_id,)
    return any(precision_of(name).feed_forward is Precision.FP8 for name in names)
