"""Attention with a cache of fixed slots; grouped queries (also MHA, MQA). Imported by probe processes only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from advisor.catalog.records import Architecture
from probes.engines.linear import TORCH_TYPES, Linear, fused_kernels
from probes.engines.norm import EPSILON, Norm
from probes.engines.precision import Precision
from probes.engines.quantised import make_linear
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner, row_bucket

__all__ = ["Attention", "GqaAttention", "Positions", "Rope", "causal", "rotate"]

TRIAL_TOKENS = 128
FUSED_WIDTHS = (16, 32, 64, 128, 256)  # of a head: blocks of a GPU kernel are powers of two


@dataclass(frozen=True, slots=True)
class Positions:
    """Where one decode step writes and reads.

    `slots` (rows): slot of each row. `lengths` (rows): tokens before this step. `longest`: the largest of them.
    `mask` (rows, 1, 1, longest + 1): None when all are equally long and the slots are 0, 1, 2, ... `in_tensors`: slots
    and lengths may change under a captured graph, so only their tensors count, and `longest` is a bound.
    """

    slots: Tensor
    lengths: Tensor
    longest: int
    mask: Tensor | None
    in_tensors: bool = False


class Rope:
    """Rotary tables of (tokens, dimension), in the activation type."""

    def __init__(self, tokens: int, dimension: int, dtype: torch.dtype, device: torch.device) -> None:
        inverse = 10_000.0 ** (-torch.arange(0, dimension, 2, dtype=torch.float32) / dimension)
        angles = torch.outer(torch.arange(tokens, dtype=torch.float32), inverse).repeat(1, 2)
        self._cosine, self._sine = (f(angles).to(dtype=dtype, device=device) for f in (torch.cos, torch.sin))

    def rows(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Cosine and sine of (rows, 1, dimension)."""
        return self._cosine[positions][:, None], self._sine[positions][:, None]

    @property
    def tables(self) -> tuple[Tensor, Tensor]:
        """Cosine and sine of (tokens, dimension)."""
        return self._cosine, self._sine


