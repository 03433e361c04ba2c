"""Tensors in, tensors out, for the kernels that Triton compiles for a GPU: products of few rows in every format, and
what lies between the products. Importing this module needs triton, which torch brings along where it runs on CUDA.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
import triton
from torch import Tensor
from triton.errors import TritonError

from probes.engines import triton_layer, triton_rows

__all__ = [
    "MOST_ROWS", "Fused", "attend", "expand4", "few_rows", "few_rows4", "finish", "gate", "launch", "norm", "place",
    "quantise", "works",
]  # fmt: skip

MOST_ROWS = 32
MOST_PARTS, LEAST_CHUNK, TOKEN_BLOCK = 64, 64, 64
# (outputs, inputs) of a block, warps, programs for each output: which is best depends on the matrix and the card, so
# they are tried
VECTOR_BLOCKS = ((4, 1024, 4), (8, 512, 4), (16, 256, 4), (2, 2048, 8))
DOT_BLOCKS = ((16, 128, 4, 1), (16, 256, 4, 1), (32, 128, 4, 1), (64, 128, 8, 1), (32, 128, 4, 4), (64, 128, 4, 4))
NIBBLE_BLOCKS = ((2, 1), (4, 2), (8, 4), (16, 4), (32, 4))
STAGES = 4
FINISH_BLOCK = 1024

Fused = Callable[[Tensor, Tensor | None], Tensor]  # x (rows, inputs), residual (rows, outputs) -> (rows, outputs)


@cache
def works(device: torch.device) -> bool:
    """Whether a kernel can be compiled and run here."""
    x = torch.ones((1, 64), dtype=torch.bfloat16, device=device)
    try:
        return bool(torch.isfinite(norm(x, x[0], 1e-6)).all())
    except RuntimeError:
        return False


def few_rows(
    weight: Tensor, scale: Tensor | None, bias: Tensor | None, *, a8: bool = False, fp8: bool = False, single: bool
) -> Mapping[str, Fused]:
    """Ways to multiply up to `MOST_ROWS` rows (one if `single`) by weight (outputs, inputs), by name.

    `scale` (outputs): of 8-bit integers; `a8`: activations rounded to 8 bits by row too. `fp8`: activations rounded to
    E4M3.
    """
    how = weight, scale, bias, a8, fp8
    found: dict[str, Fused] = {_name("dot", block): partial(_dot, *how, block) for block in DOT_BLOCKS}
    if not single:
        return found
    vectors = {_name("vector", block): partial(_vector, *how, block) for block in VECTOR_BLOCKS}
    return vectors if weight.element_size() > 1 else vectors | found  # 8 bits take longer to widen than to read


def few_rows4(packed: Tensor, grid: Tensor, bias: Tensor | None) -> Mapping[str, Fused]:
    """The same for 4-bit weights: packed (outputs, groups, group / 2), grid (outputs, groups, 2)."""
    return {_name("nibbles", block): partial(_nibbles, packed, grid, bias, block) for block in NIBBLE_BLOCKS}


def expand4(packed: Tensor, grid: Tensor, dtype: torch.dtype) -> Tensor:
    """4-bit weights as (outputs, inputs) of the type."""
    outputs, groups, half = packed.shape
    y = torch.empty((outputs, groups * 2 * half), dtype=dtype, device=packed.device)
    block = min(16, triton.next_power_of_2(groups))
    launch(
        triton_rows.expand_nibbles, (outputs, triton.cdiv(groups, block)), packed, grid, y, y.shape[1], HALF=half,
        BLOCK=block,
    )  # fmt: skip
    return y


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """(int8 values as x (rows, inputs), scales (rows))."""
    rows, inputs = x.shape
    q = torch.empty(x.shape, dtype=torch.int8, device=x.device)
    scale = torch.empty(rows, dtype=torch.float32, device=x.device)
    launch(triton_rows.quantise_rows, (rows,), x, q, scale, inputs, BLOCK=triton.next_power_of_2(inputs), num_warps=8)
    return q, scale


def norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x (..., width)."""
    x = x.contiguous()
    width, y = x.shape[-1], torch.empty_like(x)
    block = triton.next_power_of_2(width)
    warps = 8 if block >= 2048 else 4
    launch(
        triton_layer.norm_rows, (x.numel() // width,), x, weight, y, width, epsilon, BLOCK=block, num_warps=warps
    )
    return y


def gate(x: Tensor) -> Tensor:
    """x (rows, 2 width): silu(first half) * second half."""
    rows, width = x.shape[0], x.shape[1] // 2
    y = torch.empty((rows, width), dtype=x.dtype, device=x.device)
    launch(triton_layer.gate_rows, (rows, triton.cdiv(width, 1024)), x, y, width, BLOCK=1024)
    return y


def place(
    x: Tensor, heads: int, norms: Tensor | None, epsilon: float, rope: tuple[Tensor, Tensor],
    caches: tuple[Tensor, Tensor], slots: Tensor, lengths: Tensor | None,
) -> Tensor:  # fmt: skip
    """x (rows, (heads + 2 kv heads) x dimension) -> queries (rows, heads, dimension); keys and values into the caches
    (slots, kv heads, tokens, dimension). `norms` (2, dimension) of queries and keys, where there are such. `rope`: two
    of (rows, 1, dimension). `lengths`: tokens before each row's own; None: the rows are one prompt.
    """
    _, kv_heads, tokens, dim = caches[0].shape
    q = torch.empty((x.shape[0], heads, dim), dtype=x.dtype, device=x.device)
    launch(
        triton_layer.place_heads, (x.shape[0], heads + 2 * kv_heads), x, _or(norms, x), *rope, slots,
        _or(lengths, slots), q, *caches, epsilon, tokens, HEADS=heads, KV_HEADS=kv_heads, DIM=dim,
        NORMED=norms is not None, PROMPT=lengths is None, num_warps=1,
    )  # fmt: skip
    return q


def attend(q: Tensor, caches: tuple[Tensor, Tensor], slots: Tensor, lengths: Tensor, longest: int) -> Tensor:
    """q (rows, heads, dimension) -> the same: each to the first `lengths` + 1 tokens of its slot. `longest`: no length
    is larger; it sets how many parts the sequences are cut into.
    """
    rows, heads, dim = q.shape
    _, kv_heads, tokens, _ = caches[0].shape
    chunk = max(LEAST_CHUNK, triton.next_power_of_2(triton.cdiv(longest + 1, MOST_PARTS)))
    parts, group = triton.cdiv(longest + 1, chunk), heads // kv_heads
    tops = torch.empty((rows, kv_heads, parts, group), dtype=torch.float32, device=q.device)
    sums, totals = torch.empty_like(tops), torch.empty((*tops.shape, dim), dtype=torch.float32, device=q.device)
    y = torch.empty_like(q)
    launch(
        triton_layer.attend_part, (rows, kv_heads, parts), q, *caches, slots, lengths, tops, sums, totals, dim**-0.5,
        tokens, parts, KV_HEADS=kv_heads, GROUP=group, GROUP_BLOCK=max(16, triton.next_power_of_2(group)), DIM=dim,
        CHUNK=chunk, BLOCK=TOKEN_BLOCK,
    )  # fmt: skip
    launch(
        triton_layer.join_parts, (rows, heads), tops, sums, totals, y, parts, KV_HEADS=kv_heads, GROUP=group, DIM=dim,
        BLOCK=triton.next_power_of_2(parts),
    )  # fmt: skip
    return y


def _vector(
    weight: Tensor, scale: Tensor | None, bias: Tensor | None, a8: bool, fp8: bool, block: tuple[int, int, int],
    x: Tensor, residual: Tensor | None,
) -> Tensor:  # fmt: skip
    (outputs, inputs), (wide, deep, warps) = weight.shape, block
    y = torch.empty((1, outputs), dtype=x.dtype, device=x.device)
    x, row_scale = quantise(x) if a8 else (x, None)
    launch(
        triton_rows.vector_row, (triton.cdiv(outputs, wide),), x, weight, _or(scale, x), _or(bias, x),
        _or(residual, x), y, outputs, inputs, BLOCK_N=wide, BLOCK_K=deep, SCALED=scale is not None,
        ROW_SCALED=a8, row_scale=_or(row_scale, x), ROUND_FP8=fp8, BIASED=bias is not None,
        ADDED=residual is not None, num_warps=warps,
    )  # fmt: skip
    return y


def _dot(
    weight: Tensor, scale: Tensor | None, bias: Tensor | None, a8: bool, fp8: bool, block: tuple[int, ...],
    x: Tensor, residual: Tensor | None,
) -> Tensor:  # fmt: skip
    rows, (outputs, inputs), (wide, deep, warps, splits) = x.shape[0], weight.shape, block
    dtype, (x, row_scale) = x.dtype, quantise(x) if a8 else (x, None)
    depth = triton.cdiv(inputs, splits * deep) * deep
    splits = triton.cdiv(inputs, depth)
    sums = torch.int32 if a8 else torch.float32
    bare = splits == 1 and scale is None and bias is None and residual is None
    parts = torch.empty((splits, rows, outputs), dtype=dtype if bare else sums, device=x.device)
    launch(
        triton_rows.dot_rows, (triton.cdiv(outputs, wide), splits), x, weight, parts, rows, outputs, inputs, depth,
        BLOCK_M=max(16, triton.next_power_of_2(rows)), BLOCK_N=wide, BLOCK_K=deep, INTEGER=a8, ROUND_FP8=fp8,
        num_warps=warps, num_stages=STAGES,
    )  # fmt: skip
    return parts[0] if bare else finish(parts, dtype, scale, row_scale, bias, residual)


def finish(
    parts: Tensor, dtype: torch.dtype, scale: Tensor | None, row_scale: Tensor | None, bias: Tensor | None,
    residual: Tensor | None,
) -> Tensor:  # fmt: skip
    """parts (splits, rows, outputs) -> (rows, outputs): their sum, times `scale` (outputs) and `row_scale` (rows), plus
    `bias` (outputs) and `residual` (rows, outputs).
    """
    splits, rows, outputs = parts.shape
    y = torch.empty((rows, outputs), dtype=dtype, device=parts.device)
    launch(
        triton_rows.finish_rows, (rows, triton.cdiv(outputs, FINISH_BLOCK)), parts, _or(scale, y), _or(row_scale, y),
        _or(bias, y), _or(residual, y), y, rows, outputs, SPLITS=splits, BLOCK=FINISH_BLOCK,
        SCALED=scale is not None, ROW_SCALED=row_scale is not None, BIASED=bias is not None,
        ADDED=residual is not None,
    )  # fmt: skip
    return y


def _nibbles(
    packed: Tensor, grid: Tensor, bias: Tensor | None, block: tuple[int, int], x: Tensor, residual: Tensor | None
) -> Tensor:
    rows, outputs, (wide, warps) = x.shape[0], packed.shape[0], block
    y = torch.empty((rows, outputs), dtype=x.dtype, device=x.device)
    launch(
        triton_rows.nibble_rows, (triton.cdiv(outputs, wide),), x, packed, grid, _or(bias, x), _or(residual, x), y,
        rows, outputs, x.shape[1], BLOCK_M=1 if rows == 1 else max(16, triton.next_power_of_2(rows)),
        BLOCK_N=wide if rows == 1 else max(16, wide), HALF=packed.shape[2], BIASED=bias is not None,
        ADDED=residual is not None, num_warps=warps, num_stages=STAGES,
    )  # fmt: skip
    return y


def _name(kernel: str, block: tuple[int, ...]) -> str:
    return f"{kernel}-{'x'.join(map(str, block))}"


def _or(tensor: Tensor | None, instead: Tensor) -> Tensor:
    """A kernel's argument must be some tensor, also where it is not read."""
    return instead if tensor is None else tensor


def launch(kernel: Any, grid: tuple[int, ...], *arguments: object, **settings: object) -> None:
    """Raises RuntimeError where the kernel cannot be compiled here: no C compiler, an old card, too little memory of
    the multiprocessor for these blocks.
    """
    try:
        kernel[grid](*arguments, **settings)
    except (TritonError, subprocess.CalledProcessError, OSError) as problem:
        raise RuntimeError(f"triton: {problem}") from problem
