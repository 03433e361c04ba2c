"""Random blocks against the reference decoder of the `gguf` package."""

from __future__ import annotations

import numpy as np
import pytest

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.formats import StorageType, load_formats
from probes.gguf.blocks import PIECE_BYTES, BlockPool, can_fill
from probes.gguf.header import TYPES
from probes.gguf.synthetic import can_store

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
FILLED = [StorageType(*row) for row in TYPES.values() if can_fill(StorageType(*row))]


@pytest.mark.parametrize("kind", FILLED, ids=lambda kind: kind.id)
def test_values_are_those_of_a_model(kind):
    """Finite, centred, and about as large as weights after initialisation."""
    quant = gguf.GGMLQuantizationType[kind.id.upper()]
    assert gguf.GGML_QUANT_SIZES[quant] == (kind.block_elements, kind.block_bytes)
    raw = np.concatenate(list(BlockPool(kind, 0).pieces(256 * 2048)))
    values = gguf.dequantize(raw.reshape(1, -1), quant)
    assert values.size == 256 * 2048
    assert np.isfinite(values).all()
    assert abs(values.mean()) < 0.003
    assert 0.01 < values.std() < 0.03


def test_pieces_end_at_blocks():
    kind = StorageType("q8_0", 32, 34)
    elements = 3 * PIECE_BYTES
    sizes = [piece.nbytes for piece in BlockPool(kind, 0).pieces(elements)]
    assert sum(sizes) == elements // 32 * 34
    assert all(size % 34 == 0 and size <= PIECE_BYTES for size in sizes)


def test_each_tensor_is_another():
    pool = BlockPool(StorageType("q4_0", 32, 18), 0)
    first, second = (np.concatenate(list(pool.pieces(4096))) for _ in range(2))
    assert (first != second).any()


def test_types_of_forks_are_refused():
    with pytest.raises(UnsupportedError, match="'iq4_kt'"):
        BlockPool(StorageType("iq4_kt", 256, 128), 0)
    formats = load_formats()
    assert not can_store(formats["gguf-iq4_kt"])
    assert not can_store(formats["gguf-ud-iq1_s"])  # known by its size only
    assert not can_store(formats["bf16"])
    assert can_store(formats["gguf-q4_k_m"])
