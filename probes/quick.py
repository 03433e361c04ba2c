"""A first figure for memory bandwidth in a quarter of a second, without torch and without a child process."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["quick_bandwidth"]

BLOCK_BYTES = 64 * 2**20  # per thread: larger than one core's share of any cache


@lru_cache(maxsize=4)
def quick_bandwidth(threads: int, seconds: float = 0.25) -> float:
    """Bytes read and written per second by `threads` copies at once (at most 16); the best of the rounds that fit in
    `seconds`.
    """
    workers = max(1, min(threads, 16))
    pairs = [(np.ones(BLOCK_BYTES, np.uint8), np.zeros(BLOCK_BYTES, np.uint8)) for _ in range(workers)]
    best = 0.0
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(_copy, pairs))  # the first touch of a page is slow
        end = time.perf_counter() + seconds
        while True:
            start = time.perf_counter()
            list(pool.map(_copy, pairs))  # numpy copies outside the interpreter lock
            now = time.perf_counter()
            best = max(best, 2 * BLOCK_BYTES * workers / (now - start))
            if now >= end:
                return best


def _copy(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    np.copyto(pair[1], pair[0])
