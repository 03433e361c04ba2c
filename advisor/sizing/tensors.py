"""The tensors of a model by role and shape, from the dimensions in its `config.json`.

Sums equal the element totals of the published safetensors files. Dense, mixture-of-experts, GQA, MLA and linear
attention are here; the compressed attention of V4 and V4.1 is in `tensors_v4`.
"""

from __future__ import annotations

from functools import lru_cache

from advisor.catalog.formats import TensorRole as R
from advisor.catalog.records import Architecture, AttentionKind
from advisor.sizing.tensors_common import Tensor, moe_tensors, need, vector
from advisor.sizing.tensors_v4 import compressed_attention, drafting_tensors, stack_tensors

__all__ = ["Tensor", "active_params", "kept_outside_total", "main_tensors", "moe_layers", "mtp_copies", "mtp_tensors"]


@lru_cache(maxsize=512)
def main_tensors(a: Architecture) -> tuple[Tensor, ...]:
    """All tensors of the main model: without the multi-token prediction module or drafter.

    Raises UnsupportedError when a dimension that the architecture needs is missing.
    """
    out = [Tensor("token_embd", R.EMBEDDING, a.vocab_size, a.hidden_size)]
    if not a.tie_word_embeddings:
        out.append(Tensor("output", R.HEAD, a.vocab_size, a.hidden_size))
    if a.head_bias:
        out.append(vector("output_bias", R.NORM, a.vocab_size))
    layers = tuple(range(a.num_layers))
    out.append(vector("norms", R.NORM, a.hidden_size * a.norms_per_layer, layers))
    out.append(vector("output_norm", R.NORM, a.hidden_size * (2 if a.norm_bias else 1)))
    out += attention_tensors(a, layers)
    out += _feed_forward(a, layers)
    if a.vision is not None:
        out.append(Tensor("vision", R.VISION, 1, a.vision.params, active=0))
    if _is_v4(a):
        out += stack_tensors(a, layers)
    return tuple(out)


@lru_cache(maxsize=64)
def mtp_tensors(a: Architecture) -> tuple[Tensor, ...]:
    """The stored multi-token prediction module or drafter, without its copies of embedding and head."""
    if _is_v4(a):
        return drafting_tensors(a)
    if not a.mtp_layers:
        return ()
    layers = tuple(range(a.num_layers, a.num_layers + a.mtp_layers))
    h = a.hidden_size
    out = [*attention_tensors(a, layers), *moe_tensors(a, layers)]
    out.append(Tensor("eh_proj", R.MTP, h, 2 * h, layers))
    out.append(vector("mtp_norms", R.NORM, 5 * h, layers))  # two of the layer, two inputs, one before the head
    return tuple(out)


def mtp_copies(a: Architecture) -> tuple[Tensor, ...]:
    """Copies of embedding and head that V3's checkpoints store with the module (README_WEIGHTS of DeepSeek-V3)."""
    if _is_v4(a) or not a.mtp_layers:
        return ()
    return (
        Tensor("mtp_embd", R.EMBEDDING, a.vocab_size, a.hidden_size, copies=a.mtp_layers),
        Tensor("mtp_output", R.HEAD, a.vocab_size, a.hidden_size, copies=a.mtp_layers),
    )


def active_params(a: Architecture, *, with_embedding: bool = False) -> int:
    """Parameters that one decoded token uses; a tied embedding is the head and always counts."""
    looked_up = not a.tie_word_embeddings and not with_embedding
    return sum(
        tensor.active_params
        for tensor in main_tensors(a)
        if not kept_outside_total(tensor) and not (looked_up and tensor.role is R.EMBEDDING)
    )


def kept_outside_total(tensor: Tensor) -> bool:
    """Integer tables are stored, but nobody counts them as parameters."""
    return tensor.role is R.HASH_TABLE


def moe_layers(a: Architecture, layers: tuple[int, ...]) -> tuple[int, ...]:
    """The mixture-of-experts layers among `layers`."""
    if not a.is_moe:
        return ()
    return tuple(i for i in layers if i >= a.first_k_dense_replace and _on_interval(a, i))


def attention_tensors(a: Architecture, layers: tuple[int, ...]) -> list[Tensor]:
    if a.attention in (AttentionKind.MLA, AttentionKind.MLA_DSA):
        return _mla(a, layers)
    if _is_v4(a):
        return compressed_attention(a, layers)
    n_linear = a.linear_attention.n_layers if a.linear_attention else 0
    n_local = len(layers) - a.n_global_layers - n_linear if a.n_global_layers is not None and a.global_head_dim else 0
    linear, local, full = layers[:n_linear], layers[n_linear : n_linear + n_local], layers[n_linear + n_local :]
    out: list[Tensor] = []
    if a.linear_attention and linear:
        out.append(Tensor("linear_attn", R.LINEAR_ATTENTION, 1, a.linear_attention.params_per_layer, linear))
    if local:
        out += _gqa(a, local, a.n_kv_heads, a.head_dim)
    if local and full:
        return out + _gqa(
            a, full, a.global_n_kv_heads or a.n_kv_heads, a.global_head_dim or a.head_dim, a.global_kv_shared
        )
    return out + _gqa(a, full, a.n_kv_heads, a.head_dim)


