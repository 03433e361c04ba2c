"""A dense layer's decode step of one token as one compiled call. Importing this module needs numba; callers import it
where a layer is made, so that a machine without numba merely lacks this way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from probes.engines.compiled import EMPTY, bias_bits, bits
from probes.engines.linear import FloatLinear, Linear
from probes.engines.numba_integer import BLOCK, LEVELS_8, LEVELS_16
from probes.engines.numba_layer import layer_step
from probes.engines.quantised import Int4Linear, Int8Linear

__all__ = ["whole_step"]

Step = Callable[[Tensor, Tensor, Tensor], Tensor]  # x (1, hidden), slots (1,), lengths (1,) -> (1, hidden)


def whole_step(
    linears: Sequence[Linear], norms: tuple[Tensor, Tensor], epsilon: float, head_norms: Sequence[Tensor],
    rope: tuple[Tensor, Tensor], caches: tuple[Tensor, ...],
) -> Step | None:  # fmt: skip
    """linears: query-key-value, out, gate-up, down; rope: two of (tokens, dimension). None where a matrix has no kernel
    for this.
    """
    dtype = norms[0].dtype
    found = [_matrix(linear, dtype) for linear in linears]
    matrices = tuple(m for m in found if m is not None)
    if len(matrices) < len(found):
        return None
    around = bits(norms[0]), bits(norms[1])
    inside = bits(torch.stack(list(head_norms)) if head_norms else EMPTY[dtype].view(0, 1))
    turns, stored = tuple(bits(t) for t in rope), tuple(bits(c) for c in caches)

    def step(x: Tensor, slots: Tensor, lengths: Tensor) -> Tensor:
        y = torch.empty_like(x)
        layer_step(
            bits(x), around, epsilon, matrices, inside, turns, slots.numpy(), lengths.numpy(), stored, bits(y)
        )
        return y

    return step


def _matrix(linear: Linear, dtype: torch.dtype) -> tuple[Any, ...] | None:
    """As `numba_layer.multiply` takes it."""
    bias, first = bias_bits(linear.bias, dtype), linear.stored[0]
    if isinstance(linear, FloatLinear):
        pairs = first.dtype is torch.bfloat16 and linear.inputs % 2 == 0
        return (bits(first).view("uint32") if pairs else bits(first)), bias
    if isinstance(linear, Int8Linear):
        levels = LEVELS_8 if linear.a8 else LEVELS_16
        return first.numpy(), linear.stored[1].numpy(), BLOCK, levels, bias
    if isinstance(linear, Int4Linear):
        return first.numpy(), bits(linear.stored[1]), linear.group, bias
    return None
