"""Activations kept for the backward pass.

Korthikanti et al., arXiv 2205.05198 §4: a GPT layer keeps s·b·h·(34 + 5·a·s/h) bytes at 16 bit, split over t ranks with
sequence parallelism; 34 when attention is recomputed (or fused, as FlashAttention does); 2 with full checkpointing.
Here the terms are written out per matrix, so that gated feed-forward, grouped heads, MLA and experts count as they are.
"""

from __future__ import annotations

from enum import StrEnum

from advisor.catalog.records import Architecture, AttentionKind

__all__ = ["Checkpointing", "activation_bytes", "layer_bytes_per_token", "logits_bytes"]


class Checkpointing(StrEnum):
    NONE = "none"  # attention scores are kept too
    SELECTIVE = "selective"  # scores are recomputed, as FlashAttention does
    FULL = "full"  # only the input of each layer is kept


def activation_bytes(
    a: Architecture, tokens: int, sequence: int, tp: int, checkpointing: Checkpointing, *, dropout: bool = False
) -> float:
    """All layers, `tokens` = micro-batch x sequence, one rank of `tp` with sequence parallelism."""
    whole = layer_bytes_per_token(a, dropout=dropout)
    scores = 5.0 * a.n_heads * sequence if dropout else 2.0 * a.n_heads * sequence
    match checkpointing:
        case Checkpointing.NONE:
            return a.num_layers * tokens * (whole + scores) / tp
        case Checkpointing.SELECTIVE:
            return a.num_layers * tokens * whole / tp
        case _:
            return tokens * (a.num_layers * 2.0 * a.hidden_size + whole) / tp


def layer_bytes_per_token(a: Architecture, *, dropout: bool = False) -> float:
    """Bytes one token leaves in one layer at 16 bit, without attention scores."""
    h = a.hidden_size
    norms = 4.0 * h
    masks = 2.0 * h if dropout else 0.0
    return norms + masks + _attention(a) + _feed_forward(a)


def logits_bytes(a: Architecture, tokens: int, tp: int) -> float:
    """What the loss holds at its peak: 16-bit logits, their 32-bit copy, and the gradient of that."""
    return (2.0 + 4.0 + 4.0) * tokens * a.vocab_size / tp


def _attention(a: Architecture) -> float:
    """Input, queries, keys, values, output of the heads."""
    h = a.hidden_size
    if a.attention in (AttentionKind.MLA, AttentionKind.MLA_DSA):
        nope, rope, v = a.qk_nope_head_dim or 0, a.qk_rope_head_dim or 0, a.v_head_dim or 0
        latents = (a.q_lora_rank or 0) + (a.kv_lora_rank or 0) + rope
        return 2.0 * (h + latents + a.n_heads * (2 * (nope + rope) + 2 * v))
    return 2.0 * (h + 2 * a.n_heads * a.head_dim + 2 * a.n_kv_heads * a.head_dim)


def _feed_forward(a: Architecture) -> float:
    """Input, the outputs of the first matrices, and their product; in MoE layers once for each active expert."""
    h, gates = a.hidden_size, a.mlp_matrices - 1
    dense = 2.0 * (h + (gates + 1) * (a.intermediate_size or 0))
    if not a.is_moe:
        return dense
    active = a.experts_per_tok + a.n_shared_experts
    sparse = 2.0 * active * (h + (gates + 1) * (a.moe_intermediate_size or 0))
    part = a.n_moe_layers / a.num_layers
    return part * sparse + (1 - part) * dense
