"""A first figure for memory bandwidth in a quarter of a second, without torch and without a child process."""

from __future__ import annotations

import mmap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["LoadRates", "quick_bandwidth", "quick_gemm", "quick_load"]

TOUCH_BYTES = 128 * 2**20
POOL_BYTES = 8 * 2**20
NORMALS = 1 << 20
BLOCK_BYTES = 64 * 2**20  # per thread: larger than one core's share of any cache


@dataclass(frozen=True, slots=True)
class LoadRates:
    """Random normal numbers made per second; bytes per second of first writes to memory that nobody has used yet."""

    normals_per_s: float
    first_writes_bytes_per_s: float


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


@lru_cache(maxsize=1)
def quick_gemm(size: int = 1024, rounds: int = 4) -> float:
    """float32 operations per second of a square product; the best of a few rounds."""
    a = np.ones((size, size), np.float32)
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        a @ a
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


@lru_cache(maxsize=1)
def quick_load() -> LoadRates:
    """The two things that filling weights spends its time on, each for a moment, with pages as small as the system
    gives them out. Asked once per process: a page that was used before comes back sooner than a new one.
    """
    random = np.random.default_rng(0)
    start = time.perf_counter()
    random.standard_normal(NORMALS, np.float32)
    normals = time.perf_counter() - start
    pool = np.ones(POOL_BYTES, np.uint8)
    with mmap.mmap(-1, TOUCH_BYTES) as pages:
        target = np.frombuffer(pages, np.uint8)
        start = time.perf_counter()
        for first in range(0, TOUCH_BYTES, POOL_BYTES):
            target[first : first + POOL_BYTES] = pool
        seconds = time.perf_counter() - start
        del target
    return LoadRates(NORMALS / normals, TOUCH_BYTES / seconds)


def _copy(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    np.copyto(pair[1], pair[0])
