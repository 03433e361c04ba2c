"""A minimal decoder with the true shapes of a catalogue architecture. Imported by probe processes only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.records import Architecture, AttentionKind
from probes.engines.attention import Attention, GqaAttention, Positions, Rope
from probes.engines.compressed_attention import CompressedAttention
from probes.engines.feed_forward import DenseFeedForward, MoeFeedForward
from probes.engines.hyper_connections import HyperConnection, merged, spread
from probes.engines.latent_attention import DsaAttention, MlaAttention
from probes.engines.linear import TORCH_TYPES, FloatLinear, Linear
from probes.engines.norm import Norm
from probes.engines.precision import FormatPrecision
from probes.engines.quantised import make_linear
from probes.engines.random_weights import RandomPool
from probes.engines.tuner import Tuner, row_bucket
from probes.layers import LayerCount, layer_numbers

__all__ = ["Decoder"]


class Whole(Protocol):
    """One token through so many of the first layers in one call."""

    def __call__(self, x: Tensor, slots: Tensor, lengths: Tensor, layers: int) -> Tensor:
        """x (1, hidden), slots (1,), lengths (1,) -> (1, hidden)."""

    @property
    def between_s(self) -> float | None:
        """Seconds of the last call that went between the products; None where they cannot be told."""


ATTENTION: Mapping[AttentionKind, type[GqaAttention | MlaAttention]] = {
    AttentionKind.GQA: GqaAttention,
    AttentionKind.MLA: MlaAttention,
    AttentionKind.MLA_DSA: DsaAttention,
}


class Layer:
    """Attention and feed-forward, each behind a norm."""

    def __init__(
        self, attention: Attention, feed_forward: DenseFeedForward | MoeFeedForward, norms: tuple[Norm, Norm]
    ) -> None:
        self.attention, self.feed_forward, self.norms = attention, feed_forward, norms

    def prefill(self, x: Tensor, slot: int | Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        x = self.attention.prefill(self.norms[0](x), slot, rope, x)
        return self.feed_forward(self.norms[1](x), x)

    def decode(self, x: Tensor, at: Positions, rope: tuple[Tensor, Tensor]) -> Tensor:
        x = self.attention.decode(self.norms[0](x), at, rope, x)
        return self.feed_forward(self.norms[1](x), x)

    def fixed_bytes(self) -> int:
        """Weights outside the feed-forward."""
        norms = sum(n.bytes for n in self.norms)
        return norms + self.attention.extra_bytes() + sum(m.bytes for m in self.attention.linears)


class StreamLayer(Layer):
    """The same over several residual streams: x (rows, streams, hidden)."""

    def __init__(
        self,
        attention: Attention,
        feed_forward: DenseFeedForward | MoeFeedForward,
        norms: tuple[Norm, Norm],
        connections: tuple[HyperConnection, HyperConnection],
    ) -> None:
        super().__init__(attention, feed_forward, norms)
        self._connections = connections

    def prefill(self, x: Tensor, slot: int, rope: tuple[Tensor, Tensor]) -> Tensor:
        x = self._connections[0](x, lambda y: self.attention.prefill(self.norms[0](y), slot, rope))
        return self._connections[1](x, lambda y: self.feed_forward(self.norms[1](y)))

    def decode(self, x: Tensor, at: Positions, rope: tuple[Tensor, Tensor]) -> Tensor:
        x = self._connections[0](x, lambda y: self.attention.decode(self.norms[0](y), at, rope))
        return self._connections[1](x, lambda y: self.feed_forward(self.norms[1](y)))

    def fixed_bytes(self) -> int:
        return super().fixed_bytes() + sum(c.bytes for c in self._connections)


class Decoder:
    """Embedding, layers, head; `slots` sequences of up to `tokens` tokens."""

    def __init__(
        self, a: Architecture, formats: FormatPrecision, count: LayerCount, resident_experts: int | None, pool:
        RandomPool,
        tuner: Tuner, *, slots: int, tokens: int,
    ) -> None:  # fmt: skip
        _check(a)
        self._a, self._slots, self._tokens, self._device, self._tuner = a, slots, tokens, pool.device, tuner
        self._dtype = TORCH_TYPES[pool.activation]
        self.embedding = pool.floats((a.vocab_size, a.hidden_size), self._dtype)
        self.head = self._make_head(formats, pool, tuner)
        self.norm = Norm(a.hidden_size, pool)
        experts = resident_experts or a.n_routed_experts
        numbers = layer_numbers(a, count)
        self.layers = [
            self._make_layer(formats, pool, tuner, experts if index >= count.dense else 0, number)
            for index, number in enumerate(numbers)
        ]
        self._all, self._count = self.layers, count
        self.between_s: float | None = None  # of the last step, where its layers were one call: not in products
        self.rope = Rope(tokens, self.layers[0].attention.rotary_dimension, self._dtype, pool.device)
        self.join()

    def _make_head(self, formats: FormatPrecision, pool: RandomPool, tuner: Tuner) -> Linear:
        a = self._a
        if a.tie_word_embeddings:
            return FloatLinear(a.hidden_size, a.vocab_size, tuner, self.embedding, None)
        return make_linear(a.hidden_size, a.vocab_size, formats.head, pool, tuner)

    def _make_layer(
        self, formats: FormatPrecision, pool: RandomPool, tuner: Tuner, experts: int, number: int
    ) -> Layer:
        a = self._a
        attention = self._make_attention(formats, pool, tuner, number)
        norms = (Norm(a.hidden_size, pool), Norm(a.hidden_size, pool))
        if experts:
            return self._joined(attention, MoeFeedForward(a, experts, formats.feed_forward, pool, tuner), norms, pool)
        width = a.intermediate_size or 0
        dense = DenseFeedForward(a.hidden_size, width, a.mlp_matrices, formats.feed_forward, pool, tuner)
        return self._joined(attention, dense, norms, pool)

    def _make_attention(self, formats: FormatPrecision, pool: RandomPool, tuner: Tuner, number: int) -> Attention:
        a, room = self._a, (self._slots, self._tokens)
        if a.compression is not None:
            ratio = a.compression.ratios[number]
            return CompressedAttention(a, formats.attention, pool, tuner, *room, ratio=ratio)
        return ATTENTION[a.attention](a, formats.attention, pool, tuner, *room)

    def _joined(
        self,
        attention: Attention,
        feed_forward: DenseFeedForward | MoeFeedForward,
        norms: tuple[Norm, Norm],
        pool: RandomPool,
    ) -> Layer:
        a = self._a
        if a.hyper_connections is None:
            return Layer(attention, feed_forward, norms)
        streams = a.hyper_connections
        shape = a.hidden_size, streams.mult, streams.sinkhorn_iters
        around = [HyperConnection(*shape, pool, self._tuner) for _ in range(2)]
        return StreamLayer(attention, feed_forward, norms, (around[0], around[1]))

    def join(self) -> None:
        """Offer all layers in one compiled call for one token, with the rotary tables of now, where there is one."""
        self._whole = _whole(self._all, self.rope) if self._device.type == "cpu" else None

    def use(self, count: LayerCount) -> None:
        """Run only the first dense and the first mixture-of-experts layers; the rest stays loaded."""
        dense, moe = self._all[: self._count.dense], self._all[self._count.dense :]
        self.layers = [*dense[: count.dense], *moe[: count.moe]]

    @contextmanager
    def only_first(self) -> Iterator[None]:
        """One layer of each sort, for the time of the block."""
        kept, count = self.layers, LayerCount(1, 1).within(self._count)
        self.use(count)
        try:
            yield
        finally:
            self.layers = kept

    def prefill(self, ids: Tensor, slot: int | Tensor, last: Tensor | None = None) -> Tensor:
        """ids (tokens) -> logits of the last one (vocabulary). In tensors of (1), slot and last may change under a
        captured graph.
        """
        x = self._embedded(ids)
        rope = self.rope.rows(slice(0, len(ids)))
        for layer in self.layers:
            x = layer.prefill(x, slot, rope)
        return self._logits(self._merged(x[-1:] if last is None else x.index_select(0, last)))[0]

    def decode(self, ids: Tensor, at: Positions) -> Tensor:
        """ids (rows) -> logits (rows, vocabulary)."""
        return self._logits(self._merged(self._through(self._embedded(ids), at)))

    def _through(self, x: Tensor, at: Positions) -> Tensor:
        whole = self._whole
        if whole is None or x.shape[0] > 1:
            return self._one_by_one(x, at)
        ways = {
            "whole": lambda: self._in_one(whole, x, at),
            "pieces": lambda: self._one_by_one(x, at),
        }
        return self._tuner.run(("layers", row_bucket(at.longest + 1)), ways)

    def _in_one(self, whole: Whole, x: Tensor, at: Positions) -> Tensor:
        y = whole(x, at.slots, at.lengths, len(self.layers))
        self.between_s = whole.between_s
        return y

    def _one_by_one(self, x: Tensor, at: Positions) -> Tensor:
        self.between_s = None
        rope = self.rope.rows(at.lengths)
        for layer in self.layers:
            x = layer.decode(x, at, rope)
        return x

    def positions(self, lengths: Mapping[int, int]) -> Positions:
        """Where to write and read for sequences in slots (slot: tokens so far)."""
        slots, counts = list(lengths), list(lengths.values())
        longest = max(counts)
        at = torch.tensor(counts, device=self._device)
        where = torch.tensor(slots, device=self._device)
        if min(counts) == longest and slots == list(range(len(slots))):
            return Positions(where, at, longest, None)
        beyond = torch.arange(longest + 1, device=self._device)[None] > at[:, None]
        mask = torch.zeros(beyond.shape, dtype=self._dtype, device=self._device).masked_fill_(beyond, float("-inf"))
        return Positions(where, at, longest, mask[:, None, None])

    def is_capturable(self, rows: int) -> bool:
        """As a CUDA graph. A mixture of experts picks them on the host, save for few rows."""
        return all(layer.feed_forward.is_capturable(rows) for layer in self._all)

    @property
    def is_movable(self) -> bool:
        """Whether a captured step can be run at other slots and positions than those of its capture."""
        attentions = [layer.attention for layer in self._all]
        known = all(isinstance(a, GqaAttention) and a.fused is not None for a in attentions)
        return known and self.is_capturable(self._tokens)

    def tensor_bytes(self) -> int:
        """Weights, without caches; a tied head counts once."""
        head = 0 if self._a.tie_word_embeddings else self.head.bytes
        ends = self.embedding.numel() * self.embedding.element_size() + self.norm.bytes
        return ends + head + sum(layer.fixed_bytes() + layer.feed_forward.tensor_bytes() for layer in self._all)

    def matrices(self) -> list[Tensor]:
        """Of the layers in use and the head, as they are stored. A mixture of experts has some only by chance."""
        layers = [layer for layer in self.layers if isinstance(layer.feed_forward, DenseFeedForward)]
        linears = [m for layer in layers for m in (*layer.attention.linears, *layer.feed_forward.linears)]
        return [tensor for linear in (*linears, self.head) for tensor in linear.stored]

    def cache_bytes(self) -> int:
        return sum(c.numel() * c.element_size() for layer in self._all for c in layer.attention.caches)

    def read_bytes(self, context_tokens: int, rows: int) -> int:
        """Bytes that one decode step reads: every matrix in use once, one embedding row and the cache of each
        sequence.
        """
        row = self._a.hidden_size * self.embedding.element_size()
        weights = sum(layer.fixed_bytes() + layer.feed_forward.read_bytes(rows) for layer in self.layers)
        cache = sum(layer.attention.cache_read_bytes(context_tokens) for layer in self.layers)
        return int(weights + self.head.bytes + rows * (row + cache))

    def _embedded(self, ids: Tensor) -> Tensor:
        """(rows, hidden), or (rows, streams, hidden) with hyper-connections."""
        x, streams = self.embedding[ids], self._a.hyper_connections
        return x if streams is None else spread(x, streams.mult)

    def _merged(self, x: Tensor) -> Tensor:
        return x if self._a.hyper_connections is None else merged(x)

    def _logits(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x))


def _whole(layers: Sequence[Layer], rope: Rope) -> Whole | None:
    """None where numba is missing, and for layers that it has no call for."""
    try:
        from probes.engines.whole_layer import DenseLayer, whole_step
    except ImportError:
        return None
    found = []
    for layer in layers:
        attention, feed_forward, norms = layer.attention, layer.feed_forward, layer.norms
        if isinstance(layer, StreamLayer) or not isinstance(attention, GqaAttention):
            return None
        if not (isinstance(feed_forward, DenseFeedForward) and feed_forward.gated):
            return None
        linears, inside = (*attention.linears, *feed_forward.linears), tuple(n.weight for n in attention.norms)
        around = norms[0].weight, norms[1].weight
        found.append(DenseLayer(around, norms[0].epsilon, linears, inside, attention.caches))
    return whole_step(found, rope.tables)


def _check(a: Architecture) -> None:
    """What this decoder has no layers for is refused, not approximated."""
    known = a.attention in ATTENTION or a.attention is AttentionKind.CSA_HCA
    if not known or a.linear_attention or a.global_head_dim or a.engram:
        raise UnsupportedError(f"the torch engine has no layers for attention '{a.attention}' with these options")
