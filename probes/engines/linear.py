"""Matrices of fp32, bf16 and fp16 with the kernels that multiply by them. Imported by probe processes only."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear

from probes.engines.expanded import blockwise
from probes.engines.precision import Precision
from probes.engines.tuner import Tuner, row_bucket

__all__ = ["FEW_ROWS", "TORCH_TYPES", "FloatLinear", "Kernel", "Linear", "Product", "plain"]

TORCH_TYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
FEW_ROWS = 32  # up to here kernels that read each weight once for all rows may win
TRIAL_OPERATIONS = 2e9  # candidates are compared on a part of the matrix that takes about so many

Product = Callable[[Tensor], Tensor]  # x (rows, inputs) -> (rows, outputs)
# a kernel for the tensors of a matrix, its bias and the activation type; ImportError where it is not installed
Kernel = Callable[[tuple[Tensor, ...], Tensor | None, torch.dtype], Product]


class Linear:
    """`y = x W^T (+ bias)`; x (rows, inputs) and y (rows, outputs) in the activation type.

    `stored`: the tensors that hold the matrix; their first dimension is the output.
    """

    kind = ""

    def __init__(
        self, inputs: int, outputs: int, tuner: Tuner, stored: tuple[Tensor, ...], bias: Tensor | None
    ) -> None:
        self.inputs, self.outputs, self.stored, self.bias, self._tuner = inputs, outputs, stored, bias, tuner
        self._products: dict[int, Product] = {}

    @property
    def bytes(self) -> int:
        held = (*self.stored, *(() if self.bias is None else (self.bias,)))
        return sum(t.numel() * t.element_size() for t in held)

    def __call__(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            y = self.on_accelerator(x)
            return y if self.bias is None else y + self.bias
        x = x if x.is_contiguous() else x.contiguous()
        bucket = row_bucket(x.shape[0])
        product = self._products.get(bucket) or self._choose(x, bucket)
        return product(x)

    def candidates(self, rows: int) -> Mapping[str, Kernel]:
        """CPU kernels by name."""
        raise NotImplementedError

    def on_accelerator(self, x: Tensor) -> Tensor:
        """The product without bias."""
        raise NotImplementedError

    def _choose(self, x: Tensor, bucket: int) -> Product:
        kernels = self.candidates(x.shape[0])
        part = self.outputs
        if x.shape[0] > FEW_ROWS:
            part = min(part, max(256, int(TRIAL_OPERATIONS / (2 * x.numel())) // 64 * 64))
        stored, bias = tuple(t[:part] for t in self.stored), None if self.bias is None else self.bias[:part]
        trials = {name: _trial(kernel, stored, bias, x) for name, kernel in kernels.items()}
        key = (self.kind, *(t.dtype for t in self.stored), self.outputs, self.inputs, bucket)
        chosen = kernels[self._tuner.choose(key, trials)]
        self._products[bucket] = chosen(self.stored, self.bias, x.dtype)
        return self._products[bucket]


class FloatLinear(Linear):
    """fp32, bf16, fp16."""

    kind = "float"

    def __init__(self, inputs: int, outputs: int, tuner: Tuner, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(inputs, outputs, tuner, (weight,), bias)
        self.weight = weight

    def candidates(self, rows: int) -> Mapping[str, Kernel]:
        found: dict[str, Kernel] = {}
        sixteen = self.weight.dtype is not torch.float32
        if rows == 1:
            found["compiled"] = _vector
            if self.weight.dtype is torch.bfloat16 and self.inputs % 2 == 0:
                found["compiled-pairs"] = _pairs
            found |= {"mv": plain(_mv), "mv-native": _native(_mv)}
        elif rows <= FEW_ROWS:
            found["compiled-rows"] = _two if rows == 2 else _rows
        if sixteen and rows > 2:
            found["expand"] = plain(_expand)
        if rows > 1:
            found["linear"] = plain(_linear)
        if rows > 1 and sixteen:
            found["linear-native"] = _native(_linear)
        return found

    def on_accelerator(self, x: Tensor) -> Tensor:
        return linear(x, self.weight)


def plain(call: Callable[[Tensor, tuple[Tensor, ...], Tensor | None], Tensor]) -> Kernel:
    """A kernel without anything to prepare."""
    return lambda stored, bias, _dtype: lambda x: call(x, stored, bias)


def _native(call: Callable[[Tensor, tuple[Tensor, ...], Tensor | None], Tensor]) -> Kernel:
    """The same call without oneDNN."""

    def run(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
        torch._C._set_mkldnn_enabled(False)
        try:
            return call(x, stored, bias)
        finally:
            torch._C._set_mkldnn_enabled(True)

    return plain(run)


def _linear(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    return linear(x, stored[0], bias)


def _mv(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    y = torch.mv(stored[0], x[0])[None]
    return y if bias is None else y + bias


def _vector(stored: tuple[Tensor, ...], bias: Tensor | None, dtype: torch.dtype) -> Product:
    from probes.engines.compiled import float_vector

    return float_vector(stored[0], bias, dtype)


def _pairs(stored: tuple[Tensor, ...], bias: Tensor | None, dtype: torch.dtype) -> Product:
    from probes.engines.compiled import pairs_vector

    return pairs_vector(stored[0], bias, dtype)


def _two(stored: tuple[Tensor, ...], bias: Tensor | None, dtype: torch.dtype) -> Product:
    from probes.engines.compiled import float_two

    return float_two(stored[0], bias, dtype)


def _rows(stored: tuple[Tensor, ...], bias: Tensor | None, dtype: torch.dtype) -> Product:
    from probes.engines.compiled import float_rows

    return float_rows(stored[0], bias, dtype)


def _expand(x: Tensor, stored: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    return blockwise(x, stored, bias, lambda out, part: _widen(out, part[0]))


def _widen(out: Tensor, weight: Tensor) -> None:
    try:
        from probes.engines.compiled import expand_float
    except ImportError:
        out.copy_(weight)
    else:
        expand_float(out, weight)


def _trial(kernel: Kernel, stored: tuple[Tensor, ...], bias: Tensor | None, x: Tensor) -> Callable[[], Tensor]:
    prepared: list[Product] = []

    def call() -> Tensor:
        if not prepared:
            prepared.append(kernel(stored, bias, x.dtype))
        return prepared[0](x)

    return call
