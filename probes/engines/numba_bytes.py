"""One row of activations times 8-bit matrices, four rows of weights at once; for probe processes only.

On a Zen 1 walking along four rows far apart reads a matrix a tenth faster than along one: what is read of the
activations serves all four, and memory has more to do at the same time.
"""

from __future__ import annotations

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
    SHORTS,
    WORDS,
    add_up,
    at,
    everywhere,
    float_at,
    least,
    look_ahead,
    multiply_pairs,
    row_starts,
    vector_at,
)

__all__ = ["RUN", "four_rows"]

ROWS = 4
RUN = LINE  # columns between two looks ahead
SIXTEEN = LANES // 2
WEIGHTS = ir.VectorType(BYTE, SIXTEEN)
NO_WORDS, NO_FLOATS = ir.Constant(WORDS, [0] * (LANES // 4)), ir.Constant(FLOATS, [0.0] * (LANES // 4))


@parallel_kernel
def four_rows(weight, scale, q, scales, block, bias, near, y):  # type: ignore[no-untyped-def]
    """y (outputs,); weight (outputs, inputs) int8 with one scale per output, q (inputs,) int16, scales (blocks,).

    `near`: bytes to look ahead. `inputs` and `block` are multiples of RUN. Needs AVX2.
    """
    counters = none_taken()
    for part in prange(parts_of(counters)):
        _share(weight, scale, q, scales, np.int64(block), bias, np.int64(near), y, counters, np.int64(part))


@kernel
def _share(weight, scale, q, scales, block, bias, near, y, counters, part):  # type: ignore[no-untyped-def]
    """What one thread does of a product."""
    outputs, inputs = weight.shape
    quarter, last, biased = (outputs + ROWS - 1) // ROWS, outputs - 1, bias.shape[0] > 0
    at, end = claim(counters, part, quarter, ROWS * inputs)
    while at < end:
        for first in range(at, end):
            found = _products(weight, q, scales, block, first, quarter, near)
            for r in range(ROWS):
                i = min(first + r * quarter, last)
                extra = widen(bias[i]) if biased else np.float32(0)
                put(y, i, found[r] * scale[i] + extra)
        at, end = claim(counters, part, quarter, ROWS * inputs)


@intrinsic
def _products(
    _context: Any, weight: Any, q: Any, scales: Any, block: Any, first: Any, quarter: Any, near: Any
) -> Any:
    """ROWS float32: rows `first`, `first` + `quarter`, ... of `weight` times q; beyond the last row, that one again."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, inputs, factors = (
            context.make_array(signature.args[n])(context, builder, arguments[n]) for n in range(3)
        )
        outputs, columns = cgutils.unpack_tuple(builder, wide.shape, 2)
        rows = row_starts(builder, wide.data, outputs, columns, arguments[4], arguments[5], ROWS)
        totals = [cgutils.alloca_once_value(builder, NO_FLOATS) for _ in rows]
        q_start, f_start = (builder.bitcast(a.data, BYTE.as_pointer()) for a in (inputs, factors))
        with cgutils.for_range(builder, cgutils.unpack_tuple(builder, factors.shape, 1)[0]) as loop:
            begin = builder.mul(loop.index, arguments[3])
            end = least(builder, builder.add(begin, arguments[3]), columns)
            sums = _block(builder, rows, q_start, begin, end, arguments[6])
            factor = everywhere(builder, float_at(builder, at(builder, f_start, loop.index, 4)))
            for total, sum_ in zip(totals, sums, strict=True):
                term = builder.fmul(builder.sitofp(builder.load(sum_), FLOATS), factor)
                builder.store(builder.fadd(builder.load(total), term), total)
        found = [add_up(builder, ir.Constant(FLOAT, 0.0), builder.load(total)) for total in totals]
        return context.make_tuple(builder, signature.return_type, found)

    kind = types.UniTuple(types.float32, ROWS)
    return kind(weight, q, scales, block, first, quarter, near), generate


def _block(builder: Any, rows: list[Any], q_start: Any, begin: Any, end: Any, near: Any) -> list[Any]:
    """Where the sums over the columns from `begin` to `end` are kept: eight int32 for each row."""
    sums = [cgutils.alloca_once(builder, WORDS) for _ in rows]
    for sum_ in sums:
        builder.store(NO_WORDS, sum_)
    with cgutils.for_range_slice(builder, begin, end, ir.Constant(LONG, RUN), inc=True) as (column, _):
        here = [builder.gep(row, [column], source_etype=BYTE) for row in rows]
        x, held = at(builder, q_start, column, 2), [builder.load(sum_) for sum_ in sums]
        for row in here:
            look_ahead(builder, row, near, keep=0)
        for k in range(0, RUN, SIXTEEN):
            sixteen = vector_at(builder, x, 2 * k, SHORTS)
            for n, row in enumerate(here):
                weights = builder.sext(vector_at(builder, row, k, WEIGHTS), SHORTS)
                held[n] = builder.add(held[n], multiply_pairs(builder, weights, sixteen))
        for sum_, value in zip(sums, held, strict=True):
            builder.store(value, sum_)
    return sums
