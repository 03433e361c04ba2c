"""What the dimensions of most transformers have in common in `config.json`."""

from __future__ import annotations

from advisor.catalog.hf_fields import Fields
from advisor.catalog.records import AttentionKind

__all__ = ["Values", "base", "fine_experts"]

Values = dict[str, object]


def base(f: Fields) -> Values:
    """A dense model with grouped or full attention."""
    heads, hidden = f.integer("num_attention_heads"), f.integer("hidden_size")
    return {
        "attention": AttentionKind.GQA,
        "hidden_size": hidden,
        "num_layers": f.integer("num_hidden_layers", "num_layers"),
        "n_heads": heads,
        "n_kv_heads": f.optional("num_key_value_heads") or heads,
        "head_dim": f.optional("head_dim") or max(1, hidden // heads),
        "vocab_size": f.integer("vocab_size"),
        "intermediate_size": f.optional("intermediate_size"),
        "tie_word_embeddings": f.flag("tie_word_embeddings"),
        "max_position_embeddings": f.optional("max_position_embeddings"),
    }


def fine_experts(f: Fields) -> Values:
    """Routed and shared experts under the names that DeepSeek introduced."""
    return {
        "moe_intermediate_size": f.integer("moe_intermediate_size"),
        "n_routed_experts": f.integer("n_routed_experts"),
        "n_shared_experts": f.count("n_shared_experts"),
        "experts_per_tok": f.integer("num_experts_per_tok"),
        "first_k_dense_replace": f.count("first_k_dense_replace"),
        "moe_layer_interval": f.optional("moe_layer_freq") or 1,
    }
