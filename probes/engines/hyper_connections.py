"""Hyper-connections of DeepSeek-V4: m parallel residual streams, mixed before and after each part of a layer.

For probe processes only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from probes.engines.linear import TORCH_TYPES
from probes.engines.quantised import make_linear
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner

__all__ = ["HyperConnection", "merged", "spread"]


class HyperConnection:
    """Around one part: m weights to read the streams with, m to write with, m x m to mix them."""

    def __init__(self, hidden: int, mult: int, rounds: int, pool: RandomPool, tuner: Tuner) -> None:
        self._mult, self._rounds = mult, rounds
        mixes = (2 + mult) * mult
        self._weights = make_linear(mult * hidden, mixes, pool.activation, pool, tuner)
        self._base = pool.floats((mixes + 3,), TORCH_TYPES[pool.activation])

    @property
    def bytes(self) -> int:
        return self._weights.bytes + self._base.numel() * self._base.element_size()

    def __call__(self, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        """x (rows, m, hidden) -> the same; `part` maps (rows, hidden) to (rows, hidden)."""
        m, flat = self._mult, x.flatten(1)
        flat = flat * torch.rsqrt(flat.float().square().mean(dim=-1, keepdim=True) + 1e-6).to(x.dtype)
        mixes = self._weights(flat) + self._base[:-3]
        read, write, mix = mixes.split([m, m, m * m], dim=-1)
        y = part((torch.sigmoid(read)[:, None] @ x)[:, 0])
        mixed = _balanced(mix.view(-1, m, m), self._rounds) @ x
        return mixed + torch.sigmoid(write)[..., None] * y[:, None]


def _balanced(scores: Tensor, rounds: int) -> Tensor:
    """Rows and columns that sum to one, by Sinkhorn and Knopp's alternation."""
    shares = torch.softmax(scores.float(), dim=-1)
    for _ in range(rounds):
        shares = shares / shares.sum(dim=-2, keepdim=True)
        shares = shares / shares.sum(dim=-1, keepdim=True)
    return shares.to(scores.dtype)


def spread(x: Tensor, mult: int) -> Tensor:
    """(rows, hidden) -> (rows, m, hidden)."""
    return x[:, None].expand(-1, mult, -1)


def merged(x: Tensor) -> Tensor:
    """(rows, m, hidden) -> (rows, hidden)."""
    return x.mean(dim=1)
