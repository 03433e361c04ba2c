"""Random blocks of every GGUF storage type, valid and of a model's usual size: speed and memory do not depend on
values, but activations must stay finite.

Layouts: ggml-org/llama.cpp `ggml/src/ggml-common.h`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.formats import StorageType

__all__ = ["BlockPool", "can_fill"]

WEIGHT_SIZE = 0.02  # standard deviation of the weights of a transformer after initialisation
POOL_BYTES = 2**23
PIECE_BYTES = 2**26
FLOATS = ("f32", "f16", "bf16")

# Half-precision factors in a block: (byte offset, multiple of the unit), and the spread of a value per unit when all
# other bits are random. A second factor shifts the values so that their mean is about zero.
_FACTORS: dict[str, tuple[tuple[tuple[int, float], ...], float]] = {
    "q4_0": (((0, 1.0),), 4.6),
    "q4_1": (((0, 1.0), (2, -7.5)), 4.6),
    "q5_0": (((0, 1.0),), 9.2),
    "q5_1": (((0, 1.0), (2, -15.5)), 9.2),
    "q8_0": (((0, 1.0),), 74.0),
    "q2_k": (((80, 1.0), (82, 1.5)), 15.0),
    "q3_k": (((108, 1.0),), 43.0),
    "q4_k": (((0, 1.0), (2, 7.5)), 250.0),
    "q5_k": (((0, 1.0), (2, 15.5)), 510.0),
    "q6_k": (((208, 1.0),), 1370.0),
    "iq2_xxs": (((0, 1.0),), 45.0),
    "iq2_xs": (((0, 1.0),), 45.0),
    "iq2_s": (((0, 1.0),), 45.0),
    "iq3_xxs": (((0, 1.0),), 120.0),
    "iq3_s": (((0, 1.0),), 150.0),
    "iq1_s": (((0, 1.0),), 8.0),
    "iq4_nl": (((0, 1.0),), 73.0),
    "iq4_xs": (((0, 1.0),), 1350.0),
}
_IQ1_M_SPREAD = 8.0
_MXFP4_EXPONENT = 119  # 2^(119 - 128) times 0 … 12


def can_fill(kind: StorageType) -> bool:
    """Whether this type exists in llama.cpp; those of its fork do not."""
    return kind.id in (*FLOATS, *_FACTORS, "iq1_m", "mxfp4")


class BlockPool:
    """Blocks to cut tensors from; each tensor starts at a block of its own choice."""

    def __init__(self, kind: StorageType, seed: int) -> None:
        if not can_fill(kind):
            raise UnsupportedError(f"llama.cpp has no storage type '{kind.id}'")
        self._kind, self._random = kind, np.random.default_rng(seed)
        self._blocks = _make(kind, POOL_BYTES // int(kind.block_bytes), self._random)

    def pieces(self, elements: int) -> Iterator[NDArray[np.uint8]]:
        """The bytes of a tensor in pieces of at most 64 MiB."""
        width = self._blocks.shape[1]
        left = elements // self._kind.block_elements
        while left > 0:
            start, count = int(self._random.integers(len(self._blocks))), min(left, PIECE_BYTES // width)
            yield np.resize(np.roll(self._blocks, -start, axis=0), count * width)
            left -= count


def _make(kind: StorageType, count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """(blocks, bytes of a block)."""
    if kind.id in FLOATS:
        return _floats(kind.id, random.standard_normal(count, np.float32) * WEIGHT_SIZE)
    blocks = random.integers(0, 256, (count, int(kind.block_bytes)), np.uint8)
    if kind.id == "mxfp4":
        blocks[:, 0] = _MXFP4_EXPONENT
    elif kind.id == "iq1_m":
        _set_iq1_m(blocks)
    else:
        factors, spread = _FACTORS[kind.id]
        for offset, multiple in factors:
            half = np.array([WEIGHT_SIZE / spread * multiple], np.float16).view(np.uint8)
            blocks[:, offset : offset + 2] = half
    return blocks


def _floats(kind: str, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    if kind == "f32":
        return values.view(np.uint8).reshape(-1, 4)
    if kind == "f16":
        return values.astype(np.float16).view(np.uint8).reshape(-1, 2)
    return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(-1, 2)


def _set_iq1_m(blocks: NDArray[np.uint8]) -> None:
    """Its factor is spread over the highest four bits of four 16-bit words of scales, the last 8 bytes."""
    half = int(np.array([WEIGHT_SIZE / _IQ1_M_SPREAD], np.float16).view(np.uint16)[0])
    words = blocks[:, 48:56].copy().view(np.uint16)
    for i in range(4):
        words[:, i] = (words[:, i] & 0x0FFF) | (((half >> (4 * i)) & 0xF) << 12)
    blocks[:, 48:56] = words.view(np.uint8)
