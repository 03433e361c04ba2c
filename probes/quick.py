"""First figures of memory and products in a second or two, without torch and without a child process."""

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
ROUNDS = 20
CORE_SHARE = 0.8  # of a round's time; less, and a reader waited for its core
BLOCK_BYTES = 64 * 2**20  # per thread: larger than one core's share of any cache


@dataclass(frozen=True, slots=True)
class LoadRates:
    """Random normal numbers made per second; bytes per second of first writes to memory that nobody has used yet."""

    normals_per_s: float
    first_writes_bytes_per_s: float


@lru_cache(maxsize=4)
def quick_bandwidth(threads: int, limit_s: float = 2.0) -> float:
    """Bytes read per second by `threads` readers at once (at most 16): the best of some rounds in which each had a core
    to itself. A browser that opens the page on the same machine takes the cores for a second or two: it goes on until
    there were enough such rounds, or for `limit_s`. Where there was none, the best of all.

    Weights are read, not copied: whether a copy moves two or three bytes for each, the processor decides.
    """
    workers = max(1, min(threads, 16))
    blocks = [np.ones(BLOCK_BYTES, np.int8) for _ in range(workers)]
    alone: list[float] = []
    disturbed: list[float] = []
    with ThreadPoolExecutor(workers) as pool:
        end = time.perf_counter() + limit_s
        while len(alone) < ROUNDS and time.perf_counter() < end:
            start = time.perf_counter()
            worked = min(pool.map(_read, blocks))
            seconds = time.perf_counter() - start
            (alone if worked >= CORE_SHARE * seconds else disturbed).append(seconds)
    return BLOCK_BYTES * workers / min(alone or disturbed)


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


def _read(block: NDArray[np.int8]) -> float:
    """Seconds of its core. The largest byte: of numpy's passes over an array the fastest (1.05 of what torch reads with
    the best of its own, a sum of floats 0.93), and outside the interpreter lock.
    """
    start = time.thread_time()
    block.max()
    return time.thread_time() - start