class Attention:
    """One layer's attention and its cache."""

    linears: tuple[Linear, ...] = ()
    caches: tuple[Tensor, ...] = ()
    rotary_dimension: int = 0

    def prefill(
        self, x: Tensor, slot: int | Tensor, rope: tuple[Tensor, Tensor], residual: Tensor | None = None
    ) -> Tensor:
        """x (tokens, hidden) from position 0 of `slot`; `residual`, as x, is added."""
        raise NotImplementedError

    def decode(
        self, x: Tensor, at: Positions, rope: tuple[Tensor, Tensor], residual: Tensor | None = None
    ) -> Tensor:
        """x (rows, hidden), one token for each row; `residual`, as x, is added."""
        raise NotImplementedError

    def extra_bytes(self) -> int:
        """Weights outside `linears`."""
        return 0

    def cache_read_bytes(self, context_tokens: int) -> int:
        """Read by one decode step of one sequence."""
        return self.cache_bytes_per_token() * context_tokens

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
        self.norms = [Norm(a.head_dim, pool) for _ in range(2)] if a.qk_norm else []
        self._norm_rows = torch.stack([n.weight for n in self.norms]) if self.norms else None
        self.fused = fused_kernels(pool.device) if a.head_dim in FUSED_WIDTHS else None
        self.linears = (self._qkv, self._out)
        shape = (slots, a.n_kv_heads, tokens, a.head_dim)
        self._keys, self._values = (torch.zeros(shape, dtype=dtype, device=pool.device) for _ in range(2))
        self.caches = (self._keys, self._values)

    def extra_bytes(self) -> int:
        return sum(n.bytes for n in self.norms)

    def prefill(
        self, x: Tensor, slot: int | Tensor, rope: tuple[Tensor, Tensor], residual: Tensor | None = None
    ) -> Tensor:
        mixed, tokens = self._qkv(x), x.shape[0]
        if self.fused is None:
            q, k, v = self._split(mixed, rope)
            self._keys[slot, :, :tokens] = k.transpose(0, 1)
            self._values[slot, :, :tokens] = v.transpose(0, 1)
            k, v = k.transpose(0, 1), v.transpose(0, 1)
        else:
            where = slot if isinstance(slot, Tensor) else torch.full((1,), slot, device=x.device)
            q = self._turned(mixed, where, None, rope)
            k, v = (c.index_select(0, where)[0, :, :tokens] for c in (self._keys, self._values))
        y = causal(q.transpose(0, 1)[None], k[None], v[None], self._tuner)
        return self._out(y[0].transpose(0, 1).reshape(tokens, -1), residual)

    def decode(
        self, x: Tensor, at: Positions, rope: tuple[Tensor, Tensor], residual: Tensor | None = None
    ) -> Tensor:
        mixed, rows = self._qkv(x), x.shape[0]
        candidates = {
            "sdpa": lambda: self._sdpa(self._placed(mixed, at, rope), at),
            "matmul": lambda: self._matmul(self._placed(mixed, at, rope), at),
        }
        if not x.is_cuda:
            candidates = {"compiled": lambda: self._compiled(mixed, at, rope), **candidates}
        elif self.fused is not None:
            fused = {"fused": lambda: self._fused(mixed, at, rope)}
            candidates = fused if at.in_tensors else fused | candidates
        key = ("attention", rows, row_bucket(at.longest + 1), at.mask is None, at.in_tensors)
        y = self._tuner.run(key, candidates)
        return self._out(y.reshape(rows, -1), residual)

    def _turned(
        self, mixed: Tensor, slots: Tensor, lengths: Tensor | None, rope: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Queries; keys and values go into the caches."""
        assert self.fused is not None
        caches = self._keys, self._values
        return self.fused.place(mixed, self._heads, self._norm_rows, EPSILON, rope, caches, slots, lengths)

    def _fused(self, mixed: Tensor, at: Positions, rope: tuple[Tensor, Tensor]) -> Tensor:
        assert self.fused is not None
        q = self._turned(mixed, at.slots, at.lengths, rope)
        return self.fused.attend(q, (self._keys, self._values), at.slots, at.lengths, at.longest)

    def _placed(self, mixed: Tensor, at: Positions, rope: tuple[Tensor, Tensor]) -> Tensor:
        """Queries; keys and values go into the caches."""
        q, k, v = self._split(mixed, rope)
        if at.mask is None:
            self._keys[: len(q), :, at.longest] = k
            self._values[: len(q), :, at.longest] = v
        else:
            self._keys[at.slots, :, at.lengths] = k
            self._values[at.slots, :, at.lengths] = v
        return q

    def _split(self, mixed: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        heads = mixed.view(mixed.shape[0], -1, self._dim)
        turning, v = heads.split([self._heads + self._kv_heads, self._kv_heads], dim=1)
        if self.norms:
            parts = zip(turning.split([self._heads, self._kv_heads], dim=1), self.norms, strict=True)
            turning = torch.cat([norm(t) for t, norm in parts], dim=1)
        q, k = rotate(turning, rope).split([self._heads, self._kv_heads], dim=1)
        return q, k, v

    def _compiled(self, mixed: Tensor, at: Positions, rope: tuple[Tensor, Tensor]) -> Tensor:
        from probes.engines.compiled import place_and_attend

        weights, caches = [norm.weight for norm in self.norms], (self._keys, self._values)
        epsilon = self.norms[0].epsilon if self.norms else EPSILON
        return place_and_attend(
            mixed, self._heads, weights, epsilon, rope, caches, at.slots, at.lengths, at.longest
        )

    def _sdpa(self, q: Tensor, at: Positions) -> Tensor:
        """The queries of a group as query positions of one head: ten times as fast on CPU as repeating the keys."""
        grouped = q.reshape(q.shape[0], self._kv_heads, -1, self._dim)
        keys, values = self._visible(at)
        return scaled_dot_product_attention(grouped, keys, values, attn_mask=at.mask)

    def _matmul(self, q: Tensor, at: Positions) -> Tensor:
        grouped = q.reshape(q.shape[0], self._kv_heads, -1, self._dim)
        keys, values = self._visible(at)
        scores = grouped @ keys.transpose(-1, -2) * self._dim**-0.5
        if at.mask is not None:
            scores = scores + at.mask
        return torch.softmax(scores, dim=-1) @ values

    def _visible(self, at: Positions) -> tuple[Tensor, Tensor]:
        """Keys and values of each row up to the longest."""
        end, chosen = at.longest + 1, slice(len(at.slots)) if at.mask is None else at.slots
        return self._keys[chosen, :, :end], self._values[chosen, :, :end]


def causal(q: Tensor, k: Tensor, v: Tensor, tuner: Tuner, scale: float | None = None) -> Tensor:
    """Attention of a prompt to itself; q (1, heads, tokens, width), k and v (1, kv heads, tokens, width).

    16-bit products are emulated on many processors: there float32 is tried too.
    """

    def attend(dtype: torch.dtype, tokens: int) -> Tensor:
        parts = (t[:, :, :tokens].to(dtype) for t in (q, k, v))
        y = scaled_dot_product_attention(*parts, is_causal=True, enable_gqa=q.shape[1] != k.shape[1], scale=scale)
        return y.to(q.dtype)

    tokens = q.shape[2]
    if q.is_cuda or q.dtype is torch.float32:
        return attend(q.dtype, tokens)
    types = {"float32": torch.float32, "as-is": q.dtype}
    trials = {name: partial(attend, dtype, min(tokens, TRIAL_TOKENS)) for name, dtype in types.items()}
    key = ("prefill-attention", q.shape[1], q.shape[3], row_bucket(min(tokens, TRIAL_TOKENS)))
    return attend(types[tuner.choose(key, trials)], tokens)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """x (rows, heads, dimension), turned by the angle of each row's position."""
    cosine, sine = rope
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-second, first), dim=-1) * sine
