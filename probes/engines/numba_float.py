"""Products with fp32, bf16 and fp16 matrices for processors on which torch's are slow: weights are read once, in
contiguous blocks of rows per thread, and sums are float32. For probe processes only.
"""

from __future__ import annotations

import numpy as np
from numba import prange, types
from numba.extending import overload

from probes.engines.numba_bits import LINE, float_of_bits, kernel, parallel_kernel, prefetch, put, widen
from probes.engines.numba_rows import APART, RUN, four_rows_of_floats, four_rows_of_pairs
from probes.engines.numba_vectors import HAS_AVX2

__all__ = ["expand", "product", "product_pairs", "product_rows", "product_two"]

PAIRS_IN_LINE = LINE // 4
LOOK, LOOK_PAIRS = 32, 64  # elements of each row between two looks ahead


@kernel
def product(weight, x, bias, near, y):  # type: ignore[no-untyped-def]
    """y (1, outputs) = weight (outputs, inputs) @ x (1, inputs) + bias (outputs, or empty); `near`: bytes to look
    ahead.
    """
    wide = np.empty(x.shape[1], np.float32)
    for j in range(wide.shape[0]):
        wide[j] = widen(x[0, j])
    _by_type(weight, wide, bias, near, y[0])


def _by_type(weight, wide, bias, near, y):  # type: ignore[no-untyped-def]
    raise NotImplementedError("only inside compiled code")


@overload(_by_type)
def _for_type(weight, wide, bias, near, y):  # type: ignore[no-untyped-def]  # noqa: ARG001 (names as in `_by_type`)
    return _of_floats if weight.dtype == types.float32 and HAS_AVX2 else _two_rows_of_any


def _of_floats(weight, wide, bias, near, y):  # type: ignore[no-untyped-def]
    if weight.shape[1] % RUN == 0:
        four_rows_of_floats(weight, wide, bias, near, y)
    else:
        _two_rows(weight, wide, bias, near, y)


def _two_rows_of_any(weight, wide, bias, near, y):  # type: ignore[no-untyped-def]
    _two_rows(weight, wide, bias, near, y)


@parallel_kernel
def _two_rows(weight, wide, bias, near, target):  # type: ignore[no-untyped-def]
    """For other types, processors and any width. Each thread walks along two rows far apart at once: memory then has
    more to do at the same time than along one, and what is read of x serves both.
    """
    outputs, inputs = weight.shape
    half, whole, biased = (outputs + 1) // 2, inputs // LOOK * LOOK, bias.shape[0] > 0
    in_line, ahead = LINE // weight.itemsize, near // weight.itemsize
    for index in prange(half):
        i = np.int64(index)
        k = min(i + half, outputs - 1)
        first, second, total, other = weight[i], weight[k], np.float32(0), np.float32(0)
        for start in range(0, whole, LOOK):
            for line in range(start + ahead, start + LOOK + ahead, in_line):
                prefetch(first, line)
                prefetch(second, line)
            a, b = np.float32(0), np.float32(0)
            for j in range(start, start + LOOK):
                a += widen(first[j]) * wide[j]
                b += widen(second[j]) * wide[j]
            total += a
            other += b
        for j in range(whole, inputs):
            total += widen(first[j]) * wide[j]
            other += widen(second[j]) * wide[j]
        _store(target, (i, k), (total, other), bias, biased)


@kernel
def product_pairs(pairs, x, bias, near, y):  # type: ignore[no-untyped-def]
    """The same for bfloat16 in pairs (outputs, inputs / 2) of uint32."""
    half = pairs.shape[1]
    even, odd = np.empty(half, np.float32), np.empty(half, np.float32)
    for j in range(half):
        even[j], odd[j] = widen(x[0, 2 * j]), widen(x[0, 2 * j + 1])
    if HAS_AVX2 and half % RUN == 0:
        four_rows_of_pairs(pairs, even, odd, bias, near, y[0])
    else:
        _four_rows(pairs, even, odd, bias, near, y[0])


