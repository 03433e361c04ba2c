"""Multi-head latent attention, and its sparse form with an indexer (DeepSeek-V3.2). For probe processes only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad, relu, scaled_dot_product_attention

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.records import Architecture
from probes.engines.attention import Attention, Positions, causal, rotate
from probes.engines.linear import TORCH_TYPES, FloatLinear
from probes.engines.norm import Norm
from probes.engines.precision import Precision
from probes.engines.quantised import make_linear
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner, row_bucket

__all__ = ["DsaAttention", "MlaAttention"]


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
        wide = self._kv_b.view(-1, self._rank)
        self._expand = FloatLinear(self._rank, wide.shape[0], tuner, wide, None)
        self._q_norm, self._kv_norm = Norm(q_input, pool), Norm(self._rank, pool)
        self._cache = torch.zeros((slots, tokens, self._rank + self._rope), dtype=dtype, device=pool.device)
        self.caches = (self._cache,)

    def extra_bytes(self) -> int:
        norms = (self._kv_norm, *((self._q_norm,) if self._q_a else ()))
        return self._expand.bytes + sum(n.bytes for n in norms)

    def prefill(
        self, x: Tensor, slot: int, rope: tuple[Tensor, Tensor], residual: Tensor | None = None
    ) -> Tensor:
        tokens = x.shape[0]
        inner, q_nope, q_rope, latent = self._project(x, rope)
        self._cache[slot, :tokens] = latent
        mask = self._prefill_mask(x, inner, slot)
        expanded = self._expand(latent[:, : self._rank]).view(tokens, self._heads, -1)
        k_nope, v = expanded.split([self._nope, self._v], dim=-1)
        k_rope = latent[:, None, self._rank :].expand(-1, self._heads, -1)
        q = torch.cat((q_nope, q_rope), dim=-1).transpose(0, 1)[None]
        k = torch.cat((k_nope, k_rope), dim=-1).transpose(0, 1)[None]
        v = pad(v, (0, self._nope + self._rope - self._v)).transpose(0, 1)[None]  # the fused kernel wants equal widths
        if mask is None:
            y = causal(q, k, v, self._tuner, self._scale)
        else:
            y = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self._scale)
        return self._out(y[0, :, :, : self._v].transpose(0, 1).reshape(tokens, -1), residual)

    def decode(
        self, x: Tensor, at: Positions, rope: tuple[Tensor, Tensor], residual: Tensor | None = None
    ) -> Tensor:
        rows, end = x.shape[0], at.longest + 1
        inner, q_nope, q_rope, latent = self._project(x, rope)
        if at.mask is None:
            self._cache[:rows, at.longest] = latent
            cache = self._cache[:rows, :end]
        else:
            self._cache[at.slots, at.lengths] = latent
            cache = self._cache[at.slots, :end]
        absorbed = self._absorb(q_nope)
        cache, mask = self._visible(x, inner, cache, at)
        y = self._attend(torch.cat((absorbed, q_rope), dim=-1), cache, mask)
        return self._out(self._leave(y).reshape(rows, -1), residual)

    def _attend(self, q: Tensor, cache: Tensor, mask: Tensor | None) -> Tensor:
        """q (rows, heads, rank + rope), cache (rows, tokens, rank + rope) -> (rows, heads, rank)."""

        def attend(dtype: torch.dtype) -> Tensor:
            entries = cache.to(dtype)
            scores = q.to(dtype) @ entries.transpose(1, 2) * self._scale
            if mask is not None:
                scores = scores + mask[:, 0]
            return (torch.softmax(scores, dim=-1) @ entries[:, :, : self._rank]).to(q.dtype)

        if q.is_cuda or q.dtype is torch.float32:
            return attend(q.dtype)
        candidates = {"float32": lambda: attend(torch.float32), "as-is": lambda: attend(q.dtype)}
        return self._tuner.run(("latent", q.shape, row_bucket(cache.shape[1])), candidates)

    def _prefill_mask(self, _x: Tensor, _inner: Tensor, _slot: int) -> Tensor | None:
        """Which tokens each token of a prompt sees; None: all before it."""
        return None

    def _visible(self, _x: Tensor, _inner: Tensor, cache: Tensor, at: Positions) -> tuple[Tensor, Tensor | None]:
        """Entries that a decode step attends to, and their mask."""
        return cache, at.mask

    def _project(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(input of the query projection, query without and with position, entry for the cache)."""
        inner = self._q_norm(self._q_a(x)) if self._q_a else x
        q = self._q_b(inner).view(x.shape[0], self._heads, -1)
        q_nope, q_rope = q.split([self._nope, self._rope], dim=-1)
        latent, k_rope = self._kv_a(x).split([self._rank, self._rope], dim=-1)
        latent = self._kv_norm(latent)
        k_rope = rotate(k_rope[:, None], rope)[:, 0]
        return inner, q_nope, rotate(q_rope, rope), torch.cat((latent, k_rope), dim=-1)

    def _absorb(self, q: Tensor) -> Tensor:
        """q (rows, heads, nope) -> (rows, heads, rank)."""
        candidates = {
            "compiled": lambda: self._compiled("absorb", q),
            "bmm": lambda: torch.bmm(q.transpose(0, 1), self._kv_b[:, : self._nope]).transpose(0, 1),
        }
        return self._best("absorb", q, candidates)

    def _leave(self, y: Tensor) -> Tensor:
        """y (rows, heads, rank) -> (rows, heads, v)."""
        candidates = {
            "compiled": lambda: self._compiled("leave", y),
            "bmm": lambda: torch.bmm(y.transpose(0, 1), self._kv_b[:, self._nope :].transpose(1, 2)).transpose(0, 1),
        }
        return self._best("leave", y, candidates)

    def _compiled(self, step: str, x: Tensor) -> Tensor:
        from probes.engines import compiled

        if step == "absorb":
            return compiled.absorb(x, self._kv_b[:, : self._nope])
        return compiled.leave(x, self._kv_b[:, self._nope :])

    def _best(self, name: str, x: Tensor, candidates: dict[str, Callable[[], Tensor]]) -> Tensor:
        if x.is_cuda:
            return candidates["bmm"]()
        return self._tuner.run((name, row_bucket(x.shape[0]), self._kv_b.shape), candidates)


