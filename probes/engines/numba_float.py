"""Products with fp32, bf16 and fp16 matrices for processors on which torch's are slow: weights are read once, in
contiguous blocks of rows per thread, and sums are float32. For probe processes only.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from probes.engines.numba_bits import AHEAD, LINE, float_of_bits, kernel, parallel_kernel, prefetch, put, widen

__all__ = ["expand", "product", "product_pairs", "product_rows"]

PAIRS_IN_LINE = LINE // 4
STRIDE = 4 * PAIRS_IN_LINE  # pairs between two looks ahead
LONG = 3072  # pairs: from here on x as float32 takes more than most of a first cache of 32 KiB


@parallel_kernel
def product(weight, x, bias, y):  # type: ignore[no-untyped-def]
    """y (1, outputs) = weight (outputs, inputs) @ x (1, inputs) + bias (outputs, or empty)."""
    inputs, biased = weight.shape[1], bias.shape[0] > 0
    wide = np.empty(inputs, np.float32)
    for j in range(inputs):
        wide[j] = widen(x[0, j])
    target = y[0]
    for i in prange(weight.shape[0]):
        row, total = weight[i], np.float32(0)
        for j in range(inputs):
            total += widen(row[j]) * wide[j]
        put(target, i, total + widen(bias[i]) if biased else total)


@kernel
def product_pairs(pairs, x, bias, y):  # type: ignore[no-untyped-def]
    """The same for bfloat16 in pairs (outputs, inputs / 2) of uint32: a shift and a mask give two weights, with no
    shuffles.
    """
    half = pairs.shape[1]
    even, odd = np.empty(half, np.float32), np.empty(half, np.float32)
    for j in range(half):
        even[j], odd[j] = widen(x[0, 2 * j]), widen(x[0, 2 * j + 1])
    if half > LONG:
        _pairs_of_rows(pairs, even, odd, bias, y[0])
    else:
        _single_rows(pairs, even, odd, bias, y[0])


@parallel_kernel
def _single_rows(pairs, even, odd, bias, y):  # type: ignore[no-untyped-def]
    half, biased = pairs.shape[1], bias.shape[0] > 0
    whole = half // STRIDE * STRIDE
    for i in prange(pairs.shape[0]):
        row, total = pairs[i], np.float32(0)
        for first in range(0, whole, STRIDE):
            for line in range(0, STRIDE, PAIRS_IN_LINE):
                prefetch(row, first + line + AHEAD // 4)
            total += _stride(row[first : first + STRIDE], even[first : first + STRIDE], odd[first : first + STRIDE])
        for j in range(whole, half):
            total += _low(row[j]) * even[j] + _high(row[j]) * odd[j]
        if biased:
            total += widen(bias[i])
        put(y, i, total)


@parallel_kernel
def _pairs_of_rows(pairs, even, odd, bias, y):  # type: ignore[no-untyped-def]
    """Where x lies outside the first cache, two rows share what is read of it."""
    outputs, half, biased = pairs.shape[0], pairs.shape[1], bias.shape[0] > 0
    whole = half // STRIDE * STRIDE
    for two in prange((outputs + 1) // 2):
        i, k = 2 * two, min(2 * two + 1, outputs - 1)
        row, other = pairs[i], pairs[k]
        total, second = np.float32(0), np.float32(0)
        for first in range(0, whole, STRIDE):
            for line in range(0, STRIDE, PAIRS_IN_LINE):
                prefetch(row, first + line + AHEAD // 4)
                prefetch(other, first + line + AHEAD // 4)
            a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for j in range(first, first + STRIDE):
                a += _low(row[j]) * even[j]
                b += _high(row[j]) * odd[j]
                c += _low(other[j]) * even[j]
                d += _high(other[j]) * odd[j]
            total += a + b
            second += c + d
        for j in range(whole, half):
            total += _low(row[j]) * even[j] + _high(row[j]) * odd[j]
            second += _low(other[j]) * even[j] + _high(other[j]) * odd[j]
        if biased:  # numba loses the second of two `put` whose values are conditional expressions
            total += widen(bias[i])
            second += widen(bias[k])
        put(y, i, total)
        put(y, k, second)


@kernel
def _stride(row, even, odd):  # type: ignore[no-untyped-def]
    first, second = np.float32(0), np.float32(0)
    for j in range(STRIDE):
        first += _low(row[j]) * even[j]
        second += _high(row[j]) * odd[j]
    return first + second


@kernel
def _low(both):  # type: ignore[no-untyped-def]
    return float_of_bits(both << np.uint32(16))


@kernel
def _high(both):  # type: ignore[no-untyped-def]
    return float_of_bits(both & np.uint32(0xFFFF0000))


@parallel_kernel
def product_rows(weight, x, bias, y):  # type: ignore[no-untyped-def]
    """y (rows, outputs) = x (rows, inputs) @ weight^T + bias: each weight is read once from memory for all rows."""
    rows, inputs, biased = x.shape[0], weight.shape[1], bias.shape[0] > 0
    padded = (rows + 3) // 4 * 4
    wide = np.zeros((padded, inputs), np.float32)
    for r in range(rows):
        for j in range(inputs):
            wide[r, j] = widen(x[r, j])
    for i in prange(weight.shape[0]):
        row, extra = weight[i], widen(bias[i]) if biased else np.float32(0)
        for group in range(padded // 4):
            x0, x1, x2, x3 = wide[4 * group], wide[4 * group + 1], wide[4 * group + 2], wide[4 * group + 3]
            t0, t1, t2, t3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for j in range(inputs):
                value = widen(row[j])
                t0 += value * x0[j]
                t1 += value * x1[j]
                t2 += value * x2[j]
                t3 += value * x3[j]
            totals = (t0, t1, t2, t3)
            for r in range(min(4, rows - 4 * group)):
                put(y[4 * group + r], i, totals[r] + extra)


@parallel_kernel
def expand(weight, wide):  # type: ignore[no-untyped-def]
    """wide (outputs, inputs) float32 = weight."""
    for i in prange(weight.shape[0]):
        row, target = weight[i], wide[i]
        for j in range(weight.shape[1]):
            target[j] = widen(row[j])
