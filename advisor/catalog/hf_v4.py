"""Dimensions of DeepSeek V4 and V4.1 from their `config.json`."""

from __future__ import annotations

from advisor.catalog.hf_fields import Fields
from advisor.catalog.records import AttentionKind

__all__ = ["deepseek_v4", "deepseek_v41"]

Values = dict[str, object]


def deepseek_v4(f: Fields) -> Values:
    """`compress_ratios` has one entry per layer and one more for the prediction module, which is dropped."""
    layers = f.integer("num_hidden_layers")
    values = _shared(f, layers)
    ratios = tuple(f.integers("compress_ratios"))[:layers]
    return {**values, "attention": AttentionKind.CSA_HCA, "compression": {"ratios": ratios}, **_drafting(f)}


def deepseek_v41(f: Fields) -> Values:
    """Entries are produced by `kv_source_layer_ids` and shared; prefill runs the layers before ratio 1 only."""
    layers = f.integer("num_hidden_layers")
    ratios = tuple(f.integers("compress_ratios"))[:layers]
    engram_layers = f.integers("engram_layer_ids")
    engram = {
        "layers": engram_layers,
        "rows": f.integers("engram_num_embeddings"),
        "row_dim": f.optional("engram_head_dim"),
    }
    return {
        **_shared(f, layers),
        "attention": AttentionKind.CSA_SHARED,
        "n_hash_layers": 0,
        "compression": {
            "ratios": ratios,
            "kv_source_layers": f.integers("kv_source_layer_ids"),
            "index_source_layers": f.integers("index_source_layer_ids"),
        },
        "engram": engram if engram_layers else None,
        "encoder_layers": ratios.index(1) if 1 in ratios else None,
        **_drafting(f),
    }


def _shared(f: Fields, layers: int) -> Values:
    head, rope = f.integer("head_dim"), f.integer("qk_rope_head_dim")
    return {
        "hidden_size": f.integer("hidden_size"),
        "num_layers": layers,
        "n_heads": f.integer("num_attention_heads"),
        "n_kv_heads": f.optional("num_key_value_heads") or 1,
        "head_dim": head,
        "vocab_size": f.integer("vocab_size"),
        "moe_intermediate_size": f.integer("moe_intermediate_size"),
        "n_routed_experts": f.integer("n_routed_experts"),
        "n_shared_experts": f.count("n_shared_experts"),
        "experts_per_tok": f.integer("num_experts_per_tok"),
        "q_lora_rank": f.integer("q_lora_rank"),
        "qk_nope_head_dim": head - rope if head > rope else None,
        "qk_rope_head_dim": rope,
        "v_head_dim": head,
        "tie_word_embeddings": f.flag("tie_word_embeddings"),
        "max_position_embeddings": f.optional("max_position_embeddings"),
        "sliding_window": f.integer("sliding_window"),
        "o_lora_rank": f.integer("o_lora_rank"),
        "o_groups": f.integer("o_groups"),
        "n_hash_layers": f.count("num_hash_layers"),
        "router_bias": True,
        "indexer": {
            "n_heads": f.integer("index_n_heads"),
            "head_dim": f.integer("index_head_dim"),
            "top_k": f.integer("index_topk"),
        },
        "hyper_connections": {"mult": f.integer("hc_mult"), "sinkhorn_iters": f.count("hc_sinkhorn_iters")},
    }


def _drafting(f: Fields) -> Values:
    """A DSpark drafter where the file has its fields, else the prediction module."""
    rank = f.optional("dspark_markov_rank")
    if rank is None:
        return {"mtp_layers": f.count("num_nextn_predict_layers")}
    stages = f.optional("dspark_num_stages") or len(f.integers("dspark_target_layer_ids")) or 1
    drafter = {
        "stages": stages,
        "n_experts": f.optional("dspark_n_routed_experts") or f.integer("n_routed_experts"),
        "top_k": f.optional("dspark_num_experts_per_tok") or f.integer("num_experts_per_tok"),
        "markov_rank": rank,
    }
    return {"mtp_layers": 0, "drafter": drafter}
