"""One row of activations times matrices of float32 or bfloat16, four rows of weights at once; for probe processes only.

Sums stay in registers along whole rows: where LLVM vectorises the same loop, it adds up its lanes at every look ahead,
and reads a twentieth slower (Zen 1 and Zen 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from probes.engines.numba_bits import LINE, kernel, parallel_kernel, put, widen
from probes.engines.numba_shares import claim, none_taken, parts_of
from probes.engines.numba_vectors import (
    BYTE,
    FLOAT,
    FLOATS,
    LANES,
    LONG,
    WORDS,
    add_up,
    at,
    look_ahead,
    row_starts,
    vector_at,
)

__all__ = ["APART", "RUN", "four_rows_of_floats", "four_rows_of_pairs"]

ROWS = 4
RUN = LINE // 4  # elements between two looks ahead
APART = 32  # rows
FOUND = types.UniTuple(types.float32, ROWS)  # returned as values: four rows are soon read, and an array takes time
NO_FLOATS = ir.Constant(FLOATS, [0.0] * (LANES // 4))
SIXTEEN, UPPER = (ir.Constant(WORDS, [n] * (LANES // 4)) for n in (16, -65536))
Terms = Callable[[Any, Any, list[Any], int], list[tuple[Any, Any]]]


@parallel_kernel
def four_rows_of_floats(weight, x, bias, near, y):  # type: ignore[no-untyped-def]
    """y (outputs,) = weight (outputs, inputs) @ x (inputs,) + bias (outputs, or empty), all float32.

    `near`: bytes to look ahead. `inputs` is a multiple of RUN. Needs AVX2 and FMA.
    """
    counters = none_taken()
    for part in prange(parts_of(counters)):
        _share(weight, (x,), bias, np.int64(near), y, counters, np.int64(part))


@parallel_kernel
def four_rows_of_pairs(pairs, even, odd, bias, near, y):  # type: ignore[no-untyped-def]
    """The same for pairs (outputs, inputs / 2) of uint32, each with a bfloat16 for `even` and one for `odd`
    (inputs / 2,) float32. inputs / 2 is a multiple of RUN.
    """
    counters = none_taken()
    for part in prange(parts_of(counters)):
        _share(pairs, (even, odd), bias, np.int64(near), y, counters, np.int64(part))


@kernel
def _share(weight, x, bias, near, y, counters, part):  # type: ignore[no-untyped-def]
    """What one thread does of a product.

    Rows that go together lie APART: next to each other they are no streams of their own, and a quarter of the matrix
    apart they meet in the same banks of memory, by chance of the shape (a third slower with 152,064 x 3,584).
    """
    outputs, inputs = weight.shape
    places, biased = -(-outputs // (ROWS * APART)) * APART, bias.shape[0] > 0
    at, end = claim(counters, part, places, ROWS * 4 * inputs)
    while at < end:
        for place in range(at, end):
            first = min(place // APART * ROWS * APART + place % APART, outputs - 1)
            found = _rows(weight, x, first, np.int64(APART), near)
            for r in range(ROWS):
                i = min(first + r * APART, outputs - 1)
                put(y, i, found[r] + (widen(bias[i]) if biased else np.float32(0)))
        at, end = claim(counters, part, places, ROWS * 4 * inputs)


@intrinsic
def _rows(_context: Any, weight: Any, x: Any, first: Any, apart: Any, near: Any) -> Any:
    """ROWS float32: rows `first`, `first` + `apart`, ... of the matrix times its activations; beyond the last row, that
    one again.
    """
    terms = _floats if weight.dtype == types.float32 else _pairs

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = context.make_array(signature.args[0])(context, builder, arguments[0])
        given = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[1], cgutils.unpack_tuple(builder, arguments[1]), strict=True)
        ]
        outputs, columns = cgutils.unpack_tuple(builder, wide.shape, 2)
        size = builder.mul(columns, ir.Constant(LONG, 4))
        rows = row_starts(builder, wide.data, outputs, size, arguments[2], arguments[3], ROWS)
        starts = [builder.bitcast(array.data, BYTE.as_pointer()) for array in given]
        totals = _sums(builder, rows, starts, columns, arguments[4], terms)
        found = [add_up(builder, ir.Constant(FLOAT, 0.0), total) for total in totals]
        return context.make_tuple(builder, signature.return_type, found)

    return FOUND(weight, x, first, apart, near), generate


def _sums(builder: Any, rows: list[Any], x: list[Any], columns: Any, near: Any, terms: Terms) -> list[Any]:
    """Eight float32 for each row. Each row has two sums: one alone would wait for the addition before."""
    kind = ir.FunctionType(FLOATS, [FLOATS, FLOATS, FLOATS])
    multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES // 4}f32")
    kept = [[cgutils.alloca_once_value(builder, NO_FLOATS) for _ in range(2)] for _ in rows]
    with cgutils.for_range_slice(builder, ir.Constant(LONG, 0), columns, ir.Constant(LONG, RUN), inc=True) as (
        column,
        _,
    ):
        here, there = ([at(builder, start, column, 4) for start in starts] for starts in (rows, x))
        held = [[builder.load(sum_) for sum_ in sums] for sums in kept]
        for row in here:
            look_ahead(builder, row, near, keep=0)
        for row, sums in zip(here, held, strict=True):
            for n, (weights, factors) in enumerate(terms(builder, row, there, LINE)):
                sums[n % 2] = builder.call(multiply_add, [weights, factors, sums[n % 2]])
        for places, sums in zip(kept, held, strict=True):
            for place, value in zip(places, sums, strict=True):
                builder.store(value, place)
    return [builder.fadd(builder.load(places[0]), builder.load(places[1])) for places in kept]


def _floats(builder: Any, row: Any, x: list[Any], size: int) -> list[tuple[Any, Any]]:
    """Vectors of weights, and those of activations to multiply them with, of `size` bytes of a row."""
    return [
        (vector_at(builder, row, k, FLOATS), vector_at(builder, x[0], k, FLOATS)) for k in range(0, size, LANES)
    ]


def _pairs(builder: Any, row: Any, x: list[Any], size: int) -> list[tuple[Any, Any]]:
    """A shift and a mask make two weights of a pair, with no shuffles."""
    found = []
    for k in range(0, size, LANES):
        both = vector_at(builder, row, k, WORDS)
        low = builder.bitcast(builder.shl(both, SIXTEEN), FLOATS)
        high = builder.bitcast(builder.and_(both, UPPER), FLOATS)
        found += [(low, vector_at(builder, x[0], k, FLOATS)), (high, vector_at(builder, x[1], k, FLOATS))]
    return found
