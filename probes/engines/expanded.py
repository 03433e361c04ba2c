"""Products of many rows on processors without fast 16-bit or 8-bit products: a block of weights at a time becomes
float32 (or bfloat16), and the processor's best matrix product does the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from probes.engines.block import BLOCK_ELEMENTS

__all__ = ["blockwise"]

Expand = Callable[[Tensor, tuple[Tensor, ...]], None]


def blockwise(
    x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None, expand: Expand, dtype: torch.dtype = torch.float32
) -> Tensor:
    """x (rows, inputs) -> (rows, outputs) in x's type.

    `stored`: tensors whose first dimension is the output. `expand` fills its first argument (outputs of the block,
    inputs) from the block's rows of `stored`.
    """
    rows, inputs = x.shape
    outputs = stored[0].shape[0]
    size = min(outputs, max(64, BLOCK_ELEMENTS // inputs // 64 * 64))
    scratch = torch.empty((size, inputs), dtype=dtype)
    wide, y = x.to(dtype), torch.empty((rows, outputs), dtype=x.dtype)
    for first in range(0, outputs, size):
        last = min(outputs, first + size)
        block = scratch[: last - first]
        expand(block, tuple(t[first:last] for t in stored))
        y[:, first:last] = torch.mm(wide, block.t())
    return y if bias is None else y.add_(bias)
