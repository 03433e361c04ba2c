"""Products of a few rows by a matrix on a GPU, compiled by Triton: every weight is read once and widened on the way, so
that a step takes as long as its bytes in every format. Importing this module needs triton.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["dot_rows", "expand_nibbles", "finish_rows", "nibble_rows", "quantise_rows", "vector_row"]


@triton.jit
def vector_row(
    x, weight, scale, bias, residual, y, N, K,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, SCALED: tl.constexpr, ROW_SCALED: tl.constexpr, row_scale,
    ROUND_FP8: tl.constexpr, BIASED: tl.constexpr, ADDED: tl.constexpr,
):  # fmt: skip
    """One row: x (K), weight (N, K) -> y (N). `scale` (N) and `row_scale` (1) for 8-bit integers."""
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = n < N
    rows = weight + n.to(tl.int64)[:, None] * K
    total = tl.zeros((BLOCK_N, BLOCK_K), dtype=tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        a = tl.load(x + k, mask=k < K, other=0.0)
        if ROUND_FP8:
            a = a.to(tl.float8e4nv)
        w = tl.load(rows + k[None, :], mask=inside[:, None] & (k < K)[None, :], other=0.0)
        wide = _digits(w.to(tl.int32) + 128) - 8388736.0 if w.dtype == tl.int8 else w.to(tl.float32)
        total += wide * a.to(tl.float32)[None, :]
    found = tl.sum(total, axis=1)
    if SCALED:
        found *= tl.load(scale + n, mask=inside, other=0.0).to(tl.float32)
    if ROW_SCALED:
        found *= tl.load(row_scale)
    if BIASED:
        found += tl.load(bias + n, mask=inside, other=0.0).to(tl.float32)
    if ADDED:
        found += tl.load(residual + n, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + n, found.to(y.dtype.element_ty), mask=inside)


@triton.jit
def dot_rows(
    x, weight, parts, M, N, K, DEPTH,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, INTEGER: tl.constexpr,
    ROUND_FP8: tl.constexpr,
):  # fmt: skip
    """Up to BLOCK_M rows on the matrix units: x (M, K), weight (N, K) -> parts (splits, M, N), each over DEPTH of the
    inputs: with few outputs only several programs for each of them fill the card.
    """
    n, split = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N), tl.program_id(1)
    m = tl.arange(0, BLOCK_M)
    inside, used = n < N, m < M
    columns = weight + n.to(tl.int64)[None, :] * K
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.int32 if INTEGER else tl.float32)
    for first in range(split * DEPTH, tl.minimum(split * DEPTH + DEPTH, K), BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        a = tl.load(x + m[:, None] * K + k[None, :], mask=used[:, None] & (k < K)[None, :], other=0.0)
        w = tl.load(columns + k[:, None], mask=inside[None, :] & (k < K)[:, None], other=0.0)
        if ROUND_FP8:
            a = a.to(tl.float8e4nv)
        if INTEGER:
            total = tl.dot(a, w, total, out_dtype=tl.int32)
        elif ROUND_FP8:
            total = tl.dot(a, w, total)
        else:
            total = tl.dot(a, w.to(a.dtype), total, input_precision="ieee")
    at = (split * M + m)[:, None] * N + n[None, :]
    tl.store(parts + at, total.to(parts.dtype.element_ty), mask=used[:, None] & inside[None, :])


@triton.jit
def finish_rows(
    parts, scale, row_scale, bias, residual, y, M, N, SPLITS: tl.constexpr,
    BLOCK: tl.constexpr, SCALED: tl.constexpr, ROW_SCALED: tl.constexpr, BIASED: tl.constexpr, ADDED: tl.constexpr,
):  # fmt: skip
    """parts (SPLITS, M, N) -> y (M, N): their sum, times `scale` (N) and `row_scale` (M), and what is to be added."""
    row, n = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = n < N
    found = tl.zeros((BLOCK,), dtype=tl.float32)
    for split in tl.static_range(SPLITS):
        found += tl.load(parts + (split * M + row) * N + n, mask=inside, other=0).to(tl.float32)
    if SCALED:
        found *= tl.load(scale + n, mask=inside, other=0.0).to(tl.float32)
    if ROW_SCALED:
        found *= tl.load(row_scale + row)
    if BIASED:
        found += tl.load(bias + n, mask=inside, other=0.0).to(tl.float32)
    if ADDED:
        found += tl.load(residual + row * N + n, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row * N + n, found.to(y.dtype.element_ty), mask=inside)


@triton.jit
def nibble_rows(
    x, weight, grid, bias, residual, y, M, N, K,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, HALF: tl.constexpr, BIASED: tl.constexpr, ADDED: tl.constexpr,
):  # fmt: skip
    """4-bit weights in groups of 2 x HALF: weight (N, groups, HALF) bytes, the low nibbles the first half of the group;
    grid (N, groups, 2) scale and zero. A value is (nibble - 8) x scale + zero.

    Scale and zero are applied to the sums of a group, not to each weight; a nibble becomes a float by being written
    into the digits of one (`_digits`), because converting takes four times as long.
    """
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    m, h = tl.arange(0, BLOCK_M), tl.arange(0, HALF)
    inside, used = n < N, m < M
    groups = K // (2 * HALF)
    rows = weight + n.to(tl.int64)[:, None] * (K // 2) + h[None, :]
    steps = grid + n.to(tl.int64) * (groups * 2)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    single = tl.zeros((BLOCK_N, HALF), dtype=tl.float32)
    for group in range(groups):
        packed = tl.load(rows + group * HALF, mask=inside[:, None], other=0)
        step = tl.load(steps + 2 * group, mask=inside, other=0.0).to(tl.float32)
        zero = tl.load(steps + 2 * group + 1, mask=inside, other=0.0).to(tl.float32)
        low = _digits(packed & 15) - 8388616.0
        high = _digits(packed >> 4) - 8388616.0
        k = group * 2 * HALF + h
        if BLOCK_M == 1:
            first, second = tl.load(x + k).to(tl.float32), tl.load(x + k + HALF).to(tl.float32)
            single += (low * first[None, :] + high * second[None, :]) * step[:, None]
            total += (tl.sum(first + second, axis=0) * zero)[None, :]
        else:
            at = x + m[:, None] * K + k[None, :]
            first = tl.load(at, mask=used[:, None], other=0.0)
            second = tl.load(at + HALF, mask=used[:, None], other=0.0)
            product = tl.dot(first, tl.trans(low.to(first.dtype)))
            product = tl.dot(second, tl.trans(high.to(first.dtype)), product)
            sums = tl.sum(first.to(tl.float32) + second.to(tl.float32), axis=1)
            total += product * step[None, :] + sums[:, None] * zero[None, :]
    if BLOCK_M == 1:
        total += tl.sum(single, axis=1)[None, :]
    if BIASED:
        total += tl.load(bias + n, mask=inside, other=0.0).to(tl.float32)[None, :]
    at, whole = m[:, None] * N + n[None, :], used[:, None] & inside[None, :]
    if ADDED:
        total += tl.load(residual + at, mask=whole, other=0.0).to(tl.float32)
    tl.store(y + at, total.to(y.dtype.element_ty), mask=whole)


@triton.jit
def _digits(value):
    """2^23 + value, for small whole numbers that are not negative."""
    return (value.to(tl.int32) | 0x4B000000).to(tl.float32, bitcast=True)


@triton.jit
def expand_nibbles(weight, grid, y, K, HALF: tl.constexpr, BLOCK: tl.constexpr):
    """The same weights in the type of y (N, K); one program per output and BLOCK groups."""
    n, groups = tl.program_id(0).to(tl.int64), K // (2 * HALF)
    g, h = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, HALF)
    inside = (g < groups)[:, None]
    packed = tl.load(weight + n * (K // 2) + g[:, None] * HALF + h[None, :], mask=inside, other=0)
    step = tl.load(grid + (n * groups + g) * 2, mask=g < groups, other=0.0).to(tl.float32)[:, None]
    zero = tl.load(grid + (n * groups + g) * 2 + 1, mask=g < groups, other=0.0).to(tl.float32)[:, None]
    at = y + n * K + g[:, None] * (2 * HALF) + h[None, :]
    tl.store(at, (((packed & 15).to(tl.float32) - 8.0) * step + zero).to(y.dtype.element_ty), mask=inside)
    tl.store(at + HALF, (((packed >> 4).to(tl.float32) - 8.0) * step + zero).to(y.dtype.element_ty), mask=inside)


@triton.jit
def quantise_rows(x, q, scale, K, BLOCK: tl.constexpr):
    """Each row of x (M, K) to 8 bits with one scale: largest magnitude / 127."""
    row, k = tl.program_id(0), tl.arange(0, BLOCK)
    inside = k < K
    value = tl.load(x + row * K + k, mask=inside, other=0.0).to(tl.float32)
    step = tl.maximum(tl.max(tl.abs(value), axis=0), 1e-8) / 127.0
    ratio = value / step
    nearest = tl.floor(tl.abs(ratio) + 0.5)
    tl.store(q + row * K + k, tl.where(ratio < 0, -nearest, nearest).to(tl.int8), mask=inside)
    tl.store(scale + row, step)
