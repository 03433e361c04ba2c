"""Micro-benchmarks of this machine: memory bandwidth, matrix products, copies to an accelerator. Imported by probe
processes only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

from probes.engines.precision import Precision
from probes.engines.torch_engine import set_threads, synchroniser
from probes.result import Measured

__all__ = [
    "SMALL_SIZE", "Canary", "ProductCanary", "Reading", "copy_bandwidth", "gemm_rate", "host_to_device",
    "read_bandwidth",
]  # fmt: skip

MIN_SECONDS = 0.1  # shorter measurements catch one quiet moment, not the machine
MAX_PRODUCT_S = 0.5  # of one matrix product
CPU_SIZE, GPU_SIZE = 2048, 8192  # of a square product: a smaller one does not fill the device
SMALL_SIZE = 1024  # fills the processors, and takes a few hundredths of a second
PASSES = 3  # at least, in a reading
GPU_PASSES = 8  # over a buffer at a time: waiting for the end of one takes a tenth as long as the pass itself
CACHE_FACTOR = 4  # a buffer this many times the last-level cache is read from memory


@dataclass(frozen=True, slots=True)
class Reading:
    """Of memory, bytes per second. `usual`: the median pass, which the median step of a decoder compares with; `best`:
    a moment that memory was left alone, some 2 % faster on a virtual machine.
    """

    usual: float
    best: float


class Canary:
    """Reads the same memory over and over: how fast can it be read at this moment?

    The fastest reader counts: a share of bandwidth means little against a slow reading of it. Plain sums are what torch
    reads fastest, several streams per thread are faster on some processors.
    """

    def __init__(
        self, device: torch.device, cache_bytes: int, threads: int | None = None, memory: Sequence[torch.Tensor] = ()
    ) -> None:
        """`threads`: with which to read, whatever is set for the products; None: as many as are set. `memory`: what to
        read, of any type, on a CPU; nothing: a buffer of its own.
        """
        self._synchronise = synchroniser(device)
        own = max(256 * 2**20, CACHE_FACTOR * cache_bytes) if device.type == "cpu" else 2**30
        pieces = [_as_floats(t) for t in memory] or [torch.ones(own // 4, dtype=torch.float32, device=device)]
        self._bytes = sum(4 * piece.numel() for piece in pieces)
        self._readers: list[Callable[[], object]] = [lambda: [piece.sum() for piece in pieces]]
        self._threads = threads
        self._passes = 1 if device.type == "cpu" else GPU_PASSES
        if device.type == "cpu":
            doubles = [piece.view(torch.float64) for piece in pieces]
            self._readers += [lambda: [piece.sum() for piece in doubles], *_compiled_reader(pieces)]

    def read(self, seconds: float = MIN_SECONDS) -> Reading:
        """Over at least `seconds` and PASSES; the reader that was fastest the first time reads from then on."""
        before = torch.get_num_threads()
        set_threads(self._threads or before)
        passes: list[list[float]] = []
        end = time.perf_counter() + seconds
        while len(passes) < PASSES or time.perf_counter() < end:
            passes.append([self._bytes / self._seconds(reader) for reader in self._readers])
        rates = max(zip(*passes, strict=True), key=max)
        self._readers = [self._readers[[max(of) for of in zip(*passes, strict=True)].index(max(rates))]]
        set_threads(before)
        return Reading(median(rates), max(rates))

    def _seconds(self, reader: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(self._passes):
            reader()
        self._synchronise()
        return (time.perf_counter() - start) / self._passes


class ProductCanary:
    """Multiplies the same float32 matrices over and over: how fast do the processors compute at this moment?"""

    def __init__(self, threads: int, size: int = SMALL_SIZE) -> None:
        """`threads`: with which to multiply, whatever is set for the products of the model."""
        self._threads, self._operations = threads, 2 * size**3
        self._a, self._c = torch.ones(size, size), torch.empty(size, size)

    def read(self, seconds: float = MIN_SECONDS) -> float:
        """Operations per second of the best product, over at least `seconds` and two products."""
        before = torch.get_num_threads()
        set_threads(self._threads)
        best, products, end = 0.0, 0, time.perf_counter() + seconds
        while products < 2 or time.perf_counter() < end:
            start = time.perf_counter()
            torch.mm(self._a, self._a, out=self._c)
            best, products = max(best, self._operations / (time.perf_counter() - start)), products + 1
        set_threads(before)
        return best


def _as_floats(tensor: torch.Tensor) -> torch.Tensor:
    """Its bytes in order, but for the last few, as float32."""
    flat = tensor.reshape(-1).view(torch.uint8)
    return flat[: flat.numel() // 8 * 8].view(torch.float32)


def _compiled_reader(pieces: Sequence[torch.Tensor]) -> list[Callable[[], object]]:
    """Empty where numba is not installed."""
    try:
        from probes.engines.numba_read import read_words, table_of
    except ImportError:
        return []
    words = [piece.view(torch.int64).numpy() for piece in pieces]
    longest, table = max(words, key=len), table_of(words)
    sums = np.zeros(max(1, torch.get_num_threads()), np.int64)
    return [lambda: read_words(longest, table, sums)]


def read_bandwidth(device: torch.device, cache_bytes: int, repeats: int = 5) -> Measured:
    """Bytes read per second with the threads that are set: best passes, `repeats` times."""
    canary = Canary(device, cache_bytes)
    canary.read(0.0)
    return Measured.of([canary.read().best for _ in range(repeats)])


def copy_bandwidth(device: torch.device, cache_bytes: int, repeats: int = 5) -> Measured:
    """Bytes read plus bytes written per second."""
    size = max(256 * 2**20, CACHE_FACTOR * cache_bytes)
    source = torch.ones(size // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)
    return Measured.of([2 * size / s for s in timed(lambda: target.copy_(source), device, repeats)])


def gemm_rate(
    device: torch.device, precision: Precision, size: int | None = None, repeats: int = 5
) -> Measured | None:
    """Operations (two per multiply-add) per second of a square product; None where torch has no kernel for it here.

    Where the hardware lacks a precision, torch may emulate it a thousand times slower: the product is then smaller.
    """
    size = size or (CPU_SIZE if device.type == "cpu" else GPU_SIZE)
    try:
        size = _affordable(device, precision, size)
        product = _product(device, precision, size)
        return Measured.of([2 * size**3 / s for s in timed(product, device, repeats)])
    except (RuntimeError, NotImplementedError):
        return None


def _affordable(device: torch.device, precision: Precision, most: int) -> int:
    """The largest size up to `most`, doubling from 256, of which one product takes no longer than it may."""
    size, synchronise = 256, synchroniser(device)
    while size < most:
        product = _product(device, precision, size)
        product()  # the first call prepares kernels
        synchronise()
        start = time.perf_counter()
        product()
        synchronise()
        if 8 * (time.perf_counter() - start) > MAX_PRODUCT_S:
            return size
        size *= 2
    return most


def host_to_device(device: torch.device, size: int = 256 * 2**20, repeats: int = 5) -> tuple[Measured, Measured]:
    """Bytes per second to and from the accelerator, pinned memory."""
    host = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    there = host.to(device)
    to = timed(lambda: there.copy_(host), device, repeats)
    back = timed(lambda: host.copy_(there), device, repeats)
    return Measured.of([size / s for s in to]), Measured.of([size / s for s in back])


def timed(call: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Seconds per call, each sample as many calls as fill the minimum time; the warm-up is dropped."""
    synchronise = synchroniser(device)
    call()
    synchronise()
    samples = []
    for _ in range(repeats):
        calls, start = 0, time.perf_counter()
        while True:
            call()
            synchronise()
            calls += 1
            elapsed = time.perf_counter() - start
            if elapsed >= MIN_SECONDS:
                break
        samples.append(elapsed / calls)
    return samples


def _product(device: torch.device, precision: Precision, size: int) -> Callable[[], object]:
    types = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
    if precision in types:
        a = torch.randn(size, size).to(device=device, dtype=types[precision])
        return lambda: a @ a
    if precision is Precision.FP8:
        a = torch.randn(size, size).to(device).to(torch.float8_e4m3fn)
        one = torch.ones((), device=device)
        return lambda: torch._scaled_mm(a, a.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    a = torch.randint(-127, 127, (size, size), dtype=torch.int8, device=device)
    b = a.t() if device.type == "cuda" else a  # both read along the rows, as tensor units want it
    return lambda: torch._int_mm(a, b)
