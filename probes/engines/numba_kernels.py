"""Matrix-vector products for processors on which torch's are slow: one pass over the rows, all cores."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

__all__ = ["gemv_float32", "gemv_int8", "set_threads"]


def gemv_float32(weight: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """weight (outputs, inputs) @ x (inputs)."""
    y = np.empty(weight.shape[0], np.float32)
    _float32(weight, x, y)
    return y


def gemv_int8(weight: NDArray[np.int8], scale: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """(scale (outputs) * weight (outputs, inputs)) @ x (inputs)."""
    y = np.empty(weight.shape[0], np.float32)
    _int8(weight, scale, x, y)
    return y


def set_threads(threads: int) -> None:
    import numba

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


@njit(parallel=True, fastmath=True, nogil=True, cache=True)
def _float32(weight, x, y):  # type: ignore[no-untyped-def]
    for i in prange(weight.shape[0]):
        total = np.float32(0)
        for j in range(weight.shape[1]):
            total += weight[i, j] * x[j]
        y[i] = total


@njit(parallel=True, fastmath=True, nogil=True, cache=True)
def _int8(weight, scale, x, y):  # type: ignore[no-untyped-def]
    for i in prange(weight.shape[0]):
        total = np.float32(0)
        for j in range(weight.shape[1]):
            total += np.float32(weight[i, j]) * x[j]
        y[i] = total * scale[i]
