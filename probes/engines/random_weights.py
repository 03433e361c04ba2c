"""Random weights at the speed of a copy: every tensor takes its own offset in one random pool.

Memory and speed do not depend on the values, as long as no two tensors are equal (some runtimes store equal constants
once).
"""

from __future__ import annotations

import torch
from torch import Tensor

from probes.engines.block import POOL_ELEMENTS
from probes.engines.precision import Precision

__all__ = ["RandomPool"]

SPREAD = 0.02  # standard deviation: usual for these models; keeps logits finite through 61 layers


class RandomPool:
    """Makes tensors on `device`; `activation` is the type of norms, biases and the embedding."""

    def __init__(self, device: torch.device, activation: Precision, seed: int) -> None:
        self.device, self.activation = device, activation
        self._generator = torch.Generator().manual_seed(seed)
        self._floats = torch.randn(POOL_ELEMENTS, generator=self._generator) * SPREAD
        self._typed: dict[torch.dtype, Tensor] = {}

    def floats(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Normal values with standard deviation 0.02."""
        if dtype not in self._typed:
            self._typed[dtype] = self._floats.to(device=self.device, dtype=dtype)
        return self._fill(torch.empty(shape, dtype=dtype, device=self.device), self._typed[dtype])

    def integers(self, rows: int, columns: int) -> Tensor:
        """int8 values with a standard deviation of about 32."""
        if torch.int8 not in self._typed:
            scaled = (self._floats * (32 / SPREAD)).round().clamp(-127, 127)
            self._typed[torch.int8] = scaled.to(device=self.device, dtype=torch.int8)
        return self._fill(torch.empty((rows, columns), dtype=torch.int8, device=self.device), self._typed[torch.int8])

    def drop(self) -> None:
        """Free the pool once all weights are made."""
        self._typed.clear()
        self._floats = torch.empty(0)

    def _fill(self, tensor: Tensor, pool: Tensor) -> Tensor:
        flat = tensor.view(-1)
        offset = int(torch.randint(POOL_ELEMENTS, (1,), generator=self._generator))
        done = 0
        while done < flat.numel():
            size = min(POOL_ELEMENTS - offset, flat.numel() - done)
            flat[done : done + size] = pool[offset : offset + size]
            done, offset = done + size, 0
        return tensor
