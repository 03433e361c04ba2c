"""Dimensions of each known `model_type`, from the fields of its `config.json`.

A family is a function from fields to the values of an `Architecture`. Defaults are those of the configuration
classes in Hugging Face transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from advisor.catalog.hf_common import Values, base, fine_experts
from advisor.catalog.hf_fields import Fields
from advisor.catalog.hf_latent import deepseek, deepseek_v2, deepseek_v3, deepseek_v32, minicpm3
from advisor.catalog.hf_v4 import deepseek_v4, deepseek_v41

__all__ = ["FAMILIES", "architecture_values"]


def architecture_values(kind: str, fields: Fields) -> Values:
    """Values of an `Architecture`, not yet validated. `kind` must be in FAMILIES."""
    return {name: value for name, value in FAMILIES[kind](fields).items() if value is not None}


def _windows(f: Fields, layers: object) -> Values:
    """Layers with a sliding window: by `layer_types`, by pattern, or all of them."""
    window = f.optional("sliding_window")
    types = f.words("layer_types")
    if window is None or (types and "sliding_attention" not in types):
        return {}
    if types:
        return {"sliding_window": window, "n_global_layers": types.count("full_attention")}
    every = f.optional("sliding_window_pattern", "_sliding_window_pattern")
    n_global = layers // every if isinstance(layers, int) and every else 0
    return {"sliding_window": window, "n_global_layers": n_global}


def _llama(f: Fields) -> Values:
    bias = f.flag("attention_bias")
    return {**base(f), "qkv_bias": bias, "o_bias": bias, "mlp_bias": f.flag("mlp_bias")}


def _mistral(f: Fields) -> Values:
    values = base(f)
    return {**values, **_windows(f, values["num_layers"])}


def _qwen2(f: Fields) -> Values:
    return {**base(f), "qkv_bias": True}


def _qwen3(f: Fields) -> Values:
    bias = f.flag("attention_bias")
    return {**base(f), "qk_norm": True, "qkv_bias": bias, "o_bias": bias}


def _gemma(f: Fields) -> Values:
    return {
        **base(f),
        "tie_word_embeddings": f.flag("tie_word_embeddings", default=True),
        "head_dim": f.integer("head_dim"),
    }


def _gemma2(f: Fields) -> Values:
    values = _gemma(f)
    windows = _windows(f, values["num_layers"])
    if windows and not f.words("layer_types"):
        windows["n_global_layers"] = f.integer("num_hidden_layers") // 2  # every second layer
    return {**values, **windows, "norms_per_layer": 4}


def _gemma3(f: Fields) -> Values:
    values = _gemma(f)
    windows = _windows(f, values["num_layers"])
    if windows and not windows["n_global_layers"]:
        windows["n_global_layers"] = f.integer("num_hidden_layers") // 6  # every sixth layer
    return {**values, **windows, "norms_per_layer": 4, "qk_norm": True}


def _mixtral(f: Fields) -> Values:
    return {
        **_mistral(f),
        "moe_intermediate_size": f.integer("intermediate_size"),
        "n_routed_experts": f.integer("num_local_experts"),
        "experts_per_tok": f.integer("num_experts_per_tok"),
    }


def _qwen_moe(f: Fields) -> Values:
    step = f.optional("decoder_sparse_step") or 1
    return {
        "moe_intermediate_size": f.integer("moe_intermediate_size"),
        "n_routed_experts": f.integer("num_experts", "num_local_experts"),
        "experts_per_tok": f.integer("num_experts_per_tok"),
        "moe_layer_interval": step,
        "first_k_dense_replace": step - 1,
    }


def _qwen2_moe(f: Fields) -> Values:
    return {
        **_qwen2(f),
        **_qwen_moe(f),
        "n_shared_experts": 1,
        "shared_intermediate_size": f.integer("shared_expert_intermediate_size"),
        "shared_expert_gate": True,
    }


def _qwen3_moe(f: Fields) -> Values:
    return {**_qwen3(f), **_qwen_moe(f)}


def _qwen3_next(f: Fields) -> Values:
    """Three of four layers are gated delta nets with a state of fixed size."""
    layers = f.integer("num_hidden_layers")
    n_full = f.words("layer_types").count("full_attention") or layers // (f.optional("full_attention_interval") or 4)
    key_heads, value_heads = f.integer("linear_num_key_heads"), f.integer("linear_num_value_heads")
    key_dim, value_dim = f.integer("linear_key_head_dim"), f.integer("linear_value_head_dim")
    keys, values, hidden = key_heads * key_dim, value_heads * value_dim, f.integer("hidden_size")
    kernel = f.optional("linear_conv_kernel_dim") or 4
    projections = hidden * (2 * keys + 3 * values + 2 * value_heads)  # q, k, v, gate, output; decay and beta
    params = projections + kernel * (2 * keys + values) + 2 * value_heads + value_dim
    n_linear = layers - n_full
    return {
        **_qwen3(f),
        **_qwen_moe(f),
        "n_shared_experts": 1,
        "shared_intermediate_size": f.integer("shared_expert_intermediate_size"),
        "shared_expert_gate": True,
        "attention_output_gate": True,
        "n_global_layers": n_full,
        "linear_attention": {
            "n_layers": n_linear,
            "state_bytes_per_sequence": n_linear * value_heads * key_dim * value_dim * 4,
            "params_per_layer": params,
        },
    }


def _glm4_moe(f: Fields) -> Values:
    return {
        **base(f),
        **fine_experts(f),
        "qkv_bias": f.flag("attention_bias"),
        "qk_norm": f.flag("use_qk_norm"),
        "router_bias": True,
        "mtp_layers": f.count("num_nextn_predict_layers"),
    }


def _minimax_m2(f: Fields) -> Values:
    return {
        **_mixtral(f),
        "router_bias": f.flag("use_routing_bias", default=True),
        "qk_norm_full": f.flag("use_qk_norm", default=True),
    }


def _llama4(f: Fields) -> Values:
    """`intermediate_size` is the experts' width, `intermediate_size_mlp` that of dense layers."""
    step = f.optional("interleave_moe_layer_step") or 1
    return {
        **base(f),
        "intermediate_size": f.optional("intermediate_size_mlp"),
        "moe_intermediate_size": f.integer("intermediate_size"),
        "n_routed_experts": f.integer("num_local_experts"),
        "n_shared_experts": 1,
        "experts_per_tok": f.integer("num_experts_per_tok"),
        "moe_layer_interval": step,
        "first_k_dense_replace": step - 1,
    }


