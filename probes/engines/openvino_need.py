"""Bytes that the OpenVINO probe will take, from the variant's tensors."""

from __future__ import annotations

from advisor.catalog.errors import InputError, UnsupportedError
from advisor.sizing.tensors_common import Tensor
from probes.engines.dense import EngineBytes, dense_need
from probes.engines.openvino_formats import Storage, check_openvino
from probes.need import Need
from probes.spec import ProbeSpec

__all__ = ["openvino_need"]

RUNTIME_BYTES = 500 * 2**20  # torch, which reads the memory's speed, the library and its compiled kernels
SCALE_BYTES = 2
CACHE_COPIES = 3  # what is handed over, and a cache that doubles its room when it is full


def openvino_need(spec: ProbeSpec) -> Need:
    """Raises UnsupportedError for an architecture or format that the graph has no operators for, and for a
    converted model.
    """
    a = spec.architecture
    if a is None:
        raise InputError("architecture", "dimensions of the variant", None)
    if spec.checkpoint:
        raise UnsupportedError(
            "the OpenVINO probe makes its own weights; serve a converted model with OVMS and measure it with --url"
        )
    storage = check_openvino(a, spec.format_id)
    layout = EngineBytes(
        lambda tensor: _matrix(tensor, storage),
        storage.embedding_bytes,
        storage.cache_bytes,
        RUNTIME_BYTES,
        CACHE_COPIES,
    )
    return dense_need(spec, a, layout)


def _matrix(tensor: Tensor, storage: Storage) -> int:
    weights = tensor.params * storage.bits // 8
    if not storage.is_integer:
        return weights
    scales = tensor.params // storage.group if storage.group else tensor.matrices * tensor.rows
    return weights + scales * SCALE_BYTES