def _feed_forward(a: Architecture, layers: tuple[int, ...]) -> list[Tensor]:
    sparse = moe_layers(a, layers)
    out = moe_tensors(a, sparse) if sparse else []
    dense = tuple(i for i in layers if i not in set(sparse))
    if not dense:
        return out
    h, i = a.hidden_size, need(a.intermediate_size, "intermediate_size")
    out.append(Tensor("ffn_gate_up", R.FFN_UP, i, h, dense, a.mlp_matrices - 1))
    out.append(Tensor("ffn_down", R.FFN_DOWN, h, i, dense))
    if a.mlp_bias:
        out.append(vector("ffn_bias", R.NORM, (a.mlp_matrices - 1) * i + h, dense))
    return out


def _gqa(a: Architecture, layers: tuple[int, ...], n_kv: int, d: int, kv_shared: bool = False) -> list[Tensor]:
    if not layers:
        return []
    h, wide, narrow = a.hidden_size, a.n_heads * d, n_kv * d
    out = [Tensor("attn_q", R.ATTN_Q, wide * (2 if a.attention_output_gate else 1), h, layers)]
    out.append(Tensor("attn_k", R.ATTN_K, narrow, h, layers))
    if not kv_shared:
        out.append(Tensor("attn_v", R.ATTN_V, narrow, h, layers))
    out.append(Tensor("attn_output", R.ATTN_O, h, wide, layers))
    if a.qkv_bias:
        out.append(vector("attn_qkv_bias", R.ATTN_BIAS, wide + 2 * narrow, layers))
    if a.o_bias:
        out.append(vector("attn_o_bias", R.ATTN_BIAS, h, layers))
    if a.qk_norm or a.qk_norm_full:
        out.append(vector("qk_norm", R.NORM, wide + narrow if a.qk_norm_full else 2 * d, layers))
    if a.attention_sinks:
        out.append(vector("attn_sinks", R.NORM, a.n_heads, layers))
    return out


def _mla(a: Architecture, layers: tuple[int, ...]) -> list[Tensor]:
    h, heads = a.hidden_size, a.n_heads
    nope, rope = need(a.qk_nope_head_dim, "qk_nope_head_dim"), need(a.qk_rope_head_dim, "qk_rope_head_dim")
    latent, v = need(a.kv_lora_rank, "kv_lora_rank"), need(a.v_head_dim, "v_head_dim")
    out = [
        Tensor("attn_kv_a_mqa", R.KV_A, latent + rope, h, layers),
        vector("attn_kv_a_norm", R.NORM, latent, layers),
        Tensor("attn_kv_b", R.KV_B, heads * (nope + v), latent, layers),
        Tensor("attn_output", R.ATTN_O, h, heads * v, layers),
    ]
    if a.q_lora_rank:
        out.append(Tensor("attn_q_a", R.Q_A, a.q_lora_rank, h, layers))
        out.append(vector("attn_q_a_norm", R.NORM, a.q_lora_rank, layers))
        out.append(Tensor("attn_q_b", R.Q_B, heads * (nope + rope), a.q_lora_rank, layers))
    else:
        out.append(Tensor("attn_q", R.ATTN_Q, heads * (nope + rope), h, layers))
    if a.indexer is not None:
        out += _dsa_indexer(a, layers)
    return out


def _dsa_indexer(a: Architecture, layers: tuple[int, ...]) -> list[Tensor]:
    """Queries from the query latent, one key per token, one weight per head, LayerNorm on the key (V3.2)."""
    assert a.indexer is not None
    n, d = a.indexer.n_heads, a.indexer.head_dim
    return [
        Tensor("indexer_q", R.INDEXER, n * d, need(a.q_lora_rank, "q_lora_rank"), layers),
        Tensor("indexer_k", R.INDEXER, d, a.hidden_size, layers),
        Tensor("indexer_weights", R.INDEXER, n, a.hidden_size, layers),
        vector("indexer_norm", R.NORM, 2 * d, layers),
    ]


def _on_interval(a: Architecture, layer: int) -> bool:
    return (layer - a.first_k_dense_replace) % a.moe_layer_interval == 0


def _is_v4(a: Architecture) -> bool:
    return a.attention in (AttentionKind.CSA_HCA, AttentionKind.CSA_SHARED)
