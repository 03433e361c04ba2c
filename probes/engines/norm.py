"""Root-mean-square norms. Imported by probe processes only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from probes.engines.linear import FEW_ROWS, TORCH_TYPES, fused_kernels
from probes.engines.random_weights import RandomPool

__all__ = ["EPSILON", "Norm", "compiled_norm"]

EPSILON = 1e-6


class Norm:
    """x (rows, ..., width) / root mean square of the last dimension * weights, which are around one."""

    def __init__(self, width: int, pool: RandomPool) -> None:
        self.width, self.epsilon, self._compiled = width, EPSILON, compiled_norm()
        self._fused = fused_kernels(pool.device)
        self.weight = pool.floats((width,), TORCH_TYPES[pool.activation]) + 1

    @property
    def bytes(self) -> int:
        return self.weight.numel() * self.weight.element_size()

    def __call__(self, x: Tensor) -> Tensor:
        if self._fused is not None:
            return self._fused.norm(x, self.weight, self.epsilon)
        if x.is_cuda or x.shape[0] > FEW_ROWS:
            return rms_norm(x, (self.width,), self.weight, self.epsilon)
        return self._torch(x) if self._compiled is None else self._compiled(x, self.weight, self.epsilon)

    def _torch(self, x: Tensor) -> Tensor:
        """A third of the time of torch's own, which takes nine steps on CPU."""
        wide = x.float()
        factor = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.epsilon)
        return (wide * factor * self.weight).to(x.dtype)


def compiled_norm() -> Callable[[Tensor, Tensor, float], Tensor] | None:
    """One pass in place of eleven calls; None without numba."""
    try:
        from probes.engines.compiled import normalise
    except ImportError:
        return None
    return normalise
