"""Matrices in every precision, with random contents, and the kernels that multiply by them. Imported by probe
processes only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

from probes.engines.precision import INT4_GROUP, Precision
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner, row_bucket

__all__ = ["TORCH_TYPES", "Linear", "make_linear"]

TORCH_TYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


class Linear:
    """`y = x W^T (+ bias)`; x (rows, inputs) and y (rows, outputs) in the activation type."""

    def __init__(self, inputs: int, outputs: int, tuner: Tuner, bias: Tensor | None = None) -> None:
        self.inputs, self.outputs, self.bias, self._tuner = inputs, outputs, bias, tuner
        self.tensors: tuple[Tensor, ...] = ()

    @property
    def bytes(self) -> int:
        held = (*self.tensors, *(() if self.bias is None else (self.bias,)))
        return sum(t.numel() * t.element_size() for t in held)

    def __call__(self, x: Tensor) -> Tensor:
        y = self._product(x)
        return y if self.bias is None else y + self.bias

    def _product(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class FloatLinear(Linear):
    """fp32, bf16, fp16."""

    def __init__(self, inputs: int, outputs: int, tuner: Tuner, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(inputs, outputs, tuner, bias)
        self.weight = weight
        self.tensors = (weight,)

    def _product(self, x: Tensor) -> Tensor:
        if self.weight.is_cuda:
            return linear(x, self.weight)
        rows = x.shape[0]
        if self.weight.dtype is torch.float32:
            candidates = self._float32(x, rows)
        else:
            candidates = {
                "linear": lambda: linear(x, self.weight),
                "native": lambda: _without_onednn(linear, x, self.weight),
            }
            if rows == 1:
                candidates = {
                    "mv": lambda: torch.mv(self.weight, x[0])[None],
                    "mv-native": lambda: _without_onednn(torch.mv, self.weight, x[0])[None],
                }
            elif self.weight.dtype is torch.float16:  # half-precision products are emulated on most processors
                candidates["expand"] = lambda: linear(x.float(), self.weight.float()).half()
        return self._tuner.run((self.weight.dtype, self.weight.shape, row_bucket(rows)), candidates)

    def _float32(self, x: Tensor, rows: int) -> dict[str, Callable[[], Tensor]]:
        found: dict[str, Callable[[], Tensor]] = {"linear": lambda: linear(x, self.weight)}
        if rows <= 4:
            found["numba"] = lambda: _numba_gemv(self.weight, x)
        return found


class Int8Linear(Linear):
    """8-bit weights with one scale per row; activations as they are, or quantised per call with one scale."""

    def __init__(
        self, inputs: int, outputs: int, tuner: Tuner, pool: RandomPool, bias: Tensor | None, *, a8: bool
    ) -> None:
        super().__init__(inputs, outputs, tuner, bias)
        self._a8 = a8
        self.weight = pool.integers(outputs, inputs)
        self.scale = torch.full(
            (outputs,), 0.02 / 64, dtype=torch.float32 if a8 else torch.bfloat16, device=pool.device
        )
        self._cuda = self.weight.is_cuda
        if a8 and not self._cuda:
            self.weight = torch.ops.onednn.qlinear_prepack(self.weight, None)
            self._zero = torch.zeros(outputs, dtype=torch.int32)
        self.tensors = (self.weight, self.scale)

    def _product(self, x: Tensor) -> Tensor:
        if self._cuda:
            return self._product_cuda(x)
        if self._a8:
            return self._product_a8(x)
        candidates = {
            "int8pack": lambda: torch._weight_int8pack_mm(x, self.weight, self.scale),
            "expand": lambda: linear(x, self.weight.to(x.dtype)) * self.scale,
        }
        if x.shape[0] == 1:
            candidates["numba"] = lambda: _numba_gemv_int8(self.weight, self.scale, x)
        return self._tuner.run(("int8-a16", self.weight.shape, row_bucket(x.shape[0])), candidates)

    def _product_a8(self, x: Tensor) -> Tensor:
        scale = float(x.abs().max()) / 127 or 1.0
        q = (x.float() / scale + 128.0).round_().clamp_(0, 255).to(torch.uint8)
        return torch.ops.onednn.qlinear_pointwise(
            q, scale, 128, self.weight, self.scale, self._zero, None, 1.0, 0, x.dtype, "none", [], ""
        )

    def _product_cuda(self, x: Tensor) -> Tensor:
        if not self._a8:
            return linear(x, self.weight.to(x.dtype)) * self.scale
        rows = x.shape[0]
        padded = torch.nn.functional.pad(x, (0, 0, 0, max(0, 32 - rows)))  # the kernel wants more than 16 rows
        scale = padded.abs().amax(dim=1, keepdim=True).float() / 127
        q = (padded / scale.clamp_min(1e-8)).round().to(torch.int8)
        return (torch._int_mm(q, self.weight.t())[:rows] * (scale[:rows] * self.scale)).to(x.dtype)


class Fp8Linear(Linear):
    """E4M3 weights and activations with one scale each: CUDA, compute capability 8.9 and later."""

    def __init__(self, inputs: int, outputs: int, tuner: Tuner, pool: RandomPool, bias: Tensor | None) -> None:
        super().__init__(inputs, outputs, tuner, bias)
        self.weight = pool.floats((outputs, inputs), torch.bfloat16).to(torch.float8_e4m3fn)
        self._one = torch.ones((), dtype=torch.float32, device=pool.device)
        self.tensors = (self.weight,)

    def _product(self, x: Tensor) -> Tensor:
        q = x.to(torch.float8_e4m3fn)
        return torch._scaled_mm(q, self.weight.t(), scale_a=self._one, scale_b=self._one, out_dtype=x.dtype)


class Int4Linear(Linear):
    """4-bit weights, groups of 128 with a 16-bit scale and zero, in torch's own packing."""

    def __init__(self, inputs: int, outputs: int, tuner: Tuner, pool: RandomPool, bias: Tensor | None) -> None:
        super().__init__(inputs, outputs, tuner, bias)
        self._cuda = pool.device.type == "cuda"
        self._group = INT4_GROUP if inputs % INT4_GROUP == 0 else 32
        self.weight = self._pack(pool.integers(outputs, inputs))
        scales = (inputs // self._group, outputs, 2)
        self.scales = torch.full(scales, 0.0025, dtype=torch.bfloat16, device=pool.device)
        self.tensors = (self.weight, self.scales)

    def _pack(self, values: Tensor) -> Tensor:
        nibbles = values.to(torch.int32) & 15
        if not self._cuda:
            return torch._convert_weight_to_int4pack_for_cpu(nibbles, 1)
        return torch._convert_weight_to_int4pack((nibbles[:, ::2] << 4 | nibbles[:, 1::2]).to(torch.uint8), 8)

    def _product(self, x: Tensor) -> Tensor:
        kernel = torch._weight_int4pack_mm if self._cuda else torch._weight_int4pack_mm_for_cpu
        return kernel(x, self.weight, self._group, self.scales)


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


def _without_onednn(call: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
    torch._C._set_mkldnn_enabled(False)
    try:
        return call(*arguments)
    finally:
        torch._C._set_mkldnn_enabled(True)


def _numba_gemv(weight: Tensor, x: Tensor) -> Tensor:
    from probes.engines.numba_kernels import gemv_float32

    return torch.stack([torch.from_numpy(gemv_float32(weight.numpy(), row.numpy())) for row in x])


def _numba_gemv_int8(weight: Tensor, scale: Tensor, x: Tensor) -> Tensor:
    from probes.engines.numba_kernels import gemv_int8

    y = gemv_int8(weight.numpy(), scale.float().numpy(), x[0].float().numpy())
    return torch.from_numpy(y).to(x.dtype)[None]
