"""Tensors of DeepSeek-V4 (CSA/HCA, hyper-connections, hash layers) and V4.1 (shared CSA, Engram, DSpark).

The sums equal the element totals of the published checkpoints: V4-Flash 284,332,240,471 and V4-Pro 1,572,997,201,763
without MTP, V4.1-Flash 763,205,300,050 with drafter and vision tower.
"""

from __future__ import annotations

from dataclasses import replace

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.formats import TensorRole as R
from advisor.catalog.records import Architecture, AttentionKind, Compression, Indexer
from advisor.sizing.tensors_common import Tensor, moe_tensors

__all__ = ["compressed_attention", "drafting_tensors", "stack_tensors"]

ENGRAM_HEADS = 24  # 3 n-gram orders x 8 hash heads, each a row of `row_dim`


def compressed_attention(a: Architecture, layers: tuple[int, ...]) -> list[Tensor]:
    """Query latent, one shared key-value head, attention sinks, grouped low-rank output."""
    h, wide, d = a.hidden_size, a.n_heads * a.head_dim, a.head_dim
    q_rank, o_rank, groups = _dims(a)
    return [
        Tensor("attn_q_a", R.Q_A, q_rank, h, layers),
        Tensor("attn_q_b", R.Q_B, wide, q_rank, layers),
        Tensor("attn_kv", R.KV_A, d, h, layers),
        Tensor("attn_o_a", R.O_A, o_rank, wide // groups, layers, groups),
        Tensor("attn_o_b", R.O_B, h, groups * o_rank, layers),
        Tensor("attn_vectors", R.NORM, 1, q_rank + d + a.n_heads, layers),
    ]


def stack_tensors(a: Architecture, layers: tuple[int, ...]) -> list[Tensor]:
    """What V4 and V4.1 have beside attention and experts."""
    out = _hyper_connections(a, layers)
    if a.attention is AttentionKind.CSA_HCA:
        return out + _csa_hca(a) + _hash_layers(a) + [_hyper_head(a)]
    return out + _csa_shared(a) + _engram(a)


def drafting_tensors(a: Architecture) -> tuple[Tensor, ...]:
    """The MTP layer of V4's first release, or the DSpark drafter of later ones."""
    if a.drafter is not None:
        return _dspark(a)
    layers = tuple(range(a.num_layers, a.num_layers + a.mtp_layers))
    if not layers:
        return ()
    h = a.hidden_size
    out = _plain_layers(a, layers, a.n_routed_experts, a.experts_per_tok)
    out.append(Tensor("eh_proj", R.MTP, h, h, layers, 2))
    out.append(Tensor("mtp_norms", R.NORM, 1, 3 * h, layers))
    return (*out, *[_hyper_head(a)] * len(layers))


def _dspark(a: Architecture) -> tuple[Tensor, ...]:
    """Drafter stages of three layers' fused states, and a low-rank Markov head over the vocabulary."""
    assert a.drafter is not None
    h, stages, rank = a.hidden_size, a.drafter.stages, a.drafter.markov_rank
    layers = tuple(range(a.num_layers, a.num_layers + stages))
    out = _plain_layers(a, layers, a.drafter.n_experts, a.drafter.top_k)
    out.append(Tensor("fuse_proj", R.MTP, h, stages * h))
    out.append(Tensor("markov", R.MTP, a.vocab_size, rank, copies=2))
    out.append(Tensor("mtp_norms", R.NORM, 1, 3 * h + rank))
    if a.attention is AttentionKind.CSA_HCA:
        out.append(_hyper_head(a))
    return tuple(out)


def _plain_layers(a: Architecture, layers: tuple[int, ...], n_experts: int, top_k: int) -> list[Tensor]:
    """Sliding-window layers with their experts."""
    own = replace(a, n_routed_experts=n_experts, experts_per_tok=top_k)
    norms = Tensor("norms", R.NORM, 1, 2 * a.hidden_size, layers)
    return [*compressed_attention(a, layers), *moe_tensors(own, layers), *_hyper_connections(a, layers), norms]


def _hyper_connections(a: Architecture, layers: tuple[int, ...]) -> list[Tensor]:
    """Two per layer: (2 + m)·m mixing rows over m parallel residual streams, with base and three scales."""
    m = _mult(a)
    mixes = (2 + m) * m
    return [
        Tensor("hc", R.HYPER_CONNECTION, mixes, m * a.hidden_size, layers, 2),
        Tensor("hc_vectors", R.NORM, 1, 2 * (mixes + 3), layers),
    ]


def _hyper_head(a: Architecture) -> Tensor:
    m = _mult(a)
    return Tensor("hc_head", R.HYPER_CONNECTION, 1, m * m * a.hidden_size + m + 1)


def _csa_hca(a: Architecture) -> list[Tensor]:
    """Compressors: key-value and gate projections (twice as wide with overlap at ratio 4), position table, norm."""
    ratios = _compression(a).ratios
    out: list[Tensor] = []
    for ratio in sorted(set(ratios) - {0}):
        layers = tuple(i for i, r in enumerate(ratios) if r == ratio)
        indexed = ratio == 4
        out += _compressor(a, layers, ratio, a.head_dim, 2 if indexed else 1, "compressor")
        if indexed:
            out += _index_queries(a, layers)
            out += _compressor(a, layers, ratio, _indexer(a).head_dim, 2, "indexer_compressor")
    return out


def _compressor(a: Architecture, layers: tuple[int, ...], ratio: int, d: int, overlap: int, name: str) -> list[Tensor]:
    return [
        Tensor(name, R.COMPRESSOR, overlap * d, a.hidden_size, layers, 2),
        Tensor(f"{name}_vectors", R.NORM, 1, ratio * overlap * d + d, layers),
    ]


def _index_queries(a: Architecture, layers: tuple[int, ...]) -> list[Tensor]:
    i = _indexer(a)
    return [
        Tensor("indexer_q", R.INDEXER, i.n_heads * i.head_dim, _dims(a)[0], layers),
        Tensor("indexer_weights", R.INDEXER, i.n_heads, a.hidden_size, layers),
    ]


def _hash_layers(a: Architecture) -> list[Tensor]:
    """The first layers route by a table of expert numbers per token id; they have no router bias."""
    if not a.n_hash_layers:
        return []
    layers = tuple(range(a.n_hash_layers))
    return [Tensor("hash_table", R.HASH_TABLE, a.vocab_size, a.experts_per_tok, layers)]


def _csa_shared(a: Architecture) -> list[Tensor]:
    """V4.1: few layers produce entries for all; index keys are projected from the entries."""
    c = _compression(a)
    d, i = a.head_dim, _indexer(a)
    gated = tuple(n for n in c.kv_source_layers if c.ratios[n] > 1)
    plain = tuple(n for n in c.kv_source_layers if c.ratios[n] == 1)
    out = _index_queries(a, c.index_source_layers)
    out.append(Tensor("compressor", R.COMPRESSOR, d, a.hidden_size, gated, 2))
    if plain:
        out.append(Tensor("compressor", R.COMPRESSOR, d, a.hidden_size, plain))
    out.append(Tensor("compressor_norm", R.NORM, 1, d + i.head_dim, c.kv_source_layers))
    out.append(Tensor("indexer_k", R.INDEXER, i.head_dim, d, c.kv_source_layers))
    return out


def _engram(a: Architecture) -> list[Tensor]:
    """Hashed n-gram tables; per layer a value projection and one key projection and two norms per residual stream."""
    if a.engram is None:
        return []
    e, h, m = a.engram, a.hidden_size, _mult(a)
    read = ENGRAM_HEADS * e.row_dim
    tables = [
        Tensor("engram_table", R.ENGRAM_TABLE, rows, e.row_dim, (layer,), 1, 0)
        for layer, rows in zip(e.layers, e.rows, strict=True)
    ]
    return [
        *tables,
        Tensor("engram_proj", R.ENGRAM, h, read, e.layers, m + 1),
        Tensor("engram_norms", R.NORM, 1, 2 * m * h, e.layers),
    ]


def _dims(a: Architecture) -> tuple[int, int, int]:
    if a.q_lora_rank is None or a.o_lora_rank is None or a.o_groups is None:
        raise UnsupportedError(
            "compressed attention cannot be sized without 'q_lora_rank', 'o_lora_rank' and 'o_groups'"
        )
    return a.q_lora_rank, a.o_lora_rank, a.o_groups


def _mult(a: Architecture) -> int:
    if a.hyper_connections is None:
        raise UnsupportedError("compressed attention cannot be sized without 'hyper_connections'")
    return a.hyper_connections.mult


def _indexer(a: Architecture) -> Indexer:
    if a.indexer is None:
        raise UnsupportedError("compressed attention cannot be sized without 'indexer'")
    return a.indexer


def _compression(a: Architecture) -> Compression:
    if a.compression is None:
        raise UnsupportedError("compressed attention cannot be sized without 'compression'")
    return a.compression
