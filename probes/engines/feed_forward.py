"""Feed-forward layers: dense, and mixture of experts with some or all experts resident. Imported by probe processes
only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.records import Architecture
from probes.engines.linear import FEW_ROWS, Linear, fused_kernels
from probes.engines.precision import Precision
from probes.engines.quantised import make_linear
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner

__all__ = ["DenseFeedForward", "MoeFeedForward", "shared_width"]


Bank = Callable[[Tensor, Tensor, Tensor], Tensor]  # x, chosen experts, their shares -> as x


class DenseFeedForward:
    """Gated (three matrices, two of them fused) or plain."""

    def __init__(
        self, hidden: int, width: int, matrices: int, precision: Precision, pool: RandomPool, tuner: Tuner
    ) -> None:
        self.gated = matrices == 3
        self._up = make_linear(hidden, width * (matrices - 1), precision, pool, tuner)
        self._down = make_linear(width, hidden, precision, pool, tuner)
        self.linears: tuple[Linear, ...] = (self._up, self._down)
        self._fused = fused_kernels(pool.device)

    def is_capturable(self, _rows: int) -> bool:
        return True

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x (rows, hidden) -> the same; `residual`, as x, is added."""
        inner = self._up(x)
        if not self.gated:
            return self._down(gelu(inner), residual)
        if self._fused is not None:
            return self._down(self._fused.gate(inner), residual)
        gate, up = inner.chunk(2, dim=-1)
        return self._down(silu(gate) * up, residual)

    def tensor_bytes(self) -> int:
        return sum(m.bytes for m in self.linears)

    def read_bytes(self, _rows: int) -> float:
        """Weights that a step reads: all of them, whatever the number of tokens."""
        return self.tensor_bytes()


class MoeFeedForward:
    """Router, shared experts, and `resident` of the routed experts.

    Each token goes to `experts_per_tok` different resident experts drawn uniformly: what balanced routing does. With
    fewer
    experts than the model has, time for one token is unchanged, but batches touch fewer distinct experts than in the
    whole model.
    """

    def __init__(self, a: Architecture, resident: int, precision: Precision, pool: RandomPool, tuner: Tuner) -> None:
        if a.moe_intermediate_size is None:
            raise UnsupportedError("a mixture of experts needs moe_intermediate_size")
        width = a.moe_intermediate_size
        self._top_k = a.experts_per_tok
        self._resident = max(a.experts_per_tok, min(resident, a.n_routed_experts))
        self._router = make_linear(a.hidden_size, a.n_routed_experts, pool.activation, pool, tuner)
        self._shared = (
            DenseFeedForward(a.hidden_size, shared_width(a), 3, precision, pool, tuner) if shared_width(a) else None
        )
        self._experts = [
            DenseFeedForward(a.hidden_size, width, 3, precision, pool, tuner) for _ in range(self._resident)
        ]
        # a graph can only be captured with the device's own generator
        self._generator = None if pool.device.type == "cuda" else torch.Generator(pool.device).manual_seed(1)
        self._bank = _bank(self._experts, tuner) if fused_kernels(pool.device) is not None else None

    def is_capturable(self, rows: int) -> bool:
        """As a CUDA graph: experts picked without asking the host."""
        return self._bank is not None and rows <= FEW_ROWS

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        y = self._mixed(x)
        return y if residual is None else residual + y

    def _mixed(self, x: Tensor) -> Tensor:
        scores = torch.sigmoid(self._router(x).float())[:, : self._resident]
        drawn = torch.rand(scores.shape, generator=self._generator, device=x.device)
        chosen = drawn.topk(self._top_k, dim=-1).indices
        weights = scores.gather(1, chosen)
        weights = (weights / weights.sum(dim=-1, keepdim=True)).to(x.dtype)
        y = self._shared(x) if self._shared else torch.zeros_like(x)
        if self._bank is not None and x.shape[0] <= FEW_ROWS:
            return y + self._bank(x, chosen, weights)
        if x.shape[0] == 1:
            return y + sum(weights[0, i] * self._experts[e](x) for i, e in enumerate(chosen[0].tolist()))
        pairs = chosen.flatten()
        order = pairs.argsort(stable=True)
        rows, shares = order // self._top_k, weights.flatten()[order]
        counts = pairs.bincount(minlength=self._resident).tolist()  # the only wait for a GPU
        parts = zip(self._experts, x[rows].split(counts), strict=True)
        mixed = torch.cat([expert(part) for expert, part in parts if len(part)])
        return y.index_add_(0, rows, mixed * shares[:, None])

    def tensor_bytes(self) -> int:
        shared = self._shared.tensor_bytes() if self._shared else 0
        return self._router.bytes + shared + sum(e.tensor_bytes() for e in self._experts)

    def read_bytes(self, rows: int) -> float:
        """Expected: E (1 - (1 - k/E)^rows) distinct experts."""
        distinct = self._resident * (1 - (1 - self._top_k / self._resident) ** rows)
        shared = self._shared.tensor_bytes() if self._shared else 0
        return self._router.bytes + shared + distinct * self._experts[0].tensor_bytes()


def _bank(experts: Sequence[DenseFeedForward], tuner: Tuner) -> Bank | None:
    from probes.engines.expert_bank import bank_of  # needs triton, as these kernels do

    return bank_of(experts, tuner)


def shared_width(a: Architecture) -> int:
    """Width of all shared experts together."""
    return a.shared_intermediate_size or a.n_shared_experts * (a.moe_intermediate_size or 0)
