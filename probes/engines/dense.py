"""Dense decoders in optional engines: which architectures are that plain, and the bytes that such a probe takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from advisor.catalog.formats import TensorRole as R
from advisor.catalog.records import Architecture, AttentionKind
from advisor.sizing.tensors import main_tensors
from advisor.sizing.tensors_common import Tensor
from probes.need import Need
from probes.spec import ProbeSpec, SweepAxis

__all__ = ["EngineBytes", "dense_need", "is_plain_decoder"]

VECTOR_BYTES = 4
_VECTORS = frozenset({R.NORM, R.ATTN_BIAS})


@dataclass(frozen=True, slots=True)
class EngineBytes:
    """How an engine stores a model. `matrix`: bytes of one matrix tensor with its scales. `cache_copies`: times that
    the cache is held at its fullest.
    """

    matrix: Callable[[Tensor], int]
    embedding_element: int
    cache_element: int
    runtime: int
    cache_copies: int = 1


def is_plain_decoder(a: Architecture) -> bool:
    """Grouped attention and gated feed-forward in every layer, two norms per layer, no bias but that of Q, K, V."""
    odd = a.sliding_window or a.mlp_bias or a.o_bias or a.norms_per_layer != 2 or a.mlp_matrices != 3
    return a.attention is AttentionKind.GQA and not (a.is_moe or odd or a.linear_attention or a.attention_output_gate)


def dense_need(spec: ProbeSpec, a: Architecture, layout: EngineBytes) -> Need:
    """The engine packs every matrix into an order of its own while the given one stays: both are counted."""
    matrices = embedding = vectors = 0
    for tensor in main_tensors(a):
        if tensor.role is R.EMBEDDING:
            embedding += tensor.params * layout.embedding_element
            matrices += layout.matrix(tensor) if a.tie_word_embeddings else 0
        elif tensor.role in _VECTORS:
            vectors += tensor.params * VECTOR_BYTES
        else:
            matrices += layout.matrix(tensor)
    slots = max(spec.batch, *spec.sweep_values) if spec.sweep_axis is SweepAxis.BATCH else spec.batch
    per_token = 2 * a.n_kv_heads * a.head_dim * a.num_layers * layout.cache_element
    longest = spec.longest_prompt
    working = longest * 4 * (4 * (a.intermediate_size or 0) + 6 * a.hidden_size) + a.n_heads * longest * longest * 4
    cache = slots * spec.context_tokens * per_token * layout.cache_copies
    read = matrices + vectors + longest * per_token
    return Need(matrices + embedding + vectors, cache, working + matrices, layout.runtime, read_bytes=read)
