"""Random weights as numpy arrays, a little memory at a time. For probe processes only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WEIGHT_SIZE", "RandomBytes"]

WEIGHT_SIZE = 0.02  # standard deviation after initialisation
POOL_BYTES = 2**24


class RandomBytes:
    """One pool that each tensor reads from another place of: no two tensors are equal, and making them takes no time.

    Engines that keep equal constants once would otherwise hold a fraction of the weights.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._pool = random.integers(0, 256, POOL_BYTES, np.uint8)
        self._floats: dict[str, NDArray[Any]] = {}

    def take(self, count: int) -> NDArray[np.uint8]:
        return self._from(self._pool, count)

    def floats(self, shape: tuple[int, ...], kind: str = "f32") -> NDArray[Any]:
        """Uniform, as wide as weights after initialisation. `kind`: f32, f16, or bf16 (as uint16)."""
        if kind not in self._floats:
            self._floats[kind] = _converted(self._pool, kind)
        return self._from(self._floats[kind], math.prod(shape)).reshape(shape)

    def _from(self, pool: NDArray[Any], count: int) -> NDArray[Any]:
        """Copied part by part: `np.resize` would keep whole pools alive behind a small tensor."""
        found = np.empty(count, pool.dtype)
        at, done = int(self._random.integers(pool.size)), 0
        while done < count:
            part = pool[at : at + count - done]
            found[done : done + part.size] = part
            at, done = 0, done + part.size
        return found


def _converted(pool: NDArray[np.uint8], kind: str) -> NDArray[Any]:
    uniform = ((pool.view(np.uint16) / 65_535 - 0.5) * (WEIGHT_SIZE * 12**0.5)).astype(np.float32)
    if kind == "bf16":
        return (uniform.view(np.uint32) >> 16).astype(np.uint16)
    return uniform.astype({"f32": np.float32, "f16": np.float16}[kind], copy=False)
