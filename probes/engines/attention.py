"""Attention with a cache of fixed slots: grouped queries (also MHA, MQA) and MLA. Imported by probe processes only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad, rms_norm, scaled_dot_product_attention

from advisor.catalog.records import Architecture
from probes.engines.linear import TORCH_TYPES, Linear, make_linear
from probes.engines.precision import Precision
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner, row_bucket

__all__ = ["Attention", "GqaAttention", "MlaAttention", "Positions", "Rope", "vector"]

EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class Positions:
    """Where one decode step writes and reads.

    `slots` (rows): slot of each row. `lengths` (rows): tokens before this step. `longest`: the largest of them.
    `mask` (rows, 1, 1, longest + 1): None when all are equally long and the slots are 0, 1, 2, ...
    """

    slots: Tensor
    lengths: Tensor
    longest: int
    mask: Tensor | None


class Rope:
    """Rotary tables of (tokens, dimension), in the activation type."""

    def __init__(self, tokens: int, dimension: int, dtype: torch.dtype, device: torch.device) -> None:
        inverse = 10_000.0 ** (-torch.arange(0, dimension, 2, dtype=torch.float32) / dimension)
        angles = torch.outer(torch.arange(tokens, dtype=torch.float32), inverse).repeat(1, 2)
        self._cosine, self._sine = (f(angles).to(dtype=dtype, device=device) for f in (torch.cos, torch.sin))

    def rows(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Cosine and sine of (rows, 1, dimension)."""
        return self._cosine[positions][:, None], self._sine[positions][:, None]


class Attention:
    """One layer's attention and its cache."""

    linears: tuple[Linear, ...] = ()
    caches: tuple[Tensor, ...] = ()
    rotary_dimension: int = 0

    def prefill(self, x: Tensor, slot: int, rope: tuple[Tensor, Tensor]) -> Tensor:
        """x (tokens, hidden) from position 0 of `slot`."""
        raise NotImplementedError

    def decode(self, x: Tensor, at: Positions, rope: tuple[Tensor, Tensor]) -> Tensor:
        """x (rows, hidden), one token for each row."""
        raise NotImplementedError

    def extra_bytes(self) -> int:
        """Weights outside `linears`."""
        return 0

    def cache_bytes_per_token(self) -> int:
        """Bytes that one token of one sequence takes in this layer."""
        return sum(c.element_size() * c[0, ..., 0, :].numel() for c in self.caches)


