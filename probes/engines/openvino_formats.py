"""Weight formats and architectures that the OpenVINO probe can run. Does not import OpenVINO."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.records import Architecture
from probes.engines.dense import is_plain_decoder

__all__ = ["OPENVINO_FORMATS", "Storage", "check_openvino", "runs_in_openvino"]

_BITS = {"f32": 32, "bf16": 16, "f16": 16, "i8": 8, "i4": 4}


@dataclass(frozen=True, slots=True)
class Storage:
    """OpenVINO's element types. `group`: weights of a row that share a scale; 0: the whole row."""

    matrices: str
    embedding: str
    cache: str
    group: int = 0

    @property
    def bits(self) -> int:
        """Of a weight without its scale."""
        return _BITS[self.matrices]

    @property
    def is_integer(self) -> bool:
        return self.matrices.startswith("i")

    @property
    def embedding_bytes(self) -> int:
        """Of one number of the embedding."""
        return _BITS[self.embedding] // 8

    @property
    def cache_bytes(self) -> int:
        """Of one number of the cache."""
        return _BITS[self.cache] // 8


# The cache has the width that sizing foresees; OpenVINO's own choice, 8 bit, would be narrower than the prediction's.
OPENVINO_FORMATS = {
    "fp32": Storage("f32", "f32", "f32"),
    "bf16": Storage("bf16", "bf16", "bf16"),
    "fp16": Storage("f16", "f16", "f16"),
    "int8-w8a16": Storage("i8", "f16", "bf16"),
    "w4a16-g128": Storage("i4", "f16", "bf16", 128),
    "w4a16-g32": Storage("i4", "f16", "bf16", 32),
}


def check_openvino(a: Architecture, format_id: str) -> Storage:
    """Raises UnsupportedError for what the graph has no operators for."""
    if format_id not in OPENVINO_FORMATS:
        raise UnsupportedError(f"the OpenVINO probe runs {', '.join(OPENVINO_FORMATS)}, not '{format_id}'")
    if not is_plain_decoder(a):
        raise UnsupportedError("the OpenVINO probe runs dense models with grouped attention")
    return OPENVINO_FORMATS[format_id]


def runs_in_openvino(a: Architecture) -> bool:
    """Whether its graph has operators for the architecture."""
    return is_plain_decoder(a)
