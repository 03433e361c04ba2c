"""The decode step of one token through dense layers as one compiled call. Importing this module needs numba; callers
import it where a model is made, so that a machine without numba merely lacks this way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.engines.compiled import EMPTY, bias_bits, bits
from probes.engines.linear import NEAR_BYTES, FloatLinear, Linear
from probes.engines.numba_integer import BLOCK, LEVELS_8, LEVELS_16
from probes.engines.numba_layer import ADDRESSES, layers_step
from probes.engines.quantised import Int4Linear, Int8Linear

__all__ = ["DenseLayer", "WholeStep", "whole_step"]

Array = NDArray[Any]
Matrices = tuple[tuple[Any, ...], ...]

NEAR_TRIALS = 15  # of each distance to look ahead


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """What one layer computes with. linears: query-key-value, out, gate-up, down; head_norms: none, or two of
    (dimension,); caches: keys and values.
    """

    norms: tuple[Tensor, Tensor]
    epsilon: float
    linears: tuple[Linear, ...]
    head_norms: tuple[Tensor, ...]
    caches: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class _Arrays:
    """The same as numpy sees it: matrices as `numba_layer.multiply` takes them."""

    norms: tuple[Array, Array]
    epsilon: float
    matrices: Matrices
    head_norms: Array
    caches: tuple[Array, ...]

    def addresses(self) -> list[int]:
        """In the order in which `layers_step` looks for them."""
        found = [norm.ctypes.data for norm in self.norms]
        for matrix in self.matrices:
            held = [part.ctypes.data for part in matrix if isinstance(part, np.ndarray)]
            found += held + [0] * (3 - len(held))
        return [*found, self.head_norms.ctypes.data, *(cache.ctypes.data for cache in self.caches)]

    def looking(self, near: int) -> Matrices:
        """The matrices, `near` bytes ahead."""
        return tuple((*matrix[:-1], near) for matrix in self.matrices)

    def kind(self) -> tuple[object, ...]:
        """Layers of one kind can be in one call."""
        arrays = (*self.norms, *(part for matrix in self.matrices for part in matrix), self.head_norms, *self.caches)
        kinds = [(a.dtype, a.shape) if isinstance(a, np.ndarray) else a for a in arrays]
        return (self.epsilon, *kinds)


class WholeStep:
    """One call for any number of the first layers, which are of one kind."""

    def __init__(self, layers: Sequence[_Arrays], rope: tuple[Tensor, Tensor]) -> None:
        """rope: two of (tokens, dimension)."""
        self._layers, self._rope = tuple(layers), tuple(bits(t) for t in rope)  # kept: the table only points there
        self._table = np.array([layer.addresses() for layer in layers], np.int64)
        assert self._table.shape[1] == ADDRESSES
        self._spent, self._elapsed_s = np.zeros(2, np.int64), 0.0  # ticks in products and in all; of the last call
        self._matrices: Matrices | None = None  # looking ahead as far as is fastest here

    @property
    def between_s(self) -> float | None:
        """Seconds of the last call that went between the products: attention, norms, gates. None where the processor's
        ticks cannot be read.
        """
        inside, whole = self._spent
        return self._elapsed_s * float(1 - inside / whole) if whole > 0 else None

    def __call__(self, x: Tensor, slots: Tensor, lengths: Tensor, layers: int) -> Tensor:
        """x (1, hidden), slots (1,), lengths (1,) -> (1, hidden). The first call tries how far to look ahead."""
        if self._matrices is None:
            self._matrices = self._fastest(x, slots, lengths)
        return self._through(self._table[:layers], self._matrices, x, slots, lengths)

    def _through(self, table: Array, matrices: Matrices, x: Tensor, slots: Tensor, lengths: Tensor) -> Tensor:
        y, like = torch.empty_like(x), self._layers[0]
        self._spent[:] = 0
        start = time.perf_counter()
        layers_step(
            bits(x), table, like.norms, like.epsilon, matrices, like.head_norms, self._rope, slots.numpy(),
            lengths.numpy(), like.caches, bits(y), self._spent,
        )  # fmt: skip
        self._elapsed_s = time.perf_counter() - start
        return y

    def _fastest(self, x: Tensor, slots: Tensor, lengths: Tensor) -> Matrices:
        """By the median over layers, each with other weights, which no cache holds then. One matrix is over too soon:
        told by it, some runs of int8 took a distance that was an eighth slower (Zen 3).
        """
        ways = {near: self._layers[0].looking(near) for near in NEAR_BYTES}
        seconds: dict[int, list[float]] = {near: [] for near in ways}
        self._through(self._table[:1], self._layers[0].matrices, x, slots, lengths)  # compiles
        for turn in range(NEAR_TRIALS * len(ways)):
            near, layer = NEAR_BYTES[turn % len(ways)], turn % len(self._table)
            self._through(self._table[layer : layer + 1], ways[near], x, slots, lengths)
            seconds[near].append(self._elapsed_s)
        return ways[min(ways, key=lambda near: median(seconds[near]))]


def whole_step(layers: Sequence[DenseLayer], rope: tuple[Tensor, Tensor]) -> WholeStep | None:
    """None where a matrix has no kernel for this, or where layers differ."""
    found = [_arrays(layer) for layer in layers]
    arrays = [a for a in found if a is not None]
    if len(arrays) < len(found) or len({a.kind() for a in arrays}) != 1:
        return None
    return WholeStep(arrays, rope)


def _arrays(layer: DenseLayer) -> _Arrays | None:
    dtype = layer.norms[0].dtype
    found = [_matrix(linear, dtype) for linear in layer.linears]
    matrices = tuple(m for m in found if m is not None)
    if len(matrices) < len(found):
        return None
    inside = bits(torch.stack(list(layer.head_norms)) if layer.head_norms else EMPTY[dtype].view(0, 1))
    around = bits(layer.norms[0]), bits(layer.norms[1])
    return _Arrays(around, layer.epsilon, matrices, inside, tuple(bits(c) for c in layer.caches))


def _matrix(linear: Linear, dtype: torch.dtype) -> tuple[Any, ...] | None:
    """As `numba_layer.multiply` takes it, with any distance to look ahead."""
    bias, first = bias_bits(linear.bias, dtype), linear.stored[0]
    if isinstance(linear, FloatLinear):
        pairs = first.dtype is torch.bfloat16 and linear.inputs % 2 == 0
        return (bits(first).view("uint32") if pairs else bits(first)), bias, NEAR_BYTES[0]
    if isinstance(linear, Int8Linear):
        levels = LEVELS_8 if linear.a8 else LEVELS_16
        return first.numpy(), linear.stored[1].numpy(), BLOCK, levels, bias, NEAR_BYTES[0]
    if isinstance(linear, Int4Linear):
        return first.numpy(), bits(linear.stored[1]), linear.group, bias, NEAR_BYTES[0]
    return None
