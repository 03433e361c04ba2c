"""Dimensions of models with latent attention, and of the DeepSeek models before V4."""

from __future__ import annotations

from advisor.catalog.hf_common import Values, base, fine_experts
from advisor.catalog.hf_fields import Fields
from advisor.catalog.records import AttentionKind

__all__ = ["deepseek", "deepseek_v2", "deepseek_v3", "deepseek_v32", "minicpm3"]


def deepseek(f: Fields) -> Values:
    """DeepSeekMoE 16B."""
    return {**base(f), **fine_experts(f)}


def _latent(f: Fields) -> Values:
    nope, rope = f.integer("qk_nope_head_dim"), f.integer("qk_rope_head_dim")
    return {
        "attention": AttentionKind.MLA,
        "n_kv_heads": f.integer("num_attention_heads"),
        "head_dim": nope + rope,
        "q_lora_rank": f.optional("q_lora_rank"),
        "kv_lora_rank": f.integer("kv_lora_rank"),
        "qk_nope_head_dim": nope,
        "qk_rope_head_dim": rope,
        "v_head_dim": f.integer("v_head_dim"),
    }


def deepseek_v2(f: Fields) -> Values:
    """Multi-head latent attention."""
    return {**base(f), **fine_experts(f), **_latent(f)}


def deepseek_v3(f: Fields) -> Values:
    """Adds the bias of the router and the prediction module."""
    biased = f.text("topk_method", "noaux_tc") == "noaux_tc"
    return {**deepseek_v2(f), "router_bias": biased, "mtp_layers": f.count("num_nextn_predict_layers")}


def deepseek_v32(f: Fields) -> Values:
    """Adds the lightning indexer."""
    indexer = {
        "n_heads": f.integer("index_n_heads"),
        "head_dim": f.integer("index_head_dim"),
        "top_k": f.integer("index_topk"),
    }
    return {**deepseek_v3(f), "attention": AttentionKind.MLA_DSA, "indexer": indexer}


def minicpm3(f: Fields) -> Values:
    """A dense model with latent attention."""
    return {**base(f), **_latent_with_value_default(f)}


def _latent_with_value_default(f: Fields) -> Values:
    head = f.integer("hidden_size") // f.integer("num_attention_heads")
    filled = Fields({"v_head_dim": head, **f.config}, f.file, f.kind)
    return _latent(filled)