@parallel_kernel
def _four_rows(pairs, even, odd, bias, near, y):  # type: ignore[no-untyped-def]
    """As `four_rows_of_pairs` walks, for other processors and any width."""
    outputs, half = pairs.shape
    ahead = near // pairs.itemsize
    blocks, whole, biased = -(-outputs // (4 * APART)), half // LOOK_PAIRS * LOOK_PAIRS, bias.shape[0] > 0
    for index in prange(blocks * APART):
        i, k, m, n = _four(np.int64(index), outputs - 1)
        first, second, third, fourth = pairs[i], pairs[k], pairs[m], pairs[n]
        t0, t1, t2, t3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for start in range(0, whole, LOOK_PAIRS):
            for line in range(start + ahead, start + LOOK_PAIRS + ahead, PAIRS_IN_LINE):
                prefetch(first, line)
                prefetch(second, line)
                prefetch(third, line)
                prefetch(fourth, line)
            a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for j in range(start, start + LOOK_PAIRS):
                a += _low(first[j]) * even[j] + _high(first[j]) * odd[j]
                b += _low(second[j]) * even[j] + _high(second[j]) * odd[j]
                c += _low(third[j]) * even[j] + _high(third[j]) * odd[j]
                d += _low(fourth[j]) * even[j] + _high(fourth[j]) * odd[j]
            t0, t1, t2, t3 = t0 + a, t1 + b, t2 + c, t3 + d
        for j in range(whole, half):
            t0 += _low(first[j]) * even[j] + _high(first[j]) * odd[j]
            t1 += _low(second[j]) * even[j] + _high(second[j]) * odd[j]
            t2 += _low(third[j]) * even[j] + _high(third[j]) * odd[j]
            t3 += _low(fourth[j]) * even[j] + _high(fourth[j]) * odd[j]
        _store(y, (i, k, m, n), (t0, t1, t2, t3), bias, biased)


@kernel
def _four(index, last):  # type: ignore[no-untyped-def]
    """Rows of the four that are `index`-th; beyond the last one, that one again."""
    i = index // APART * 4 * APART + index % APART
    return min(i, last), min(i + APART, last), min(i + 2 * APART, last), min(i + 3 * APART, last)


@kernel
def _store(target, rows, totals, bias, biased):  # type: ignore[no-untyped-def]
    for place in range(len(rows)):
        value = totals[place]
        if biased:
            value += widen(bias[rows[place]])
        put(target, rows[place], value)


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
def product_two(weight, x, bias, y):  # type: ignore[no-untyped-def]
    """The same for two rows, in two thirds of the time of four: two rows of weights at once keep the sums busy."""
    outputs, inputs = weight.shape
    wide, half, biased = np.empty((2, inputs), np.float32), (outputs + 1) // 2, bias.shape[0] > 0
    for j in range(inputs):
        wide[0, j], wide[1, j] = widen(x[0, j]), widen(x[1, j])
    for index in prange(half):
        i = np.int64(index)
        k, total = min(i + half, outputs - 1), np.empty(4, np.float32)
        _two_by_two(weight[i], weight[k], wide, total)
        for place in range(4):
            row, value = k if place // 2 else i, total[place]
            if biased:
                value += widen(bias[row])
            put(y[place % 2], row, value)


@kernel
def _two_by_two(first, second, x, total):  # type: ignore[no-untyped-def]
    """total (4,) = two rows of weights, each times both of x (2, inputs)."""
    x0, x1 = x[0], x[1]
    s0, s1, t0, t1 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for j in range(x.shape[1]):
        a, b = widen(first[j]), widen(second[j])
        s0 += a * x0[j]
        s1 += a * x1[j]
        t0 += b * x0[j]
        t1 += b * x1[j]
    total[0], total[1], total[2], total[3] = s0, s1, t0, t1


@parallel_kernel
def expand(weight, wide):  # type: ignore[no-untyped-def]
    """wide (outputs, inputs) float32 = weight."""
    for i in prange(weight.shape[0]):
        row, target = weight[i], wide[i]
        for j in range(weight.shape[1]):
            target[j] = widen(row[j])
