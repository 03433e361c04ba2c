"""Sizes of the working memory of the embedded engine; apart from the engine, so that asking needs no torch."""

from __future__ import annotations

__all__ = ["BLOCK_ELEMENTS", "POOL_ELEMENTS"]

BLOCK_ELEMENTS = 1 << 21  # of expanded weights: 8 MiB of float32, however large the matrix
POOL_ELEMENTS = (1 << 22) + 12_289  # random numbers; no power of two, so repeats do not line up with rows
