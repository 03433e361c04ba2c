"""The experts of a layer as one matrix product on a GPU: few rows, each with its own experts. For probe processes only;
importing this module needs triton.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from probes.engines import fused, triton_experts
from probes.engines.feed_forward import DenseFeedForward
from probes.engines.linear import FloatLinear, Linear
from probes.engines.quantised import Fp8Linear, Int8Linear
from probes.engines.tuner import Tuner, row_bucket

__all__ = ["ExpertBank", "bank_of"]

TYPES = {
    torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16, torch.int8: tl.int8,
    torch.float8_e4m3fn: tl.float8e4nv,
}  # fmt: skip


class Matrices:
    """One matrix of each expert, by address."""

    def __init__(self, linears: Sequence[Linear]) -> None:
        first = linears[0]
        self.outputs, self.inputs, self.type = first.outputs, first.inputs, first.stored[0].dtype
        self.a8 = isinstance(first, Int8Linear) and first.a8
        device = first.stored[0].device
        addresses = [torch.tensor([m.stored[i].data_ptr() for m in linears]) for i in range(len(first.stored))]
        self.weights, self.scales = addresses[0].to(device), addresses[-1].to(device)
        self.scaled = len(addresses) > 1


class ExpertBank:
    """All experts of a layer; their tensors must live as long as it does."""

    def __init__(self, experts: Sequence[DenseFeedForward], tuner: Tuner) -> None:
        self._up, self._down = (Matrices([e.linears[i] for e in experts]) for i in range(2))
        self._tuner = tuner

    def __call__(self, x: Tensor, chosen: Tensor, shares: Tensor) -> Tensor:
        """x (rows, hidden), chosen experts and their shares (rows, top k) -> (rows, hidden)."""
        rows, top = chosen.shape
        experts = chosen.flatten()
        order = experts.argsort()
        inner = fused.gate(self._product(self._up, x, experts, order, None, top))
        y = self._product(self._down, inner, experts, order, shares.flatten(), 1)
        return y.view(rows, top, -1).sum(dim=1)

    def _product(
        self, m: Matrices, x: Tensor, experts: Tensor, order: Tensor, shares: Tensor | None, top: int
    ) -> Tensor:
        how = x, experts, order, shares, top
        trials = {"x".join(map(str, block)): partial(_run, m, block, *how) for block in fused.VECTOR_BLOCKS}
        return self._tuner.run(("experts", m.type, m.outputs, m.inputs, row_bucket(len(experts))), trials)


def bank_of(experts: Sequence[DenseFeedForward], tuner: Tuner) -> ExpertBank | None:
    """None for formats that it has no kernel for."""
    known = all(e.gated and isinstance(m, FloatLinear | Int8Linear | Fp8Linear) for e in experts for m in e.linears)
    return ExpertBank(experts, tuner) if known else None


def _run(
    m: Matrices, block: tuple[int, int, int], x: Tensor, experts: Tensor, order: Tensor, shares: Tensor | None, top: int
) -> Tensor:
    wide, deep, warps = block
    y = torch.empty((len(experts), m.outputs), dtype=x.dtype, device=x.device)
    x, row_scale = fused.quantise(x) if m.a8 else (x, y)
    fused.launch(
        triton_experts.expert_rows, (triton.cdiv(m.outputs, wide), len(experts)), x, row_scale, m.weights, m.scales,
        experts, order, y if shares is None else shares, y, m.outputs, m.inputs, TOP=top, TYPE=TYPES[m.type],
        BLOCK_N=wide, BLOCK_K=deep, SCALED=m.scaled, ROW_SCALED=m.a8, ROUND_FP8=m.type is torch.float8_e4m3fn,
        SHARED_OUT=shares is not None, num_warps=warps,
    )  # fmt: skip
    return y
