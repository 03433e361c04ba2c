"""Matrices of 8 and 4 bits with the kernels that multiply by them. Imported by probe processes only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from probes.engines.expanded import blockwise
from probes.engines.linear import FEW_ROWS, TORCH_TYPES, FloatLinear, Kernel, Linear, Product, Way, plain
from probes.engines.precision import INT4_GROUP, Precision
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner

__all__ = ["Fp8Linear", "Int4Linear", "Int8Linear", "make_linear"]

SMALL_GROUP = 32
LEAST_ROWS = 32  # torch's 8-bit product on CUDA wants more than 16
BITS_8, BITS_7 = 127, 63  # largest activation
WHOLE = 64  # torch's 8-bit product reads beyond matrices that are no multiple of its blocks


class Int8Linear(Linear):
    """8-bit weights with one scale per output; activations as they are (A16), or 8 bits with one scale per row (A8)."""

    def __init__(
        self, inputs: int, outputs: int, tuner: Tuner, pool: RandomPool, bias: Tensor | None, *, a8: bool
    ) -> None:
        weight = pool.integers(outputs, inputs)
        scale = torch.full((outputs,), 0.02 / 64, dtype=torch.float32, device=pool.device)
        super().__init__(inputs, outputs, tuner, (weight, scale), bias)
        self.a8, self.kind = a8, "int8-a8" if a8 else "int8-a16"

    def candidates(self, rows: int) -> Mapping[str, Kernel]:
        found: dict[str, Kernel] = {}
        if rows <= FEW_ROWS:
            found["compiled"] = self._compiled
        if self.a8:
            found |= {"onednn": plain(_onednn_a8)} | ({"int-mm": plain(_int_mm)} if rows > 1 else {})
        else:
            if self.inputs % WHOLE == 0 and self.outputs % WHOLE == 0:
                found["int8pack"] = plain(_int8pack)
            found["expand-bf16"] = plain(_expand8_bf16)
        return found | {"expand": plain(_expand8)}

    def ahead(self, near: int) -> Kernel:
        return partial(_int8, near=near, a8=self.a8)

    def ways(self, rows: int) -> Mapping[str, Way]:
        found: dict[str, Way] = {"library": self._library}
        if self.fused is not None and rows <= FEW_ROWS:
            found |= self.fused.few_rows(*self.stored, self.bias, a8=self.a8, single=rows == 1)
        return found

    def _library(self, x: Tensor, residual: Tensor | None) -> Tensor:
        weight, scale = self.stored
        if not self.a8:
            return self.finished(linear(x, weight.to(x.dtype)) * scale.to(x.dtype), residual)
        rows = x.shape[0]
        x = pad(x, (0, 0, 0, max(0, LEAST_ROWS - rows)))
        if self.fused is not None:
            q, row_scale = self.fused.quantise(x)
            sums = torch._int_mm(q, weight.t())[:rows]
            return self.fused.finish(sums[None], x.dtype, scale, row_scale, self.bias, residual)
        q, row_scale = _eight_bits(x)
        y = torch._int_mm(q, weight.t())[:rows] * (row_scale[:rows] * scale)
        return self.finished(y.to(x.dtype), residual)


class Fp8Linear(Linear):
    """E4M3 weights and activations with one scale each: CUDA, compute capability 8.9 and later."""

    def __init__(self, inputs: int, outputs: int, tuner: Tuner, pool: RandomPool, bias: Tensor | None) -> None:
        weight = pool.floats((outputs, inputs), torch.bfloat16).to(torch.float8_e4m3fn)
        super().__init__(inputs, outputs, tuner, (weight,), bias)
        self._one = torch.ones((), dtype=torch.float32, device=pool.device)

    def candidates(self, rows: int) -> Mapping[str, Kernel]:
        raise NotImplementedError("8-bit floating products need an accelerator")

    def ways(self, rows: int) -> Mapping[str, Way]:
        found: dict[str, Way] = {"library": self._library}
        if self.fused is not None and rows <= FEW_ROWS:
            found |= self.fused.few_rows(self.stored[0], None, self.bias, fp8=True, single=rows == 1)
        return found

    def _library(self, x: Tensor, residual: Tensor | None) -> Tensor:
        q, weight = x.to(torch.float8_e4m3fn), self.stored[0]
        y = torch._scaled_mm(q, weight.t(), scale_a=self._one, scale_b=self._one, out_dtype=x.dtype)
        return self.finished(y, residual)


class Int4Linear(Linear):
    """4-bit weights, groups of 128 with a 16-bit scale and zero.

    (outputs, groups, group / 2) bytes, the low nibbles the first half of the group: torch's own kernels read at a third
    of the memory's speed on CPU, and many rows at a tenth on CUDA. On CPU single rows are rounded to 8 bits by group,
    as llama.cpp and OpenVINO do.
    """

    kind = "int4"

    def __init__(self, inputs: int, outputs: int, tuner: Tuner, pool: RandomPool, bias: Tensor | None) -> None:
        self.group = INT4_GROUP if inputs % INT4_GROUP == 0 else SMALL_GROUP
        groups, values = inputs // self.group, pool.integers(outputs, inputs // 2)
        packed = values.view(torch.uint8).view(outputs, groups, self.group // 2)
        grid = torch.full((outputs, groups, 2), 0.0025, dtype=torch.bfloat16, device=pool.device)
        super().__init__(inputs, outputs, tuner, (packed, grid), bias)

    def candidates(self, rows: int) -> Mapping[str, Kernel]:
        found: dict[str, Kernel] = {"compiled": self._compiled} if rows <= FEW_ROWS else {}
        return found | {"expand": plain(_expand4), "expand-bf16": plain(_expand4_bf16)}

    def ahead(self, near: int) -> Kernel:
        return partial(_int4, near=near)

    def ways(self, rows: int) -> Mapping[str, Way]:
        found: dict[str, Way] = {"library": self._library}
        if self.fused is not None and rows <= FEW_ROWS:
            found |= self.fused.few_rows4(*self.stored, self.bias)
        return found

    def _library(self, x: Tensor, residual: Tensor | None) -> Tensor:
        packed, grid = self.stored
        weight = _values4(packed, grid).to(x.dtype) if self.fused is None else self.fused.expand4(packed, grid, x.dtype)
        return self.finished(linear(x, weight.view(self.outputs, self.inputs)), residual)


def make_linear(
    inputs: int, outputs: int, precision: Precision, pool: RandomPool, tuner: Tuner, *, bias: bool = False
) -> Linear:
    """A matrix with random contents. Biases are stored in the activation type."""
    extra = pool.floats((outputs,), TORCH_TYPES[pool.activation]) if bias else None
    if precision in TORCH_TYPES:
        return FloatLinear(inputs, outputs, tuner, pool.floats((outputs, inputs), TORCH_TYPES[precision]), extra)
    if precision in (Precision.INT8_A8, Precision.INT8_A16):
        return Int8Linear(inputs, outputs, tuner, pool, extra, a8=precision is Precision.INT8_A8)
    if precision is Precision.FP8:
        return Fp8Linear(inputs, outputs, tuner, pool, extra)
    return Int4Linear(inputs, outputs, tuner, pool, extra)


def _eight_bits(x: Tensor, largest: int = BITS_8) -> tuple[Tensor, Tensor]:
    """(int8 values up to `largest`, scales (rows, 1))."""
    scale = x.abs().amax(dim=1, keepdim=True).float().clamp_min(1e-8) / largest
    return (x.float() / scale).round_().to(torch.int8), scale


def _int8(stored: tuple[Tensor, ...], bias: Tensor | None, dtype: torch.dtype, *, near: int, a8: bool) -> Product:
    from probes.engines.compiled import int8_rows

    return int8_rows(*stored, bias, dtype, near, a8=a8)


def _onednn_a8(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    q, row_scale = _eight_bits(x, _largest())
    return _finish(_onednn(q, _largest() + 1, *stored) * row_scale, x, bias)


def _onednn(q: Tensor, offset: int, weight: Tensor, scale: Tensor) -> Tensor:
    """Packed anew for each call: a packed copy would double the memory, and packing costs one pass over the weights."""
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    zero = torch.zeros(weight.shape[0], dtype=torch.int32)
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        (q.to(torch.int16) + offset).to(torch.uint8), 1.0, offset, packed, scale, zero, None, 1.0, 0, torch.float32,
        "none", [], "",
    )  # fmt: skip
    return product


@lru_cache(maxsize=1)
def _largest() -> int:
    """Processors without instructions for 8-bit products add two of them in 16 bits, which 255 x 127 x 2 overflows and
    127 x 127 x 2 does not: activations then have one bit less. Tried, not looked up.
    """
    q, weight = (torch.full((LEAST_ROWS, WHOLE), BITS_8, dtype=torch.int8) for _ in range(2))
    exact = bool((_onednn(q, BITS_8 + 1, weight, torch.ones(LEAST_ROWS)) == WHOLE * BITS_8**2).all())
    return BITS_8 if exact else BITS_7


def _int_mm(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    q, row_scale = _eight_bits(x)
    return _finish(torch._int_mm(q, stored[0].t()) * (row_scale * stored[1]), x, bias)


def _int8pack(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    return _finish(torch._weight_int8pack_mm(x, stored[0], stored[1].to(x.dtype)), x, bias)


def _expand8(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    return blockwise(x, stored, bias, _fill8)


def _expand8_bf16(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    return blockwise(x, stored, bias, _fill8, torch.bfloat16)


def _fill8(out: Tensor, part: tuple[Tensor, ...]) -> None:
    try:
        from probes.engines.compiled import expand_int8
    except ImportError:
        out.copy_(part[0] * part[1][:, None])
    else:
        expand_int8(out, *part)


def _int4(stored: tuple[Tensor, ...], bias: Tensor | None, dtype: torch.dtype, near: int) -> Product:
    from probes.engines.compiled import int4_rows

    return int4_rows(*stored, bias, dtype, near)


def _expand4(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    return blockwise(x, stored, bias, _fill4)


def _expand4_bf16(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    return blockwise(x, stored, bias, _fill4, torch.bfloat16)


def _fill4(out: Tensor, part: tuple[Tensor, ...]) -> None:
    try:
        from probes.engines.compiled import expand_int4
    except ImportError:
        packed, grid = part
        out.copy_(_values4(packed, grid).view(out.shape))
    else:
        expand_int4(out, *part)


def _values4(packed: Tensor, grid: Tensor) -> Tensor:
    """float32 (outputs, groups, group)."""
    nibbles = torch.cat((packed & 15, packed >> 4), dim=2).float() - 8
    return nibbles * grid[:, :, :1].float() + grid[:, :, 1:].float()


def _finish(y: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
    y = y.to(x.dtype)
    return y if bias is None else y + bias
