"""One token through all dense layers in one compiled call; for probe processes only.

Weights stream through all caches, so between two products Python, torch and numpy start cold: in a model of 1.5 billion
parameters the small calls take a sixth of a step, and one call for each layer still a thirtieth. This puts all behind
one.
"""

from __future__ import annotations

import numpy as np
from numba import prange, types
from numba.extending import overload

from probes.engines.numba_attention import CHUNK, attend, exponential, normalise, place
from probes.engines.numba_bits import array_at, kernel, parallel_kernel, put, ticks, widen
from probes.engines.numba_float import product, product_pairs
from probes.engines.numba_integer import product8, quantise
from probes.engines.numba_nibbles import product4, quantise_groups

__all__ = ["ADDRESSES", "layers_step"]

ADDRESSES = 17  # of a layer: two norms, four matrices of three arrays each, norms of heads, keys, values


def multiply(matrix, x, y):  # type: ignore[no-untyped-def]
    """y (1, outputs) = matrix x (1, inputs). By the types of `matrix`: (weights, bias, near), where uint32 are pairs of
    bfloat16; (int8 weights, scales, block, levels, bias, near); (packed, grid, group, bias, near). `near`: bytes to
    look ahead.
    """
    raise NotImplementedError("only inside compiled code")


@overload(multiply)
def _multiply(matrix, x, y):  # type: ignore[no-untyped-def]  # noqa: ARG001 (names as in `multiply`)
    weight = matrix[0].dtype
    if weight == types.uint32:
        return _multiply_pairs
    if weight == types.int8:
        return _multiply_int8
    return _multiply_int4 if weight == types.uint8 else _multiply_float


def _multiply_float(matrix, x, y):  # type: ignore[no-untyped-def]
    product(matrix[0], x, matrix[1], matrix[2], y)


def _multiply_pairs(matrix, x, y):  # type: ignore[no-untyped-def]
    product_pairs(matrix[0], x, matrix[1], matrix[2], y)


def _multiply_int8(matrix, x, y):  # type: ignore[no-untyped-def]
    q, scales = quantise(x, matrix[2], matrix[3])
    product8(matrix[0], matrix[1], q, scales, matrix[2], matrix[4], matrix[5], y)


def _multiply_int4(matrix, x, y):  # type: ignore[no-untyped-def]
    q, scales, sums = quantise_groups(x, matrix[2])
    product4(matrix[0], matrix[1], q, scales, sums, matrix[3], matrix[4], y)


@kernel
def timed(matrix, x, y, spent):  # type: ignore[no-untyped-def]
    """`multiply`, and its ticks on top of spent[0]."""
    begun = ticks()
    multiply(matrix, x, y)
    spent[0] += ticks() - begun


def moved(matrix, row, first):  # type: ignore[no-untyped-def]
    """`matrix`, as `multiply` takes it, of the layer whose arrays begin at the addresses `row`[first:]."""
    raise NotImplementedError("only inside compiled code")


@overload(moved)
def _moved(matrix, row, first):  # type: ignore[no-untyped-def]  # noqa: ARG001 (names as in `moved`)
    if matrix[0].dtype == types.int8:
        return _moved_int8
    return _moved_int4 if matrix[0].dtype == types.uint8 else _moved_float


def _moved_float(matrix, row, first):  # type: ignore[no-untyped-def]
    return array_at(matrix[0], row[first]), array_at(matrix[1], row[first + 1]), matrix[2]


def _moved_int8(matrix, row, first):  # type: ignore[no-untyped-def]
    weights, scales, bias = matrix[0], matrix[1], matrix[4]
    here = array_at(weights, row[first]), array_at(scales, row[first + 1]), array_at(bias, row[first + 2])
    return here[0], here[1], matrix[2], matrix[3], here[2], matrix[5]


def _moved_int4(matrix, row, first):  # type: ignore[no-untyped-def]
    packed, grid, bias = matrix[0], matrix[1], matrix[3]
    here = array_at(packed, row[first]), array_at(grid, row[first + 1]), array_at(bias, row[first + 2])
    return here[0], here[1], matrix[2], here[2], matrix[4]


