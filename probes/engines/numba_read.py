"""Reading memory and nothing else, as fast as compiled code can: what the products of a decoder are measured against.

For probe processes only; importing it needs numba.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from probes.engines.numba_bits import LINE, parallel_kernel, prefetch

__all__ = ["STREAMS", "read_words"]

STREAMS = 4  # places at which each thread reads at once: more than one keeps more requests on their way
RUN = 32  # words in a row at each place
AHEAD, IN_LINE = 64, LINE // 8  # words: products look ahead like this, so their yardstick does


@parallel_kernel
def read_words(words, sums):  # type: ignore[no-untyped-def]
    """Adds up int64 `words`; each entry of `sums` (int64) gets the sum of an equal part, and is one task."""
    size = words.shape[0] // sums.shape[0]
    stream = size // STREAMS // RUN * RUN
    for part in prange(sums.shape[0]):
        mine, total = words[part * size : (part + 1) * size], np.int64(0)
        for first in range(0, stream, RUN):
            for s in range(STREAMS):
                run = mine[s * stream + first : s * stream + first + RUN]
                for line in range(AHEAD, AHEAD + RUN, IN_LINE):
                    prefetch(run, line)
                for j in range(RUN):
                    total += run[j]
        sums[part] = total
