"""Tensors in, tensors out, for the kernels that numba compiles. Importing this module needs numba; callers import it
inside a candidate, so that a machine without numba merely lacks those candidates.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probes.engines import numba_attention, numba_float, numba_integer
from probes.engines.numba_integer import BLOCK, LEVELS_8, LEVELS_16

__all__ = [
    "absorb", "attend", "expand_float", "expand_int4", "expand_int8", "float_rows", "float_vector", "int4_rows",
    "int8_rows", "leave", "normalise", "pairs_vector",
]  # fmt: skip

EMPTY = {t: torch.empty(0, dtype=t) for t in (torch.float32, torch.bfloat16, torch.float16)}
INTEGER_VIEW = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}

numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))


def float_vector(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One row; x (1, inputs)."""
    y = torch.empty((1, weight.shape[0]), dtype=x.dtype)
    numba_float.product(_bits(weight), _bits(x)[0], _bias(x, bias), _bits(y)[0])
    return y


def pairs_vector(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One row, bfloat16 weights in pairs; an even number of inputs."""
    y = torch.empty((1, weight.shape[0]), dtype=x.dtype)
    numba_float.product_pairs(_bits(weight).view(np.uint32), _bits(x)[0], _bias(x, bias), _bits(y)[0])
    return y


def float_rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = torch.empty((x.shape[0], weight.shape[0]), dtype=x.dtype)
    numba_float.product_rows(_bits(weight), _bits(x), _bias(x, bias), _bits(y))
    return y


def int8_rows(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, *, a8: bool) -> Tensor:
    """`a8`: activations of 8 bits with one scale per row; else of 16 bits with one per block."""
    block, levels = (x.shape[1], LEVELS_8) if a8 else (BLOCK, LEVELS_16)
    q, scales, _ = numba_integer.quantise(_bits(x), block, levels)
    y = torch.empty((x.shape[0], weight.shape[0]), dtype=x.dtype)
    numba_integer.product8(weight.numpy(), scale.numpy(), q, scales, block, _bias(x, bias), _bits(y))
    return y


def int4_rows(x: Tensor, packed: Tensor, grid: Tensor, bias: Tensor | None) -> Tensor:
    q, scales, sums = numba_integer.quantise(_bits(x), 2 * packed.shape[2], LEVELS_16)
    y = torch.empty((x.shape[0], packed.shape[0]), dtype=x.dtype)
    numba_integer.product4(packed.numpy(), _bits(grid), q, scales, sums, _bias(x, bias), _bits(y))
    return y


def expand_float(out: Tensor, weight: Tensor) -> None:
    numba_float.expand(_bits(weight), out.numpy())


def expand_int8(out: Tensor, weight: Tensor, scale: Tensor) -> None:
    numba_integer.expand8(weight.numpy(), scale.numpy(), _bits(out))


def expand_int4(out: Tensor, packed: Tensor, grid: Tensor) -> None:
    numba_integer.expand4(packed.numpy(), _bits(grid), _bits(out))


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
        _bits(q.contiguous()), _bits(keys), _bits(values), slots.numpy(), lengths.numpy(), tops, sums, parts, _bits(y)
    )
    return y


def absorb(q: Tensor, k_b: Tensor) -> Tensor:
    """q (rows, heads, nope), k_b (heads, nope, rank) -> (rows, heads, rank)."""
    y = torch.empty((*q.shape[:2], k_b.shape[2]), dtype=q.dtype)
    numba_attention.absorb(_bits(q.contiguous()), _bits(k_b), _bits(y))
    return y


def leave(x: Tensor, v_b: Tensor) -> Tensor:
    """x (rows, heads, rank), v_b (heads, v, rank) -> (rows, heads, v)."""
    y = torch.empty((*x.shape[:2], v_b.shape[1]), dtype=x.dtype)
    numba_attention.leave(_bits(x.contiguous()), _bits(v_b), _bits(y))
    return y


def normalise(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x (..., width)."""
    y = torch.empty(x.shape, dtype=x.dtype)
    width = x.shape[-1]
    numba_attention.normalise(_bits(x.reshape(-1, width)), _bits(weight), epsilon, _bits(y.view(-1, width)))
    return y


def _bits(tensor: Tensor) -> NDArray[Any]:
    """numpy's view of the memory; 16-bit floats as integers (see `numba_bits`)."""
    kind = INTEGER_VIEW.get(tensor.dtype)
    return tensor.numpy() if kind is None else tensor.view(kind).numpy()


def _bias(x: Tensor, bias: Tensor | None) -> NDArray[Any]:
    return _bits(EMPTY[x.dtype] if bias is None else bias)
