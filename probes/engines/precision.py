"""Which precision each group of matrices has in a probe, for every weight format that the torch engine can run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from advisor.catalog.errors import UnsupportedError

__all__ = ["RUNNABLE_FORMATS", "FormatPrecision", "Precision", "canonical_format", "precision_of"]

INT4_GROUP = 128


class Precision(StrEnum):
    """How one matrix is stored and multiplied."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"  # 8-bit floating weights and activations, CUDA only
    INT8_A8 = "int8-a8"  # 8-bit weights and activations
    INT8_A16 = "int8-a16"  # 8-bit weights, expanded
    INT4_A16 = "int4-a16"  # 4-bit weights in groups of 128, expanded

    @property
    def bits(self) -> int:
        """Bits of a weight without its scale."""
        return {"fp32": 32, "bf16": 16, "fp16": 16, "int4-a16": 4}.get(self.value, 8)


@dataclass(frozen=True, slots=True)
class FormatPrecision:
    """Precision by group; embedding, norms and biases are stored as `activation`."""

    activation: Precision
    attention: Precision
    feed_forward: Precision
    head: Precision


def _uniform(precision: Precision) -> FormatPrecision:
    return FormatPrecision(precision, precision, precision, precision)


def _quantised(matrices: Precision, head: Precision = Precision.BF16) -> FormatPrecision:
    return FormatPrecision(Precision.BF16, matrices, matrices, head)


RUNNABLE_FORMATS: dict[str, FormatPrecision] = {
    "fp32": _uniform(Precision.FP32),
    "bf16": _uniform(Precision.BF16),
    "fp16": _uniform(Precision.FP16),
    "fp8": _quantised(Precision.FP8),
    "int8-w8a8": _quantised(Precision.INT8_A8),
    "int8-w8a16": _quantised(Precision.INT8_A16),
    "gptq-int8": _quantised(Precision.INT8_A16),
    "awq": _quantised(Precision.INT4_A16),
    "gptq-int4": _quantised(Precision.INT4_A16),
    "w4a16": _quantised(Precision.INT4_A16),
    "w4a16-g128": _quantised(Precision.INT4_A16),
    "bf16-attn-int8-ffn": FormatPrecision(Precision.BF16, Precision.BF16, Precision.INT8_A8, Precision.BF16),
}
ALIASES = {"int8": "int8-w8a8", "int4": "w4a16-g128", "mixed": "bf16-attn-int8-ffn", "f32": "fp32", "f16": "fp16"}


def canonical_format(name: str) -> str:
    """The catalogue's id for a short name such as int8."""
    return ALIASES.get(name, name)


def precision_of(format_id: str) -> FormatPrecision:
    """Raises UnsupportedError for a format that torch has no kernels for (GGUF mixes, FP4)."""
    name = canonical_format(format_id)
    if name not in RUNNABLE_FORMATS:
        known = ", ".join(RUNNABLE_FORMATS)
        raise UnsupportedError(f"the torch engine has no kernels for format '{format_id}'; it runs {known}")
    return RUNNABLE_FORMATS[name]
