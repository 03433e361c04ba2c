"""Matrices of fp32, bf16 and fp16 with the kernels that multiply by them. Imported by probe processes only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import linear

from probes.engines.expanded import blockwise
from probes.engines.precision import Precision
from probes.engines.tuner import Tuner, row_bucket

__all__ = ["FEW_ROWS", "TORCH_TYPES", "FloatLinear", "Kernel", "Linear", "Product", "Way", "fused_kernels", "plain"]

TORCH_TYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
FEW_ROWS = 32  # up to here kernels that read each weight once for all rows may win
NEAR_BYTES = (128, 256, 512, 1024, 2048)  # to look ahead in products of one row: which is fastest is tried
TRIAL_OPERATIONS = 2e9  # candidates are compared on a part of the matrix that takes about so many

Product = Callable[[Tensor], Tensor]  # x (rows, inputs) -> (rows, outputs)
Way = Callable[[Tensor, Tensor | None], Tensor]  # the same on a GPU, with the bias and what is to be added, if anything
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
        self._ways: dict[int, Way] = {}
        self.fused = fused_kernels(stored[0].device)

    @property
    def bytes(self) -> int:
        held = (*self.stored, *(() if self.bias is None else (self.bias,)))
        return sum(t.numel() * t.element_size() for t in held)

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """`residual` (rows, outputs) is added."""
        x = x if x.is_contiguous() else x.contiguous()
        bucket = row_bucket(x.shape[0])
        if x.is_cuda:
            way = self._ways.get(bucket) or self._choose_way(x, residual, bucket)
            return way(x, residual)
        product = self._products.get(bucket) or self._choose(x, bucket)
        y = product(x)
        return y if residual is None else residual + y

    def candidates(self, rows: int) -> Mapping[str, Kernel]:
        """CPU kernels by name."""
        raise NotImplementedError

    def ahead(self, near: int) -> Kernel:
        """The compiled kernel for one row, looking `near` bytes ahead."""
        raise NotImplementedError

    def near(self, dtype: torch.dtype) -> int:
        """How many bytes to look ahead here, as tried; `dtype`: of activations.

        Processors differ: with int8 a Zen 1 reads fastest at 1,024, where a Zen 3 at 256 is an eighth faster.
        """
        x = torch.ones((1, self.inputs), dtype=dtype)
        trials = {str(near): _trial(self.ahead(near), self.stored, self.bias, x) for near in NEAR_BYTES}
        key = ("near", self.kind, dtype, *(t.dtype for t in self.stored), self.outputs, self.inputs)
        return int(self._tuner.choose(key, trials))

    def _compiled(self, stored: tuple[Tensor, ...], bias: Tensor | None, dtype: torch.dtype) -> Product:
        return self.ahead(self.near(dtype))(stored, bias, dtype)

    def ways(self, rows: int) -> Mapping[str, Way]:
        """GPU kernels by name. Without triton, those of torch alone."""
        raise NotImplementedError

    def finished(self, y: Tensor, residual: Tensor | None) -> Tensor:
        """The bias and what is to be added, for products that leave them out."""
        y = y if self.bias is None else y + self.bias
        return y if residual is None else residual + y

    def _choose_way(self, x: Tensor, residual: Tensor | None, bucket: int) -> Way:
        ways = self.ways(x.shape[0])
        trials = {name: partial(way, x, residual) for name, way in ways.items()}
        added = self.bias is not None, residual is not None
        key = (self.kind, *(t.dtype for t in self.stored), self.outputs, self.inputs, *added, bucket)
        self._ways[bucket] = ways[self._tuner.choose(key, trials)]
        return self._ways[bucket]

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
            found["compiled"] = self._compiled
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

    def ahead(self, near: int) -> Kernel:
        pairs = self.weight.dtype is torch.bfloat16 and self.inputs % 2 == 0
        return partial(_pairs if pairs else _vector, near=near)

    def ways(self, rows: int) -> Mapping[str, Way]:
        found: dict[str, Way] = {"library": self._library}
        if self.fused is not None and rows <= FEW_ROWS:
            found |= self.fused.few_rows(self.weight, None, self.bias, single=rows == 1)
        return found

    def _library(self, x: Tensor, residual: Tensor | None) -> Tensor:
        if residual is None or self.bias is not None:
            y = linear(x, self.weight, self.bias)
            return y if residual is None else residual + y
        return torch.addmm(residual, x, self.weight.t())


def fused_kernels(device: torch.device) -> ModuleType | None:
    """`probes.engines.fused` where Triton can compile for this device, else None: torch's own kernels do."""
    if device.type != "cuda":
        return None
    try:
        from probes.engines import fused
    except ImportError:
        return None
    return fused if fused.works(device) else None


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


def _vector(stored: tuple[Tensor, ...], bias: Tensor | None, dtype: torch.dtype, near: int) -> Product:
    from probes.engines.compiled import float_vector

    return float_vector(stored[0], bias, dtype, near)


def _pairs(stored: tuple[Tensor, ...], bias: Tensor | None, dtype: torch.dtype, near: int) -> Product:
    from probes.engines.compiled import pairs_vector

    return pairs_vector(stored[0], bias, dtype, near)


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
