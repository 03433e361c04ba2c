"""Tensors in, tensors out, for the kernels that numba compiles. Importing this module needs numba; callers import it
inside a candidate, so that a machine without numba merely lacks those candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.engines import numba_attention, numba_float, numba_integer, numba_nibbles
from probes.engines.numba_integer import BLOCK, LEVELS_8, LEVELS_16

__all__ = [
    "EMPTY", "absorb", "attend", "bias_bits", "bits", "expand_float", "expand_int4", "expand_int8", "float_rows",
    "float_two", "float_vector", "int4_rows", "int8_rows", "leave", "normalise", "pairs_vector", "place_and_attend",
]  # fmt: skip

EMPTY = {t: torch.empty(0, dtype=t) for t in (torch.float32, torch.bfloat16, torch.float16)}
Product = Callable[[Tensor], Tensor]  # x (rows, inputs) -> (rows, outputs)
INTEGER_VIEW = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}

numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))


def float_vector(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, near: int) -> Product:
    """One row; `near`: bytes to look ahead."""
    return _product(numba_float.product, bits(weight), bias, dtype, near)


def pairs_vector(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, near: int) -> Product:
    """One row, bfloat16 weights in pairs; an even number of inputs."""
    return _product(numba_float.product_pairs, bits(weight).view(np.uint32), bias, dtype, near)


def float_two(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Product:
    """Two rows."""
    return _product(numba_float.product_two, bits(weight), bias, dtype)


def float_rows(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Product:
    return _product(numba_float.product_rows, bits(weight), bias, dtype)


def int8_rows(
    weight: Tensor, scale: Tensor, bias: Tensor | None, dtype: torch.dtype, near: int, *, a8: bool
) -> Product:
    """`a8`: activations of 8 bits with one scale per row; else of 16 bits with one per block."""
    levels = LEVELS_8 if a8 else LEVELS_16
    matrix, factors, extra, outputs = weight.numpy(), scale.numpy(), bias_bits(bias, dtype), weight.shape[0]

    def run(x: Tensor) -> Tensor:
        q, scales = numba_integer.quantise(bits(x), BLOCK, levels)
        y = torch.empty((x.shape[0], outputs), dtype=dtype)
        numba_integer.product8(matrix, factors, q, scales, BLOCK, extra, near, bits(y))
        return y

    return run


def int4_rows(packed: Tensor, grid: Tensor, bias: Tensor | None, dtype: torch.dtype, near: int) -> Product:
    nibbles, steps, extra = packed.numpy(), bits(grid), bias_bits(bias, dtype)
    outputs, group = packed.shape[0], 2 * packed.shape[2]

    def run(x: Tensor) -> Tensor:
        q, scales, sums = numba_nibbles.quantise_groups(bits(x), group)
        y = torch.empty((x.shape[0], outputs), dtype=dtype)
        numba_nibbles.product4(nibbles, steps, q, scales, sums, extra, near, bits(y))
        return y

    return run


def expand_float(out: Tensor, weight: Tensor) -> None:
    numba_float.expand(bits(weight), out.numpy())


def expand_int8(out: Tensor, weight: Tensor, scale: Tensor) -> None:
    numba_integer.expand8(weight.numpy(), scale.numpy(), bits(out))


def expand_int4(out: Tensor, packed: Tensor, grid: Tensor) -> None:
    numba_nibbles.expand4(packed.numpy(), bits(grid), bits(out))


def attend(q: Tensor, keys: Tensor, values: Tensor, slots: Tensor, lengths: Tensor, longest: int) -> Tensor:
    """q (rows, heads, dimension), caches (slots, kv heads, tokens, dimension) -> (rows, heads, dimension)."""
    rows, heads, dim = q.shape
    kv_heads = keys.shape[1]
    tasks = rows * kv_heads * (longest // numba_attention.CHUNK + 1)
    group = heads // kv_heads
    tops, sums = np.zeros((tasks, group), np.float32), np.zeros((tasks, group), np.float32)
    parts = np.zeros((tasks, group, dim), np.float32)
    y = torch.empty(q.shape, dtype=q.dtype)
    numba_attention.attend(
        bits(q.contiguous()), bits(keys), bits(values), slots.numpy(), lengths.numpy(), tops, sums, parts, bits(y)
    )
    return y


def place_and_attend(
    x: Tensor, heads: int, norms: Sequence[Tensor], epsilon: float, rope: tuple[Tensor, Tensor],
    caches: tuple[Tensor, Tensor], slots: Tensor, lengths: Tensor, longest: int,
) -> Tensor:  # fmt: skip
    """x (rows, (heads + 2 kv heads) x dimension): keys and values into the caches (slots, kv heads, tokens, dimension),
    then `attend`; rope: two of (rows, 1, dimension).
    """
    dim = caches[0].shape[3]
    q = torch.empty((x.shape[0], heads, dim), dtype=x.dtype)
    weights = torch.stack(list(norms)) if norms else EMPTY[x.dtype].view(0, 1)
    cosine, sine = (bits(t[:, 0]) for t in rope)
    numba_attention.place(
        bits(x), bits(weights), epsilon, cosine, sine, slots.numpy(), lengths.numpy(), bits(q), bits(caches[0]),
        bits(caches[1]),
    )  # fmt: skip
    return attend(q, *caches, slots, lengths, longest)


def absorb(q: Tensor, k_b: Tensor) -> Tensor:
    """q (rows, heads, nope), k_b (heads, nope, rank) -> (rows, heads, rank)."""
    y = torch.empty((*q.shape[:2], k_b.shape[2]), dtype=q.dtype)
    numba_attention.absorb(bits(q.contiguous()), bits(k_b), bits(y))
    return y


def leave(x: Tensor, v_b: Tensor) -> Tensor:
    """x (rows, heads, rank), v_b (heads, v, rank) -> (rows, heads, v)."""
    y = torch.empty((*x.shape[:2], v_b.shape[1]), dtype=x.dtype)
    numba_attention.leave(bits(x.contiguous()), bits(v_b), bits(y))
    return y


def normalise(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x (..., width)."""
    y = torch.empty(x.shape, dtype=x.dtype)
    width = x.shape[-1]
    numba_attention.normalise(bits(x.reshape(-1, width)), bits(weight), epsilon, bits(y.view(-1, width)))
    return y


def bits(tensor: Tensor) -> NDArray[Any]:
    """numpy's view of the memory; 16-bit floats as integers (see `numba_bits`)."""
    kind = INTEGER_VIEW.get(tensor.dtype)
    return tensor.numpy() if kind is None else tensor.view(kind).numpy()


def bias_bits(bias: Tensor | None, dtype: torch.dtype) -> NDArray[Any]:
    return bits(EMPTY[dtype] if bias is None else bias)


def _product(
    kernel: Any, matrix: NDArray[Any], bias: Tensor | None, dtype: torch.dtype, *further: int
) -> Product:
    """numpy's views of the matrix are made once: for one row they take as long as a small product."""
    extra, outputs = bias_bits(bias, dtype), matrix.shape[0]

    def run(x: Tensor) -> Tensor:
        y = torch.empty((x.shape[0], outputs), dtype=dtype)
        kernel(matrix, bits(x), extra, *further, bits(y))
        return y

    return run