@kernel
def layers_step(x, table, norms, epsilon, matrices, head_norms, rope, slots, lengths, caches, y, spent):  # type: ignore[no-untyped-def]
    """y (1, hidden) = x through one layer after the other.

    spent (2,) int64: ticks in the products and ticks in all are added.

    table (layers, ADDRESSES) int64: where each layer's arrays are. The arrays given, as `layer_step` takes them, are
    those of any one layer: the others have the same types and shapes.
    """
    begun = ticks()
    given, found = x.copy(), np.empty_like(x)
    for layer in range(table.shape[0]):
        row = table[layer]
        layer_step(
            given,
            (array_at(norms[0], row[0]), array_at(norms[1], row[1])),
            epsilon,
            (moved(matrices[0], row, 2), moved(matrices[1], row, 5), moved(matrices[2], row, 8),
             moved(matrices[3], row, 11)),
            array_at(head_norms, row[14]),
            rope, slots, lengths,
            (array_at(caches[0], row[15]), array_at(caches[1], row[16])),
            found, spent,
        )  # fmt: skip
        given, found = found, given
    y[:] = given
    spent[1] += ticks() - begun


@kernel
def layer_step(x, norms, epsilon, matrices, head_norms, rope, slots, lengths, caches, y, spent):  # type: ignore[no-untyped-def]
    """y (1, hidden) = x + attention, and the feed-forward on top of that.

    norms: two of (hidden,). matrices: query-key-value, out, gate-up, down, as `multiply` takes them. head_norms
    (2 or 0, dimension). rope: two of (tokens, dimension). caches: keys and values (slots, kv heads, tokens, dimension).
    """
    keys, values = caches[0], caches[1]
    plain, normal = np.empty_like(x), np.empty_like(x)
    normalise(x, norms[0], epsilon, normal)
    attended = _attention(normal, epsilon, matrices[0], head_norms, rope, slots, lengths, keys, values, spent)
    timed(matrices[1], attended, plain, spent)
    _add(x, plain, y)
    normalise(y, norms[1], epsilon, normal)
    wide = np.empty((1, matrices[2][0].shape[0]), x.dtype)
    timed(matrices[2], normal, wide, spent)
    gated = np.empty((1, wide.shape[1] // 2), x.dtype)
    _gate(wide, gated)
    timed(matrices[3], gated, plain, spent)
    _add(y, plain, y)


@kernel
def _attention(x, epsilon, matrix, head_norms, rope, slots, lengths, keys, values, spent):  # type: ignore[no-untyped-def]
    """(1, heads x dimension) before the output matrix."""
    kv_heads, dim = keys.shape[1], keys.shape[3]
    mixed = np.empty((1, matrix[0].shape[0]), x.dtype)
    timed(matrix, x, mixed, spent)
    heads = mixed.shape[1] // dim - 2 * kv_heads
    q, attended = np.empty((1, heads, dim), x.dtype), np.empty((1, heads, dim), x.dtype)
    at = lengths[0]
    place(
        mixed, head_norms, epsilon, rope[0][at : at + 1], rope[1][at : at + 1], slots, lengths, q, keys, values
    )
    group, tasks = heads // kv_heads, kv_heads * (at // CHUNK + 1)
    tops, sums = np.zeros((tasks, group), np.float32), np.zeros((tasks, group), np.float32)
    parts = np.zeros((tasks, group, dim), np.float32)
    attend(q, keys, values, slots, lengths, tops, sums, parts, attended)
    return attended.reshape(1, heads * dim)


@kernel
def _add(x, change, y):  # type: ignore[no-untyped-def]
    first, second, target = x[0], change[0], y[0]
    for j in range(target.shape[0]):
        put(target, j, widen(first[j]) + widen(second[j]))


@parallel_kernel
def _gate(wide, y):  # type: ignore[no-untyped-def]
    """y (1, width) = silu(first half) * second half of wide (1, 2 x width)."""
    row, target, width = wide[0], y[0], y.shape[1]
    for j in prange(width):
        gate = widen(row[j])
        small = exponential(-abs(gate))
        sigmoid = (np.float32(1) if gate >= 0 else small) / (np.float32(1) + small)
        put(target, j, gate * sigmoid * widen(row[width + j]))
