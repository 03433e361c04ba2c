"""What lies between the products of a layer on a GPU, one launch each, compiled by Triton. Importing this module needs
triton.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["attend_part", "gate_rows", "join_parts", "norm_rows", "place_heads"]


@triton.jit
def norm_rows(x, weight, y, K, epsilon, BLOCK: tl.constexpr):
    """x (rows, K) / root mean square of the row * weight (K)."""
    row, k = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = k < K
    value = tl.load(x + row * K + k, mask=inside, other=0.0).to(tl.float32)
    factor = tl.rsqrt(tl.sum(value * value, axis=0) / K + epsilon)
    scaled = value * factor * tl.load(weight + k, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row * K + k, scaled.to(y.dtype.element_ty), mask=inside)


@triton.jit
def gate_rows(x, y, K, BLOCK: tl.constexpr):
    """x (rows, 2 K) -> silu(first half) * second half."""
    row, k = tl.program_id(0).to(tl.int64), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = k < K
    gate = tl.load(x + row * 2 * K + k, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(x + row * 2 * K + K + k, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row * K + k, (gate * tl.sigmoid(gate) * up).to(y.dtype.element_ty), mask=inside)


@triton.jit
def place_heads(
    x, norms, cosine, sine, slots, lengths, q, keys, values, epsilon, TOKENS,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, NORMED: tl.constexpr, PROMPT: tl.constexpr,
):  # fmt: skip
    """x (rows, (HEADS + 2 KV_HEADS) x DIM): queries turned by their position into q, keys turned and values as they are
    into the caches (slots, KV_HEADS, TOKENS, DIM). Rotary tables (rows, DIM); norms (2, DIM) of queries and keys.

    A decode step: row r is the token after `lengths[r]` of slot `slots[r]`. A PROMPT: row r is token r of `slots[0]`.
    """
    row, head = tl.program_id(0), tl.program_id(1)
    d = tl.arange(0, DIM)
    slot = tl.load(slots + (0 if PROMPT else row)).to(tl.int64)
    at = row.to(tl.int64) if PROMPT else tl.load(lengths + row).to(tl.int64)
    source = x + (row.to(tl.int64) * (HEADS + 2 * KV_HEADS) + head) * DIM
    value = tl.load(source + d).to(tl.float32)
    if head < HEADS + KV_HEADS:
        other = (d + DIM // 2) % DIM
        swapped = tl.load(source + other).to(tl.float32)
        if NORMED:
            factor = tl.rsqrt(tl.sum(value * value, axis=0) / DIM + epsilon)
            own = norms + (DIM if head >= HEADS else 0)
            value = value * factor * tl.load(own + d).to(tl.float32)
            swapped = swapped * factor * tl.load(own + other).to(tl.float32)
        swapped = tl.where(d < DIM // 2, -swapped, swapped)
        turn = row.to(tl.int64) * DIM + d
        value = value * tl.load(cosine + turn).to(tl.float32) + swapped * tl.load(sine + turn).to(tl.float32)
    if head < HEADS:
        tl.store(q + (row.to(tl.int64) * HEADS + head) * DIM + d, value.to(q.dtype.element_ty))
    elif head < HEADS + KV_HEADS:
        target = keys + ((slot * KV_HEADS + head - HEADS) * TOKENS + at) * DIM
        tl.store(target + d, value.to(keys.dtype.element_ty))
    else:
        target = values + ((slot * KV_HEADS + head - HEADS - KV_HEADS) * TOKENS + at) * DIM
        tl.store(target + d, value.to(values.dtype.element_ty))


@triton.jit
def attend_part(
    q, keys, values, slots, lengths, tops, sums, parts, factor, TOKENS, PARTS,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, GROUP_BLOCK: tl.constexpr, DIM: tl.constexpr, CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Attention of the queries that share a key-value head to CHUNK tokens of their sequence, the one just written
    included ("flash decoding"): q (rows, KV_HEADS x GROUP, DIM) -> tops, sums (rows, KV_HEADS, PARTS, GROUP), parts
    (..., DIM).
    """
    row, head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    g, d = tl.arange(0, GROUP_BLOCK), tl.arange(0, DIM)
    used = (g < GROUP)[:, None]
    slot, end = tl.load(slots + row).to(tl.int64), tl.load(lengths + row) + 1
    query = tl.load(
        q + ((row.to(tl.int64) * KV_HEADS + head) * GROUP + g)[:, None] * DIM + d[None, :], mask=used, other=0.0
    )
    cache = (slot * KV_HEADS + head) * TOKENS * DIM
    top = tl.full((GROUP_BLOCK,), -1e30, dtype=tl.float32)
    weight = tl.zeros((GROUP_BLOCK,), dtype=tl.float32)
    total = tl.zeros((GROUP_BLOCK, DIM), dtype=tl.float32)
    for first in range(part * CHUNK, tl.minimum(part * CHUNK + CHUNK, end), BLOCK):
        t = first + tl.arange(0, BLOCK)
        seen = t < end
        key = tl.load(keys + cache + t.to(tl.int64)[None, :] * DIM + d[:, None], mask=seen[None, :], other=0.0)
        score = tl.where(seen[None, :], tl.dot(query, key) * factor, -1e30)
        higher = tl.maximum(top, tl.max(score, axis=1))
        shrink, share = tl.exp(top - higher), tl.exp(score - higher[:, None])
        value = tl.load(values + cache + t.to(tl.int64)[:, None] * DIM + d[None, :], mask=seen[:, None], other=0.0)
        total = tl.dot(share.to(value.dtype), value, total * shrink[:, None])
        weight = weight * shrink + tl.sum(share, axis=1)
        top = higher
    at = ((row.to(tl.int64) * KV_HEADS + head) * PARTS + part) * GROUP + g
    tl.store(tops + at, top, mask=g < GROUP)
    tl.store(sums + at, weight, mask=g < GROUP)
    tl.store(parts + at[:, None] * DIM + d[None, :], total, mask=used)


@triton.jit
def join_parts(
    tops, sums, parts, y, PARTS, KV_HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr
):
    """The parts of `attend_part` -> y (rows, KV_HEADS x GROUP, DIM); BLOCK is at least PARTS."""
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    p, d = tl.arange(0, BLOCK), tl.arange(0, DIM)
    inside = p < PARTS
    at = ((row * KV_HEADS + head // GROUP) * PARTS + p) * GROUP + head % GROUP
    top = tl.load(tops + at, mask=inside, other=-1e30)
    share = tl.exp(top - tl.max(top, axis=0))
    weight = tl.sum(share * tl.load(sums + at, mask=inside, other=0.0), axis=0)
    part = tl.load(parts + at[:, None] * DIM + d[None, :], mask=inside[:, None], other=0.0)
    total = tl.sum(part * share[:, None], axis=0) / weight
    tl.store(y + (row * KV_HEADS * GROUP + head) * DIM + d, total.to(y.dtype.element_ty))
