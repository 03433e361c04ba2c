"""Products of a few rows by the experts that were chosen for them, on a GPU, without asking the host which they are.
Importing this module needs triton.
"""

from __future__ import annotations

import triton
import triton.language as tl

from probes.engines.triton_rows import _digits

__all__ = ["expert_rows"]


@triton.jit
def expert_rows(
    x, row_scale, weights, scales, experts, order, shares, y, N, K,
    TOP: tl.constexpr, TYPE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, SCALED: tl.constexpr,
    ROW_SCALED: tl.constexpr, ROUND_FP8: tl.constexpr, SHARED_OUT: tl.constexpr,
):  # fmt: skip
    """One pair of a row and an expert per program and BLOCK_N outputs -> y (pairs, N).

    `weights`, `scales`: addresses of each expert's matrix (N, K) and of its scales (N). `experts`: of each pair;
    `order`: pairs in the order in which they run, so that those of one expert read its weights together. x (pairs /
    TOP, K). SHARED_OUT: times `shares` of the pair.
    """
    pair = tl.load(order + tl.program_id(1))
    expert = tl.load(experts + pair)
    source = (pair // TOP).to(tl.int64)
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = n < N
    rows = tl.load(weights + expert).to(tl.pointer_type(TYPE)) + n.to(tl.int64)[:, None] * K
    total = tl.zeros((BLOCK_N, BLOCK_K), dtype=tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        a = tl.load(x + source * K + k, mask=k < K, other=0.0)
        if ROUND_FP8:
            a = a.to(tl.float8e4nv)
        w = tl.load(rows + k[None, :], mask=inside[:, None] & (k < K)[None, :], other=0.0)
        wide = _digits(w.to(tl.int32) + 128) - 8388736.0 if w.dtype == tl.int8 else w.to(tl.float32)
        total += wide * a.to(tl.float32)[None, :]
    found = tl.sum(total, axis=1)
    if SCALED:
        found *= tl.load(tl.load(scales + expert).to(tl.pointer_type(tl.float32)) + n, mask=inside, other=0.0)
    if ROW_SCALED:
        found *= tl.load(row_scale + source)
    if SHARED_OUT:
        found *= tl.load(shares + pair).to(tl.float32)
    tl.store(y + pair.to(tl.int64) * N + n, found.to(y.dtype.element_ty), mask=inside)
