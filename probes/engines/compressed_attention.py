"""Attention of DeepSeek-V4: a window of recent tokens and entries compressed at two ratios. For probe processes only.

Shapes, matrices and caches are those of the catalogue (`advisor.sizing.tensors_v4`), so bytes and products are true:
ratio 4 keeps overlapping entries and reads the `top_k` that an indexer scores highest (CSA), larger ratios read every
entry (HCA). Entries are kept in the activation type, not in the FP8 layout of serving kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.records import Architecture
from probes.engines.attention import Attention, Positions, rotate
from probes.engines.linear import TORCH_TYPES, Linear
from probes.engines.norm import Norm
from probes.engines.precision import Precision
from probes.engines.quantised import make_linear
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner

__all__ = ["CompressedAttention"]

INDEXED_RATIO = 4


class Compressor:
    """Pools the last `ratio` tokens (twice as many where entries overlap) into one entry of `dimension`."""

    def __init__(
        self, a: Architecture, ratio: int, dimension: int, pool: RandomPool, tuner: Tuner, slots: int, tokens: int
    ) -> None:
        self.ratio, self._dimension = ratio, dimension
        self._overlap = 2 if ratio == INDEXED_RATIO else 1
        width, kept = self._overlap * dimension, pool.activation
        self._values = make_linear(a.hidden_size, width, kept, pool, tuner)
        self._gates = make_linear(a.hidden_size, width, kept, pool, tuner)
        self.linears = (self._values, self._gates)
        dtype = TORCH_TYPES[kept]
        self._places = pool.floats((ratio, width), dtype)
        self._norm = Norm(dimension, pool)
        entries = -(-tokens // ratio)
        self._pending = torch.zeros((slots, ratio, 2, width), dtype=dtype, device=pool.device)
        self._before = torch.zeros_like(self._pending)
        self.entries = torch.zeros((slots, entries, dimension), dtype=dtype, device=pool.device)

    @property
    def vector_bytes(self) -> int:
        return self._places.numel() * self._places.element_size() + self._norm.bytes

    def prefill(self, x: Tensor, slot: int) -> Tensor:
        """x (tokens, hidden) from position 0 -> the entries of its whole blocks."""
        both = torch.stack((self._values(x), self._gates(x)), dim=1)
        whole, rest = divmod(x.shape[0], self.ratio)
        if rest:
            self._pending[slot, :rest] = both[whole * self.ratio :]
        self._before[slot] = 0
        if not whole:
            return self.entries[slot, :0]
        blocks = both[: whole * self.ratio].view(whole, self.ratio, 2, -1)
        before = torch.cat((torch.zeros_like(blocks[:1]), blocks[:-1]))
        self._before[slot] = blocks[-1]
        self.entries[slot, :whole] = self._pooled(blocks, before)
        return self.entries[slot, :whole]

    def decode(self, x: Tensor, at: Positions) -> None:
        """Takes one token of each row in; every `ratio` tokens another entry is written."""
        place = at.lengths % self.ratio
        self._pending[at.slots, place] = torch.stack((self._values(x), self._gates(x)), dim=1)
        pooled = self._pooled(self._pending[at.slots], self._before[at.slots])
        full = (place == self.ratio - 1)[:, None]
        number = at.lengths // self.ratio
        self.entries[at.slots, number] = torch.where(full, pooled, self.entries[at.slots, number])
        whole = full[:, :, None, None]
        self._before[at.slots] = torch.where(whole, self._pending[at.slots], self._before[at.slots])

    def _pooled(self, blocks: Tensor, before: Tensor) -> Tensor:
        """(blocks, ratio, 2, width) -> (blocks, dimension): softmax of the gates over the tokens of an entry."""
        d = self._dimension
        values, gates = blocks[:, :, 0, -d:], blocks[:, :, 1, -d:] + self._places[:, -d:]
        if self._overlap == 2:
            values = torch.cat((before[:, :, 0, :d], values), dim=1)
            gates = torch.cat((before[:, :, 1, :d] + self._places[:, :d], gates), dim=1)
        return self._norm((torch.softmax(gates.float(), dim=1).to(values.dtype) * values).sum(dim=1))


class CompressedAttention(Attention):
    """One layer; `ratio` 0 sees the window only."""

    def __init__(
        self, a: Architecture, precision: Precision, pool: RandomPool, tuner: Tuner, slots: int, tokens: int, ratio: int
    ) -> None:
        if None in (a.q_lora_rank, a.o_lora_rank, a.o_groups, a.sliding_window, a.indexer):
            raise UnsupportedError("compressed attention needs the dimensions of its latents, window and indexer")
        self._heads, self._dim, self._groups = a.n_heads, a.head_dim, a.o_groups or 1
        self.rotary_dimension, self._window = a.qk_rope_head_dim or a.head_dim, a.sliding_window or 0
        q_rank, o_rank, wide = a.q_lora_rank or 0, a.o_lora_rank or 0, a.n_heads * a.head_dim
        self._q_a = make_linear(a.hidden_size, q_rank, precision, pool, tuner)
        self._q_b = make_linear(q_rank, wide, precision, pool, tuner)
        self._kv = make_linear(a.hidden_size, a.head_dim, precision, pool, tuner)
        shape = wide // self._groups, o_rank
        self._o_a = [make_linear(*shape, precision, pool, tuner) for _ in range(self._groups)]
        self._o_b = make_linear(self._groups * o_rank, a.hidden_size, precision, pool, tuner)
        self._q_norm, self._kv_norm = Norm(q_rank, pool), Norm(a.head_dim, pool)
        dtype = TORCH_TYPES[pool.activation]
        self._sinks = pool.floats((a.n_heads,), dtype)
        self._recent = torch.zeros((slots, self._window, a.head_dim), dtype=dtype, device=pool.device)
        self._entries = Compressor(a, ratio, a.head_dim, pool, tuner, slots, tokens) if ratio else None
        self._index = Indexing(a, pool, tuner, slots, tokens) if ratio == INDEXED_RATIO else None
        parts: tuple[Linear, ...] = (self._q_a, self._q_b, self._kv, *self._o_a, self._o_b)
        parts += self._entries.linears if self._entries else ()
        self.linears = parts + (self._index.linears if self._index else ())
        kept = [self._recent, *([self._entries.entries] if self._entries else [])]
        self.caches = (*kept, *([self._index.compressor.entries] if self._index else []))

    def extra_bytes(self) -> int:
        own = self._q_norm.bytes + self._kv_norm.bytes + self._sinks.numel() * self._sinks.element_size()
        own += self._entries.vector_bytes if self._entries else 0
        return own + (self._index.compressor.vector_bytes if self._index else 0)

    def cache_read_bytes(self, context_tokens: int) -> int:
        """Read by one decode step of one sequence: the window, scored keys, and the entries that are attended to."""
        size = self._recent.element_size()
        seen = min(context_tokens, self._window) * self._dim
        if self._entries is not None:
            count = context_tokens // self._entries.ratio
            seen += (min(count, self._index.top_k) if self._index else count) * self._dim
            seen += count * self._index.width if self._index else 0
        return seen * size

    def prefill(
        self, x: Tensor, slot: int, rope: tuple[Tensor, Tensor], residual: Tensor | None = None
    ) -> Tensor:
        tokens, (inner, q, kv) = x.shape[0], self._project(x, rope)
        kept = min(tokens, self._window)
        where = torch.arange(tokens - kept, tokens, device=x.device) % self._window
        self._recent[slot, where] = kv[-kept:]
        place = torch.arange(tokens, device=x.device)
        distance = place[:, None] - place[None]
        hidden = (distance < 0) | (distance >= self._window)
        keys = kv
        if self._entries is not None:
            entries = self._entries.prefill(x, slot)
            ends = (torch.arange(len(entries), device=x.device) + 1) * self._entries.ratio
            unseen = ends[None] > place[:, None] + 1
            if self._index is not None:
                unseen = self._index.prefill(x, inner, slot, unseen)
            keys, hidden = torch.cat((kv, entries)), torch.cat((hidden, unseen), dim=1)
        y = self._leave(self._attend(q, keys.expand(1, -1, -1), hidden[:, None]))
        return y if residual is None else residual + y

    def decode(
        self, x: Tensor, at: Positions, rope: tuple[Tensor, Tensor], residual: Tensor | None = None
    ) -> Tensor:
        inner, q, kv = self._project(x, rope)
        self._recent[at.slots, at.lengths % self._window] = kv
        keys = self._recent[at.slots][:, : min(at.longest + 1, self._window)]
        hidden = torch.arange(keys.shape[1], device=x.device)[None] > at.lengths[:, None]
        if self._entries is not None:
            self._entries.decode(x, at)
            count = (at.longest + 1) // self._entries.ratio
            entries = self._entries.entries[at.slots][:, :count]
            whole = (at.lengths + 1) // self._entries.ratio
            unseen = torch.arange(count, device=x.device)[None] >= whole[:, None]
            if self._index is not None:
                entries, unseen = self._index.decode(x, inner, at, entries, unseen)
            keys, hidden = torch.cat((keys, entries), dim=1), torch.cat((hidden, unseen), dim=1)
        y = self._leave(self._attend(q, keys, hidden[:, None]))
        return y if residual is None else residual + y

    def _project(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(input of the query projection, queries (rows, heads, dimension), shared key-value (rows, dimension))."""
        inner = self._q_norm(self._q_a(x))
        q = self._turned(self._q_b(inner).view(x.shape[0], self._heads, self._dim), rope)
        return inner, q, self._turned(self._kv_norm(self._kv(x))[:, None], rope)[:, 0]

    def _turned(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        """The last `rotary_dimension` numbers of each head carry the position."""
        still, turning = x.split([self._dim - self.rotary_dimension, self.rotary_dimension], dim=-1)
        return torch.cat((still, rotate(turning, rope)), dim=-1)

    def _attend(self, q: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
        """q (rows, heads, d), keys (rows or 1, entries, d) that are values too, hidden (rows, 1, entries).

        A learned logit per head takes its share of the softmax and gives nothing (attention sink).
        """
        if keys.shape[0] == 1 and q.shape[0] > 1:  # one sequence: a product instead of one for each row
            scores = (q.reshape(-1, self._dim) @ keys[0].t()).view(q.shape[0], self._heads, -1)
        else:
            scores = q @ keys.transpose(1, 2)
        scores = (scores * self._dim**-0.5).masked_fill(hidden, float("-inf"))
        sinks = self._sinks[None, :, None].expand(q.shape[0], -1, 1)
        shares = torch.softmax(torch.cat((scores, sinks), dim=-1).float(), dim=-1)[..., :-1].to(q.dtype)
        if keys.shape[0] == 1 and q.shape[0] > 1:
            return (shares.reshape(-1, shares.shape[-1]) @ keys[0]).view_as(q)
        return shares @ keys

    def _leave(self, y: Tensor) -> Tensor:
        """y (rows, heads, dimension) -> (rows, hidden): a small matrix for each group of heads, then one for all."""
        parts = y.reshape(y.shape[0], self._groups, -1)
        return self._o_b(torch.cat([m(parts[:, n]) for n, m in enumerate(self._o_a)], dim=-1))


class Indexing:
    """Scores compressed index keys and keeps the best entries (V4's CSA)."""

    def __init__(self, a: Architecture, pool: RandomPool, tuner: Tuner, slots: int, tokens: int) -> None:
        assert a.indexer is not None
        self._heads, self.width, self.top_k = a.indexer.n_heads, a.indexer.head_dim, a.indexer.top_k
        kept = pool.activation
        self._q = make_linear(a.q_lora_rank or 0, self._heads * self.width, kept, pool, tuner)
        self._weights = make_linear(a.hidden_size, self._heads, kept, pool, tuner)
        self.compressor = Compressor(a, INDEXED_RATIO, self.width, pool, tuner, slots, tokens)
        self.linears = (self._q, self._weights, *self.compressor.linears)

    def prefill(self, x: Tensor, inner: Tensor, slot: int, unseen: Tensor) -> Tensor:
        """Which entries each token does not see: those of its future, and all but the best."""
        keys = self.compressor.prefill(x, slot)
        if len(keys) <= self.top_k:
            return unseen
        scores = self._scores(x, inner, keys.expand(1, -1, -1)).masked_fill_(unseen, float("-inf"))
        chosen = torch.zeros_like(unseen).scatter_(1, scores.topk(self.top_k, dim=-1).indices, value=True)
        return unseen | ~chosen

    def decode(
        self, x: Tensor, inner: Tensor, at: Positions, entries: Tensor, unseen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The best entries of each row, and which of them are none of its own."""
        self.compressor.decode(x, at)
        count = entries.shape[1]
        if count <= self.top_k:
            return entries, unseen
        keys = self.compressor.entries[at.slots][:, :count]
        scores = self._scores(x, inner, keys).masked_fill_(unseen, float("-inf"))
        chosen = scores.topk(self.top_k, dim=-1).indices
        picked = entries.gather(1, chosen[:, :, None].expand(-1, -1, entries.shape[-1]))
        return picked, unseen.gather(1, chosen)

    def _scores(self, x: Tensor, inner: Tensor, keys: Tensor) -> Tensor:
        """(rows, entries): sum over heads of weight x relu(q . k); keys (rows or 1, entries, width)."""
        q = self._q(inner).view(x.shape[0], self._heads, self.width)
        return (self._weights(x)[:, None] @ relu(q @ keys.transpose(1, 2)))[:, 0]
