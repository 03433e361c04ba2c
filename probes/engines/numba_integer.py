"""Products with 8-bit matrices, for probe processes only.

Activations become 16-bit integers with one scale per block of columns: 15 bits of the block's largest value, more than
the 8 bits that bfloat16 keeps of each (with 127 levels: 8-bit activations). Products of 8- and 16-bit integers are one
instruction for 16 of them on every x86 processor since 2013 (vpmaddwd), where floats need a conversion for each weight.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from probes.engines.numba_bits import LINE, kernel, parallel_kernel, prefetch, put, widen
from probes.engines.numba_bytes import RUN, four_rows
from probes.engines.numba_vectors import HAS_AVX2

__all__ = ["BLOCK", "LEVELS_8", "LEVELS_16", "expand8", "product8", "quantise"]

BLOCK = 512  # columns: 512 x 127 x 32767 stays below 2^31
LEVELS_16, LEVELS_8 = 32767, 127


@kernel
def quantise(x, block, levels):  # type: ignore[no-untyped-def]
    """x (rows, inputs) -> integers (rows, inputs) and scales (rows, blocks).

    With 8 bits the blocks of a row share one scale.
    """
    rows, inputs = x.shape
    blocks = (inputs + block - 1) // block
    q = np.empty((rows, inputs), np.int16)
    scales = np.empty((rows, blocks), np.float32)
    for r in range(rows):
        in_row = _largest(x[r]) if levels == LEVELS_8 else np.float32(0)
        for b in range(blocks):
            part, target = x[r, b * block : (b + 1) * block], q[r, b * block : (b + 1) * block]
            largest = in_row if levels == LEVELS_8 else _largest(part)
            scale = largest / np.float32(levels)
            inverse = np.float32(1) / scale if scale > 0 else np.float32(0)
            for j in range(part.shape[0]):
                target[j] = np.int16(np.rint(widen(part[j]) * inverse))
            scales[r, b] = scale
    return q, scales


@kernel
def _largest(values):  # type: ignore[no-untyped-def]
    found = np.float32(0)
    for j in range(values.shape[0]):
        found = max(found, abs(widen(values[j])))
    return found


@kernel
def product8(weight, scale, q, scales, block, bias, near, y):  # type: ignore[no-untyped-def]
    """y (rows, outputs); weight (outputs, inputs) int8 with one scale per output, q and scales from `quantise`.

    `near`: bytes to look ahead.
    """
    if HAS_AVX2 and q.shape[0] == 1 and weight.shape[1] % RUN == 0 and block % RUN == 0:
        four_rows(weight, scale, q[0], scales[0], block, bias, near, y[0])
    else:
        _product8(weight, scale, q, scales, block, bias, near, y)


@parallel_kernel
def _product8(weight, scale, q, scales, block, bias, near, y):  # type: ignore[no-untyped-def]
    rows, blocks, biased = q.shape[0], scales.shape[1], bias.shape[0] > 0
    for i in prange(weight.shape[0]):
        extra = widen(bias[i]) if biased else np.float32(0)
        for r in range(rows):
            total = np.float32(0)
            for b in range(blocks):
                row, part = weight[i, b * block : (b + 1) * block], q[r, b * block : (b + 1) * block]
                for line in range(0, row.shape[0], LINE):
                    prefetch(row, line + near)
                sum_ = np.int32(0)
                for j in range(row.shape[0]):
                    sum_ = np.int32(sum_ + np.int32(row[j]) * np.int32(part[j]))
                total += np.float32(sum_) * scales[r, b]
            put(y[r], i, total * scale[i] + extra)


@parallel_kernel
def expand8(weight, scale, wide):  # type: ignore[no-untyped-def]
    """wide (outputs, inputs) = weight * scale."""
    for i in prange(weight.shape[0]):
        row, target, factor = weight[i], wide[i], scale[i]
        for j in range(weight.shape[1]):
            put(target, j, np.float32(row[j]) * factor)
