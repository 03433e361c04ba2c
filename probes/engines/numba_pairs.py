"""One row of activations times bfloat16 matrices, four rows of weights at once; for probe processes only.

Sums stay in registers along whole rows: where LLVM vectorises the same loop, it adds up its lanes at every look ahead,
and reads a twentieth slower (Zen 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from probes.engines.numba_bits import LINE, parallel_kernel, put, widen
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

__all__ = ["APART", "RUN_PAIRS", "four_rows_of_pairs"]

ROWS = 4
RUN_PAIRS = LINE // 4  # between two looks ahead
NEAR = 512  # bytes to look ahead
APART = 32  # rows
NO_FLOATS = ir.Constant(FLOATS, [0.0] * (LANES // 4))
SIXTEEN, UPPER = (ir.Constant(WORDS, [n] * (LANES // 4)) for n in (16, -65536))


@parallel_kernel
def four_rows_of_pairs(pairs, even, odd, bias, y):  # type: ignore[no-untyped-def]
    """y (outputs,); pairs (outputs, inputs / 2) of uint32, each with a weight for `even` and one for `odd`
    (inputs / 2,) float32. inputs / 2 is a multiple of RUN_PAIRS. Needs AVX2 and FMA.

    Rows that go together lie APART: next to each other they are no streams of their own, and a quarter of the matrix
    apart they meet in the same banks of memory, by chance of the shape (a third slower with 152,064 x 3,584).
    """
    outputs, biased = pairs.shape[0], bias.shape[0] > 0
    blocks = -(-outputs // (ROWS * APART))
    for index in prange(blocks * APART):
        place, found = np.int64(index), np.empty(ROWS, np.float32)
        first = min(place // APART * ROWS * APART + place % APART, outputs - 1)
        _products(pairs, even, odd, first, np.int64(APART), found)
        for r in range(ROWS):
            i = min(first + r * APART, outputs - 1)
            put(y, i, found[r] + (widen(bias[i]) if biased else np.float32(0)))


@intrinsic
def _products(_context: Any, pairs: Any, even: Any, odd: Any, first: Any, apart: Any, found: Any) -> Any:
    """found (ROWS,) float32 = rows `first`, `first` + `apart`, ... of the matrix times its activations; beyond the last
    row, that one again.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, evens, odds, target = (
            context.make_array(signature.args[n])(context, builder, arguments[n]) for n in (0, 1, 2, 5)
        )
        outputs, columns = cgutils.unpack_tuple(builder, wide.shape, 2)
        size = builder.mul(columns, ir.Constant(LONG, 4))
        rows = row_starts(builder, wide.data, outputs, size, arguments[3], arguments[4], ROWS)
        x = [builder.bitcast(array.data, BYTE.as_pointer()) for array in (evens, odds)]
        start = builder.bitcast(target.data, BYTE.as_pointer())
        for n, total in enumerate(_sums(builder, rows, x, columns)):
            value = add_up(builder, ir.Constant(FLOAT, 0.0), total)
            where = at(builder, start, ir.Constant(LONG, n), 4)
            builder.store(value, builder.bitcast(where, FLOAT.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(pairs, even, odd, first, apart, found), generate


def _sums(builder: Any, rows: list[Any], x: list[Any], columns: Any) -> list[Any]:
    """Eight float32 for each row. Each row has two sums: one alone would wait for the addition before."""
    kind = ir.FunctionType(FLOATS, [FLOATS, FLOATS, FLOATS])
    multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES // 4}f32")
    kept = [[cgutils.alloca_once_value(builder, NO_FLOATS) for _ in x] for _ in rows]
    with cgutils.for_range_slice(builder, ir.Constant(LONG, 0), columns, ir.Constant(LONG, RUN_PAIRS), inc=True) as (
        column,
        _,
    ):
        here, there = ([at(builder, start, column, 4) for start in starts] for starts in (rows, x))
        held = [[builder.load(sum_) for sum_ in sums] for sums in kept]
        for row in here:
            look_ahead(builder, row, NEAR, keep=0)
        for k in range(0, LINE, LANES):
            evens, odds = (vector_at(builder, start, k, FLOATS) for start in there)
            for row, sums in zip(here, held, strict=True):
                both = vector_at(builder, row, k, WORDS)
                low = builder.bitcast(builder.shl(both, SIXTEEN), FLOATS)
                high = builder.bitcast(builder.and_(both, UPPER), FLOATS)
                sums[0] = builder.call(multiply_add, [low, evens, sums[0]])
                sums[1] = builder.call(multiply_add, [high, odds, sums[1]])
        for places, sums in zip(kept, held, strict=True):
            for place, value in zip(places, sums, strict=True):
                builder.store(value, place)
    return [builder.fadd(builder.load(places[0]), builder.load(places[1])) for places in kept]