class GqaAttention(Attention):
    """Queries in groups that share keys and values."""

    def __init__(
        self, a: Architecture, precision: Precision, pool: RandomPool, tuner: Tuner, slots: int, tokens: int
    ) -> None:
        dtype = TORCH_TYPES[pool.activation]
        self._heads, self._kv_heads, self._dim, self._tuner = a.n_heads, a.n_kv_heads, a.head_dim, tuner
        self.rotary_dimension = a.head_dim
        width = (a.n_heads + 2 * a.n_kv_heads) * a.head_dim
        self._qkv = make_linear(a.hidden_size, width, precision, pool, tuner, bias=a.qkv_bias)
        self._out = make_linear(a.n_heads * a.head_dim, a.hidden_size, precision, pool, tuner, bias=a.o_bias)
        self._norms = [vector(a.head_dim, pool) for _ in range(2)] if a.qk_norm else []
        self.linears = (self._qkv, self._out)
        shape = (slots, a.n_kv_heads, tokens, a.head_dim)
        self._keys, self._values = (torch.zeros(shape, dtype=dtype, device=pool.device) for _ in range(2))
        self.caches = (self._keys, self._values)

    def extra_bytes(self) -> int:
        return sum(n.numel() * n.element_size() for n in self._norms)

    def prefill(self, x: Tensor, slot: int, rope: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = self._split(x, rope)
        tokens = x.shape[0]
        self._keys[slot, :, :tokens] = k.transpose(0, 1)
        self._values[slot, :, :tokens] = v.transpose(0, 1)
        q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
        y = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self._heads != self._kv_heads)
        return self._out(y[0].transpose(0, 1).reshape(tokens, -1))

    def decode(self, x: Tensor, at: Positions, rope: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = self._split(x, rope)
        rows, end = x.shape[0], at.longest + 1
        if at.mask is None:
            self._keys[:rows, :, at.longest] = k
            self._values[:rows, :, at.longest] = v
            keys, values = self._keys[:rows, :, :end], self._values[:rows, :, :end]
        else:
            self._keys[at.slots, :, at.lengths] = k
            self._values[at.slots, :, at.lengths] = v
            keys, values = self._keys[at.slots, :, :end], self._values[at.slots, :, :end]
        candidates = {
            "sdpa": lambda: self._sdpa(q, keys, values, at.mask),
            "matmul": lambda: self._matmul(q, keys, values, at.mask),
        }
        y = self._tuner.run(("attention", rows, row_bucket(end), at.mask is None), candidates)
        return self._out(y.reshape(rows, -1))

    def _split(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        heads = self._qkv(x).view(x.shape[0], -1, self._dim)
        q, k, v = heads.split([self._heads, self._kv_heads, self._kv_heads], dim=1)
        if self._norms:
            q, k = (rms_norm(t, (self._dim,), w, EPSILON) for t, w in zip((q, k), self._norms, strict=True))
        return rotate(q, rope), rotate(k, rope), v

    def _sdpa(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """The queries of a group as query positions of one head: ten times as fast on CPU as repeating the keys."""
        grouped = q.view(q.shape[0], self._kv_heads, -1, self._dim)
        return scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)

    def _matmul(self, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        grouped = q.view(q.shape[0], self._kv_heads, -1, self._dim)
        scores = grouped @ keys.transpose(-1, -2) * self._dim**-0.5
        if mask is not None:
            scores = scores + mask
        return torch.softmax(scores, dim=-1) @ values


class MlaAttention(Attention):
    """Multi-head latent attention: the cache holds one latent and one rotary key per token.

    Prefill expands keys and values; decode works on the latents ("absorbed", DeepSeek-V2 paper, section 2.1.2).
    """

    def __init__(
        self, a: Architecture, precision: Precision, pool: RandomPool, tuner: Tuner, slots: int, tokens: int
    ) -> None:
        self._heads, self._tuner = a.n_heads, tuner
        self._nope, self._rope = a.qk_nope_head_dim or 0, a.qk_rope_head_dim or 0
        self._rank, self._v = a.kv_lora_rank or 0, a.v_head_dim or 0
        self.rotary_dimension = self._rope
        self._scale = (self._nope + self._rope) ** -0.5
        q_width = a.n_heads * (self._nope + self._rope)
        q_input = a.q_lora_rank or a.hidden_size
        self._q_a = make_linear(a.hidden_size, q_input, precision, pool, tuner) if a.q_lora_rank else None
        self._q_b = make_linear(q_input, q_width, precision, pool, tuner)
        self._kv_a = make_linear(a.hidden_size, self._rank + self._rope, precision, pool, tuner)
        self._out = make_linear(a.n_heads * self._v, a.hidden_size, precision, pool, tuner)
        self.linears = tuple(m for m in (self._q_a, self._q_b, self._kv_a, self._out) if m is not None)
        dtype = TORCH_TYPES[pool.activation]
        # engines keep this one unquantised, because decode multiplies by both of its halves
        self._kv_b = pool.floats((a.n_heads, self._nope + self._v, self._rank), dtype)
        self._q_norm, self._kv_norm = vector(q_input, pool), vector(self._rank, pool)
        self._cache = torch.zeros((slots, tokens, self._rank + self._rope), dtype=dtype, device=pool.device)
        self.caches = (self._cache,)

    def extra_bytes(self) -> int:
        tensors = (self._kv_b, self._kv_norm, *((self._q_norm,) if self._q_a else ()))
        return sum(t.numel() * t.element_size() for t in tensors)

    def prefill(self, x: Tensor, slot: int, rope: tuple[Tensor, Tensor]) -> Tensor:
        tokens = x.shape[0]
        q_nope, q_rope, latent = self._project(x, rope)
        self._cache[slot, :tokens] = latent
        expanded = (latent[:, : self._rank] @ self._kv_b.view(-1, self._rank).t()).view(tokens, self._heads, -1)
        k_nope, v = expanded.split([self._nope, self._v], dim=-1)
        k_rope = latent[:, None, self._rank :].expand(-1, self._heads, -1)
        q = torch.cat((q_nope, q_rope), dim=-1).transpose(0, 1)[None]
        k = torch.cat((k_nope, k_rope), dim=-1).transpose(0, 1)[None]
        v = pad(v, (0, self._nope + self._rope - self._v)).transpose(0, 1)[None]  # the fused kernel wants equal widths
        y = scaled_dot_product_attention(q, k, v, is_causal=True, scale=self._scale)
        return self._out(y[0, :, :, : self._v].transpose(0, 1).reshape(tokens, -1))

    def decode(self, x: Tensor, at: Positions, rope: tuple[Tensor, Tensor]) -> Tensor:
        rows, end = x.shape[0], at.longest + 1
        q_nope, q_rope, latent = self._project(x, rope)
        if at.mask is None:
            self._cache[:rows, at.longest] = latent
            cache = self._cache[:rows, :end]
        else:
            self._cache[at.slots, at.lengths] = latent
            cache = self._cache[at.slots, :end]
        absorbed = self._bmm(q_nope.transpose(0, 1), self._kv_b[:, : self._nope]).transpose(0, 1)
        y = self._attend(torch.cat((absorbed, q_rope), dim=-1), cache, at.mask)
        y = self._bmm(y.transpose(0, 1), self._kv_b[:, self._nope :].transpose(1, 2)).transpose(0, 1)
        return self._out(y.reshape(rows, -1))

    def _attend(self, q: Tensor, cache: Tensor, mask: Tensor | None) -> Tensor:
        """q (rows, heads, rank + rope), cache (rows, tokens, rank + rope) -> (rows, heads, rank)."""
        scores = q @ cache.transpose(1, 2) * self._scale
        if mask is not None:
            scores = scores + mask[:, 0]
        return torch.softmax(scores, dim=-1) @ cache[:, :, : self._rank]

    def _project(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        inner = rms_norm(self._q_a(x), (self._q_norm.numel(),), self._q_norm, EPSILON) if self._q_a else x
        q = self._q_b(inner).view(x.shape[0], self._heads, -1)
        q_nope, q_rope = q.split([self._nope, self._rope], dim=-1)
        latent, k_rope = self._kv_a(x).split([self._rank, self._rope], dim=-1)
        latent = rms_norm(latent, (self._rank,), self._kv_norm, EPSILON)
        k_rope = rotate(k_rope[:, None], rope)[:, 0]
        return q_nope, rotate(q_rope, rope), torch.cat((latent, k_rope), dim=-1)

    def _bmm(self, left: Tensor, right: Tensor) -> Tensor:
        """(heads, rows, inner) @ (heads, inner, outer)."""
        candidates = {"bmm": lambda: torch.bmm(left, right)}
        if left.shape[1] == 1:
            candidates["loop"] = lambda: torch.stack([torch.mv(r.t(), m[0]) for m, r in zip(left, right, strict=True)])[
                :, None
            ]
        return self._tuner.run(("mla", left.shape[1], right.shape), candidates)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """x (rows, heads, dimension), turned by the angle of each row's position."""
    cosine, sine = rope
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine


def vector(size: int, pool: RandomPool) -> Tensor:
    """A norm's weights: around one."""
    return pool.floats((size,), TORCH_TYPES[pool.activation]) + 1
