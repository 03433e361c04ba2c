"""Bytes that the ONNX Runtime probe will take, from the variant's tensors."""

from __future__ import annotations

from advisor.catalog.errors import InputError
from advisor.sizing.tensors_common import Tensor
from probes.engines.dense import EngineBytes, dense_need
from probes.engines.ort_graph import Blocks, check_runnable
from probes.need import Need
from probes.spec import ProbeSpec

__all__ = ["ort_need"]

RUNTIME_BYTES = 450 * 2**20  # torch, which reads the memory's speed, and the library
KV_BYTES = 4
EMBEDDING_BYTES = 2


def ort_need(spec: ProbeSpec) -> Need:
    """Raises UnsupportedError for an architecture or format that the graph has no operators for."""
    a = spec.architecture
    if a is None:
        raise InputError("architecture", "dimensions of the variant", None)
    blocks = check_runnable(a, spec.format_id)
    layout = EngineBytes(lambda tensor: _matrix(tensor, blocks), EMBEDDING_BYTES, KV_BYTES, RUNTIME_BYTES)
    return dense_need(spec, a, layout)


def _matrix(tensor: Tensor, blocks: Blocks) -> int:
    if blocks.bits == 32:
        return tensor.params * 4
    return tensor.params * blocks.bits // 8 + tensor.params // blocks.block * 4
