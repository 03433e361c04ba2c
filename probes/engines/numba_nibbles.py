"""Products with 4-bit matrices, for probe processes only.

Activations become 8-bit integers with one scale per group of weights, which is what llama.cpp does on processors too.
Groups of 128 are multiplied as vectors of bytes: an unsigned nibble times a signed byte is at most 15 x 127, so 16 such
products fit into the 16 bits of one lane, and x86 multiplies and adds 32 of them with one instruction (pmaddubsw).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from probes.engines.numba_bits import kernel, parallel_kernel, put, widen
from probes.engines.numba_shares import claim, none_taken, parts_of
from probes.engines.numba_vectors import (
    BYTE,
    FLOAT,
    FLOATS,
    HAS_AVX2,
    LANES,
    SHORT,
    SHORTS,
    WORD,
    WORDS,
    add_up,
    at,
    everywhere,
    float_at,
    look_ahead,
    multiply_pairs,
    vector_at,
)

__all__ = ["expand4", "product4", "quantise_groups"]

LEVELS = 127
HALF = 64  # bytes that hold a usual group of 128 weights
BYTES = ir.VectorType(BYTE, LANES)
KEEP = 2  # in the second-level cache


@kernel
def quantise_groups(x, group):  # type: ignore[no-untyped-def]
    """x (rows, inputs) -> int8 (rows, inputs); float32 (rows, groups): the scales, and scale x sum of the integers."""
    rows, inputs = x.shape
    groups = inputs // group
    q = np.empty((rows, inputs), np.int8)
    scales, sums = np.empty((rows, groups), np.float32), np.empty((rows, groups), np.float32)
    for r in range(rows):
        for g in range(groups):
            part, target = x[r, g * group : (g + 1) * group], q[r, g * group : (g + 1) * group]
            largest = np.float32(0)
            for j in range(group):
                largest = max(largest, abs(widen(part[j])))
            scale = largest / np.float32(LEVELS)
            inverse = np.float32(1) / scale if scale > 0 else np.float32(0)
            total = np.int32(0)
            for j in range(group):
                target[j] = np.int8(np.rint(widen(part[j]) * inverse))
                total += np.int32(target[j])
            scales[r, g], sums[r, g] = scale, scale * np.float32(total)
    return q, scales, sums


@kernel
def product4(packed, grid, q, scales, sums, bias, near, y):  # type: ignore[no-untyped-def]
    """y (rows, outputs); packed (outputs, groups, group / 2) uint8: the low nibbles are the first half of the group.

    A weight is (nibble - 8) * grid[output, group, 0] + grid[output, group, 1], the grid in bfloat16; q, scales, sums
    from `quantise_groups`. `near`: bytes to look ahead.
    """
    if packed.shape[2] == HALF:
        _groups_of_128(packed, grid, q, scales, sums, bias, near, y)
    else:
        _groups(packed, grid, q, scales, sums, bias, y)


@parallel_kernel
def _groups_of_128(packed, grid, q, scales, sums, bias, near, y):  # type: ignore[no-untyped-def]
    counters = none_taken()
    for part in prange(parts_of(counters)):
        _share(packed, grid, q, scales, sums, bias, np.int64(near), y, counters, np.int64(part))


@kernel
def _share(packed, grid, q, scales, sums, bias, near, y, counters, part):  # type: ignore[no-untyped-def]
    """What one thread does of a product."""
    outputs, biased, row_bytes = packed.shape[0], bias.shape[0] > 0, packed.shape[1] * (HALF + 4)
    at, end = claim(counters, part, outputs, row_bytes)
    while at < end:
        for i in range(at, end):
            extra = widen(bias[i]) if biased else np.float32(0)
            for r in range(q.shape[0]):
                put(y[r], i, _row(packed[i], grid[i], q[r], scales[r], sums[r], near) + extra)
        at, end = claim(counters, part, outputs, row_bytes)


@parallel_kernel
def _groups(packed, grid, q, scales, sums, bias, y):  # type: ignore[no-untyped-def]
    rows, groups, half, biased = q.shape[0], packed.shape[1], packed.shape[2], bias.shape[0] > 0
    for i in prange(packed.shape[0]):
        extra = widen(bias[i]) if biased else np.float32(0)
        for r in range(rows):
            total = np.float32(0)
            for g in range(groups):
                row = packed[i, g]
                low, high = q[r, 2 * g * half : (2 * g + 1) * half], q[r, (2 * g + 1) * half : (2 * g + 2) * half]
                sum_ = np.int32(0)
                for j in range(half):
                    both = np.int32(row[j])
                    sum_ = np.int32(sum_ + (both & 15) * np.int32(low[j]) + (both >> 4) * np.int32(high[j]))
                step, zero = widen(grid[i, g, 0]), widen(grid[i, g, 1])
                zero -= np.float32(8) * step
                total += scales[r, g] * step * np.float32(sum_) + zero * sums[r, g]
            put(y[r], i, total + extra)


@intrinsic
def _row(_context: Any, packed: Any, grid: Any, q: Any, scales: Any, sums: Any, near: Any) -> Any:
    """float32 product of one row: packed (groups, 64), grid (groups, 2) uint16, q (groups x 128,), scales, sums
    (groups,).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *given, distance = arguments
        arrays = [context.make_array(k)(context, builder, v) for k, v in zip(signature.args[:-1], given, strict=True)]
        weights, steps, inputs, factors, offsets = (builder.bitcast(a.data, BYTE.as_pointer()) for a in arrays)
        groups = cgutils.unpack_tuple(builder, arrays[0].shape, 2)[0]
        products = cgutils.alloca_once_value(builder, ir.Constant(FLOATS, [0.0] * (LANES // 4)))
        rest = cgutils.alloca_once_value(builder, ir.Constant(FLOAT, 0.0))
        with cgutils.for_range(builder, groups) as loop:
            g = loop.index
            look_ahead(builder, at(builder, weights, g, HALF), distance, KEEP)
            summed = _group(builder, at(builder, weights, g, HALF), at(builder, inputs, g, 2 * HALF))
            pair = builder.load(builder.bitcast(at(builder, steps, g, 4), WORD.as_pointer()), align=2)
            step = builder.bitcast(builder.shl(pair, ir.Constant(WORD, 16)), FLOAT)
            zero = builder.bitcast(builder.and_(pair, ir.Constant(WORD, 0xFFFF0000)), FLOAT)
            zero = builder.fsub(zero, builder.fmul(step, ir.Constant(FLOAT, 8.0)))
            factor, offset = (float_at(builder, at(builder, start, g, 4)) for start in (factors, offsets))
            scale = everywhere(builder, builder.fmul(step, factor))
            term = builder.fmul(builder.sitofp(summed, FLOATS), scale)
            builder.store(builder.fadd(builder.load(products), term), products)
            builder.store(builder.fadd(builder.load(rest), builder.fmul(zero, offset)), rest)
        return add_up(builder, builder.load(rest), builder.load(products))

    return types.float32(packed, grid, q, scales, sums, near), generate


def _group(builder: Any, weights: Any, inputs: Any) -> Any:
    """Eight partial sums, int32, of 64 bytes of nibbles times 128 activations: low nibbles first."""
    both = [vector_at(builder, weights, first, BYTES) for first in range(0, HALF, LANES)]
    low = [builder.and_(b, ir.Constant(BYTES, [15] * LANES)) for b in both]
    high = [builder.lshr(b, ir.Constant(BYTES, [4] * LANES)) for b in both]
    total = None
    for index, nibbles in enumerate((*low, *high)):
        part = _pairs(builder, nibbles, vector_at(builder, inputs, index * LANES, BYTES))
        total = part if total is None else builder.add(total, part)
    return _widened(builder, total)


def _widened(builder: Any, sums: Any) -> Any:
    """int32: sums[2k] + sums[2k + 1]."""
    if HAS_AVX2:
        return multiply_pairs(builder, sums, ir.Constant(SHORTS, [1] * (LANES // 2)))
    even, odd = (builder.sext(half, WORDS) for half in _halves(builder, sums))
    return builder.add(even, odd)


def _pairs(builder: Any, nibbles: Any, factors: Any) -> Any:
    """int16: nibbles[2k] * factors[2k] + nibbles[2k + 1] * factors[2k + 1]."""
    if HAS_AVX2:
        kind = ir.FunctionType(SHORTS, [BYTES, BYTES])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.ub.sw")
        return builder.call(call, [nibbles, factors])
    wide = ir.VectorType(SHORT, LANES)
    products = builder.mul(builder.zext(nibbles, wide), builder.sext(factors, wide))
    even, odd = _halves(builder, products)
    return builder.add(even, odd)


def _halves(builder: Any, vector: Any) -> tuple[Any, Any]:
    """Its even and its odd elements."""
    size = vector.type.count
    masks = (ir.Constant(ir.VectorType(WORD, size // 2), list(range(first, size, 2))) for first in (0, 1))
    even, odd = (builder.shuffle_vector(vector, vector, mask) for mask in masks)
    return even, odd


@parallel_kernel
def expand4(packed, grid, wide):  # type: ignore[no-untyped-def]
    """wide (outputs, inputs) = the weights of `product4`."""
    half = packed.shape[2]
    for i in prange(packed.shape[0]):
        for g in range(packed.shape[1]):
            row, step, zero = packed[i, g], widen(grid[i, g, 0]), widen(grid[i, g, 1])
            zero -= np.float32(8) * step
            low = wide[i, 2 * g * half : (2 * g + 1) * half]
            high = wide[i, (2 * g + 1) * half : (2 * g + 2) * half]
            for j in range(half):
                put(low, j, np.float32(row[j] & 15) * step + zero)
                put(high, j, np.float32(row[j] >> 4) * step + zero)