class DsaAttention(MlaAttention):
    """MLA that attends to the `top_k` entries which a small indexer scores highest (DeepSeek-V3.2 report, section
    2.1).
    """

    def __init__(
        self, a: Architecture, precision: Precision, pool: RandomPool, tuner: Tuner, slots: int, tokens: int
    ) -> None:
        super().__init__(a, precision, pool, tuner, slots, tokens)
        if a.indexer is None or a.q_lora_rank is None:
            raise UnsupportedError("sparse attention needs the dimensions of its indexer")
        self._index_heads, self._index_dim, self._top_k = a.indexer.n_heads, a.indexer.head_dim, a.indexer.top_k
        kept = pool.activation  # the indexer is not quantised
        self._index_q = make_linear(a.q_lora_rank, self._index_heads * self._index_dim, kept, pool, tuner)
        self._index_k = make_linear(a.hidden_size, self._index_dim, kept, pool, tuner)
        self._index_weights = make_linear(a.hidden_size, self._index_heads, kept, pool, tuner)
        self._index_norm = Norm(self._index_dim, pool)
        self.linears = (*self.linears, self._index_q, self._index_k, self._index_weights)
        shape = (slots, tokens, self._index_dim)
        self._index_cache = torch.zeros(shape, dtype=TORCH_TYPES[kept], device=pool.device)
        self.caches = (*self.caches, self._index_cache)

    def extra_bytes(self) -> int:
        return super().extra_bytes() + self._index_norm.bytes

    def _prefill_mask(self, x: Tensor, inner: Tensor, slot: int) -> Tensor | None:
        tokens = x.shape[0]
        keys = self._index_cache[slot, :tokens] = self._keys(x)
        if tokens <= self._top_k:
            return None
        causal = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).tril_()
        scores = self._scores(x, inner, keys.expand(1, -1, -1)).masked_fill_(~causal, float("-inf"))
        chosen = torch.zeros_like(causal).scatter_(1, scores.topk(self._top_k, dim=-1).indices, value=True)
        return chosen & causal

    def _visible(self, x: Tensor, inner: Tensor, cache: Tensor, at: Positions) -> tuple[Tensor, Tensor | None]:
        rows, end = x.shape[0], at.longest + 1
        self._index_cache[at.slots, at.lengths] = self._keys(x)
        if end <= self._top_k:
            return cache, at.mask
        index = self._index_cache[:rows, :end] if at.mask is None else self._index_cache[at.slots, :end]
        scores = self._scores(x, inner, index)
        if at.mask is not None:
            scores = scores + at.mask[:, 0, 0]
        chosen = scores.topk(self._top_k, dim=-1).indices
        picked = cache.gather(1, chosen[:, :, None].expand(-1, -1, cache.shape[-1]))
        mask = None if at.mask is None else at.mask[:, 0, 0].gather(1, chosen)[:, None, None]
        return picked, mask

    def _keys(self, x: Tensor) -> Tensor:
        return self._index_norm(self._index_k(x))

    def _scores(self, x: Tensor, inner: Tensor, keys: Tensor) -> Tensor:
        """(rows, tokens): sum over heads of weight x relu(q . k); keys (rows or 1, tokens, dimension)."""
        q = self._index_q(inner).view(x.shape[0], self._index_heads, self._index_dim)
        weights = self._index_weights(x)
        if keys.shape[0] == 1:
            products = relu(q.reshape(-1, self._index_dim) @ keys[0].t()).view(*q.shape[:2], -1)
        else:
            products = relu(q @ keys.transpose(1, 2))
        return (weights[:, None] @ products)[:, 0]