def _phi3(f: Fields) -> Values:
    return {**base(f), "fused_qkv": True}


def _starcoder2(f: Fields) -> Values:
    bias = f.flag("use_bias", default=True)
    values = {**_mistral(f), "qkv_bias": bias, "o_bias": bias, "mlp_bias": bias, "mlp_matrices": 2}
    return {
        **values,
        "tie_word_embeddings": f.flag("tie_word_embeddings", default=True),
        "norms_per_layer": 4,
        "norm_bias": True,
    }


def _gpt_oss(f: Fields) -> Values:
    return {
        **_mixtral(f),
        "qkv_bias": True,
        "o_bias": True,
        "mlp_bias": True,
        "attention_sinks": True,
    }


def _chatglm(f: Fields) -> Values:
    values = base(Fields({"vocab_size": f.config.get("padded_vocab_size"), **f.config}, f.file, f.kind))
    groups = f.optional("multi_query_group_num") if f.flag("multi_query_attention") else None
    values |= {"n_kv_heads": groups or values["n_heads"], "intermediate_size": f.integer("ffn_hidden_size")}
    values |= {"head_dim": f.optional("kv_channels") or values["head_dim"], "qkv_bias": f.flag("add_qkv_bias")}
    return {**values, "max_position_embeddings": f.optional("seq_length"), "fused_qkv": True}


FAMILIES: Mapping[str, Callable[[Fields], Values]] = {
    **dict.fromkeys(("llama", "granite", "internlm2", "smollm3"), _llama),
    **dict.fromkeys(("mistral", "ministral", "ministral3"), _mistral),
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "phi3": _phi3,
    "gemma": _gemma,
    "gemma2": _gemma2,
    **dict.fromkeys(("gemma3_text", "gemma3"), _gemma3),
    "mixtral": _mixtral,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    **dict.fromkeys(("qwen3_next", "qwen3_5_moe_text"), _qwen3_next),
    "deepseek": deepseek,
    "deepseek_v2": deepseek_v2,
    **dict.fromkeys(("deepseek_v3", "kimi_k2", "glm4_moe_lite"), deepseek_v3),
    "deepseek_v32": deepseek_v32,
    "deepseek_v4": deepseek_v4,
    **dict.fromkeys(("deepseek_v41", "deepseek_v41_text"), deepseek_v41),
    "minicpm3": minicpm3,
    "glm4_moe": _glm4_moe,
    "minimax_m2": _minimax_m2,
    "gpt_oss": _gpt_oss,
    "llama4_text": _llama4,
    "starcoder2": _starcoder2,
    "chatglm": _chatglm,
}
