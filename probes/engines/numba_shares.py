"""Work that threads share out as they go; for probe processes only.

With equal halves every product waits for the slower thread, and one that the system or a neighbour holds up is the
slower one: over a step of 113 products of float32 that took a twenty-fifth (Zen 3, two virtual cores). Each thread
walks along its own share, which keeps memory's streams whole, and then takes what is left of the others'.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from probes.engines.numba_bits import LINE, kernel

__all__ = ["claim", "none_taken", "parts_of"]

APART = 2 * LINE // 8  # counters do not share a cache line, nor the one that processors fetch with it
TAKEN_BYTES = 2**17  # at a time: long enough for memory's streams, short for the last one to wait for


@kernel
def none_taken():  # type: ignore[no-untyped-def]
    """Counters for the shares of all threads, int64: one set for each walk."""
    return np.zeros(_threads() * APART, np.int64)


@kernel
def parts_of(counters):  # type: ignore[no-untyped-def]
    """How many shares there are: one task for each is to `claim` until nothing is left."""
    return counters.shape[0] // APART


@kernel
def claim(counters, part, places, place_bytes):  # type: ignore[no-untyped-def]
    """(first, end) of the next of `places` for task `part`; (0, 0) when all are taken. `place_bytes`: read at each."""
    parts, each = np.int64(parts_of(counters)), np.int64(max(1, TAKEN_BYTES // place_bytes))
    for other in range(parts):
        share = (np.int64(part) + other) % parts
        begin, end = share * places // parts, (share + 1) * places // parts
        first = begin + _add(counters, share * APART, each)
        if first < end:
            return first, min(first + each, end)
    return np.int64(0), np.int64(0)


@intrinsic
def _threads(_context: Any) -> Any:
    """How many threads `prange` uses, as its own code asks: with `numba.get_num_threads`, which holds an address, what
    is compiled could not be kept.
    """

    def generate(_target: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(64), [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "get_num_threads"), [])

    return types.int64(), generate


@intrinsic
def _add(_context: Any, counters: Any, _index: Any, _step: Any) -> Any:
    """counters[index] before `step` was added, by one thread at a time."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        where = cgutils.get_item_pointer(
            context, builder, signature.args[0], array, [arguments[1]], wraparound=False
        )
        return builder.atomic_rmw("add", where, arguments[2], "monotonic")

    return types.int64(counters, types.int64, types.int64), generate
