"""Read rate of the disk, cold (page cache dropped for the file) and warm, with how much of the file was cached each
time.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DiskReading", "cached_share", "read_disk"]

CHUNK_BYTES = 16 * 2**20
FILE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class DiskReading:
    """Bytes per second of each reading; `cached_share`: the largest before any of them, None where the system cannot
    tell.
    """

    bytes_per_s: tuple[float, ...]
    cached_share: float | None


def read_disk(
    folder: Path | None = None, size: int = FILE_BYTES, repeats: int = 3
) -> tuple[DiskReading | None, DiskReading | None]:
    """(cold, warm). Cold is None where the page cache cannot be dropped. The file is written first, removed at last."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="fathom-disk-") as file:
        block = os.urandom(CHUNK_BYTES)  # not compressible
        for _ in range(size // CHUNK_BYTES):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        path = Path(file.name)
        cold = [_read(path) for _ in range(repeats) if _drop_cache(path)]
        _read(path)
        return _joined(cold), _joined([_read(path) for _ in range(repeats)])


def _joined(readings: list[DiskReading]) -> DiskReading | None:
    shares = [r.cached_share for r in readings if r.cached_share is not None]
    rates = tuple(rate for r in readings for rate in r.bytes_per_s)
    return DiskReading(rates, max(shares, default=None)) if readings else None


def _read(path: Path) -> DiskReading:
    cached = cached_share(path)
    size, start = 0, time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while block := file.read(CHUNK_BYTES):
            size += len(block)
    return DiskReading((size / (time.perf_counter() - start),), cached)


def cached_share(path: Path) -> float | None:
    """Share of a file's pages in the page cache, by mincore (Linux)."""
    size = path.stat().st_size
    try:
        library = ctypes.CDLL(None, use_errno=True)
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as view,
        ):
            pages = -(-size // mmap.PAGESIZE)
            resident = (ctypes.c_ubyte * pages)()
            address = ctypes.addressof(ctypes.c_char.from_buffer(view))
            failed = library.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), resident)
    except (OSError, AttributeError, ValueError, BufferError):
        return None
    return None if failed else sum(page & 1 for page in resident) / pages


def _drop_cache(path: Path) -> bool:
    if not hasattr(os, "posix_fadvise"):
        return False
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True
