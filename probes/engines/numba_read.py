"""Reading memory and nothing else, as fast as compiled code can: what the products of a decoder are measured against.

For probe processes only; importing it needs numba.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import prange
from numpy.typing import NDArray

from probes.engines.numba_bits import LINE, array_at, kernel, parallel_kernel, prefetch
from probes.engines.numba_shares import claim, none_taken

__all__ = ["STREAMS", "read_words", "table_of"]

STREAMS = 4  # places at which each thread reads at once: more than one keeps more requests on their way
RUN = LINE // 8  # words in a row at each place; with four lines a Zen 3 reads 7 % slower
PART = 2**20  # words of a piece that one thread reads without asking for more
AHEAD = 64  # words: products look ahead like this, so their yardstick does


def table_of(pieces: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """(parts, 2) int64: where each part of the pieces begins and how many words it has; who calls keeps the pieces
    alive.
    """
    cut = [piece[first : first + PART] for piece in pieces for first in range(0, piece.size, PART)]
    return np.array([(part.ctypes.data, part.size) for part in cut], np.int64)


@parallel_kernel
def read_words(longest, table, sums):  # type: ignore[no-untyped-def]
    """Adds up all words of the pieces in `table`, which is `table_of` them; `longest`: one with the most words.

    Each entry of `sums` (int64) gets what one thread added up. No thread waits for another between two pieces, so that
    a model of small matrices is read as fast as one of large ones, nor at the end, as `claim` shares them out.
    """
    counters = none_taken()
    for part in prange(sums.shape[0]):
        sums[part] = _share(longest, table, counters, np.int64(part))


@kernel
def _share(longest, table, counters, part):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    at, end = claim(counters, part, table.shape[0], PART * 8)
    while at < end:
        for piece in range(at, end):
            total += _sum(array_at(longest[: table[piece, 1]], table[piece, 0]))
        at, end = claim(counters, part, table.shape[0], PART * 8)
    return total


@kernel
def _sum(words):  # type: ignore[no-untyped-def]
    """Of whole runs in all streams; a rest of a few hundred words is left out."""
    stream, total = words.shape[0] // STREAMS // RUN * RUN, np.int64(0)
    for first in range(0, stream, RUN):
        for s in range(STREAMS):
            run = words[s * stream + first : s * stream + first + RUN]
            prefetch(run, AHEAD)
            for j in range(RUN):
                total += run[j]
    return total
