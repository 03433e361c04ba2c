"""FLOPs of attention itself (scores and values), beside the projections."""

from __future__ import annotations

from advisor.catalog.records import Architecture, AttentionKind

__all__ = ["attention_flops"]


def attention_flops(a: Architecture) -> tuple[float, float, float, float]:
    """FLOP per query token and context token, all layers: decode, prefill, in the window, without cap.

    Two multiply-adds of head_dim per head (scores, values). MLA decodes in the latent space (arXiv 2405.04434 §2.1.2).
    """
    heads = a.n_heads
    if a.attention in (AttentionKind.MLA, AttentionKind.MLA_DSA):
        latent, rope = a.kv_lora_rank or 0, a.qk_rope_head_dim or 0
        nope, v = a.qk_nope_head_dim or 0, a.v_head_dim or 0
        decode = 2.0 * a.num_layers * heads * (2 * latent + rope)
        prefill = 2.0 * a.num_layers * heads * (nope + rope + v)
        scores = 2.0 * a.num_layers * a.indexer.n_heads * a.indexer.head_dim if a.indexer else 0.0
        return decode, prefill, 0.0, scores
    per_layer = 4.0 * heads * a.head_dim
    if a.compression is not None and a.indexer is not None:
        index = 2.0 * a.indexer.n_heads * a.indexer.head_dim
        sparse = [r for r in a.compression.ratios if 0 < r <= 4]
        dense = sum(1 / r for r in a.compression.ratios if r > 4)
        sources = a.compression.index_source_layers
        scored = sum(1 / a.compression.ratios[n] for n in sources) if sources else sum(1 / r for r in sparse)
        capped = per_layer * sum(1 / r for r in sparse)
        return capped, capped, per_layer * a.num_layers, per_layer * dense + index * scored
    n_linear = a.linear_attention.n_layers if a.linear_attention else 0
    full = a.num_layers - n_linear
    window = 0
    if a.sliding_window is not None and a.n_global_layers is not None:
        full, window = a.n_global_layers, full - a.n_global_layers
    wide = 4.0 * heads * (a.global_head_dim or a.head_dim)
    return full * wide, full * wide, window * per_layer, 0.0
