"""A variant in llama.cpp's words: the name of its architecture, the keys of its header, the names of its tensors.

Names: gguf-py `constants.py` of ggml-org/llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.formats import GgufMix, StorageType
from advisor.catalog.records import Architecture, AttentionKind
from advisor.sizing.gguf import F32, MlaLayout, gguf_matrices
from advisor.sizing.tensors import main_tensors
from advisor.sizing.tensors_common import Tensor

__all__ = ["FileTensor", "architecture_name", "can_write", "file_tensors", "header_fields"]

Shape = tuple[int, ...]
SIGMOID_ROUTING = 2  # llama.cpp's expert gating function of V3 and its descendants; 1 is softmax
NORM = "norm"

# Parts of one of our tensors in a file: (name, rows as a share of `rows`, stacked over experts).
_SPLIT: Mapping[str, tuple[str, ...]] = {
    "ffn_gate_up": ("ffn_gate", "ffn_up"),
    "ffn_gate_up_exps": ("ffn_gate_exps", "ffn_up_exps"),
    "ffn_gate_up_shexp": ("ffn_gate_shexp", "ffn_up_shexp"),
}
_STACKED = frozenset({"ffn_gate_up_exps", "ffn_down_exps", "attn_k_b", "attn_v_b"})
_REFUSED = (
    ("sliding_window", "sliding windows"),
    ("linear_attention", "linear attention"),
    ("compression", "V4's compressed attention"),
    ("indexer", "the sparse attention of V3.2"),
    ("vision", "a vision tower"),
    ("o_bias", "biases at the attention's output"),
    ("mlp_bias", "biases in the feed-forward"),
    ("head_bias", "a bias at the head"),
    ("norm_bias", "LayerNorm"),
    ("attention_sinks", "attention sinks"),
    ("attention_output_gate", "gated attention"),
    ("shared_expert_gate", "gated shared experts"),
    ("qk_norm_full", "norms over all heads"),
)


@dataclass(frozen=True, slots=True)
class FileTensor:
    """One tensor of a file. `shape`: outermost first, as numpy has it."""

    name: str
    shape: Shape
    kind: StorageType
    is_norm: bool = False  # filled with ones

    @property
    def elements(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total

    @property
    def bytes(self) -> int:
        return self.elements // self.kind.block_elements * self.kind.block_bytes


def architecture_name(a: Architecture) -> str:
    """Raises UnsupportedError for what this program cannot write."""
    for field, what in _REFUSED:
        if getattr(a, field):
            raise UnsupportedError(f"no synthetic GGUF of {what}")
    if a.mlp_matrices != 3 or a.norms_per_layer != 2 or a.moe_layer_interval != 1:
        raise UnsupportedError("no synthetic GGUF of this arrangement of layers")
    if a.attention is AttentionKind.MLA:
        return "deepseek2"
    if a.attention is not AttentionKind.GQA:
        raise UnsupportedError(f"no synthetic GGUF of {a.attention} attention")
    if a.is_moe:
        return _sparse_name(a)
    if a.qkv_bias and a.qk_norm:
        raise UnsupportedError("no synthetic GGUF of query biases together with query norms")
    return "qwen2" if a.qkv_bias else "qwen3" if a.qk_norm else "llama"


def can_write(a: Architecture) -> bool:
    try:
        return bool(architecture_name(a))
    except UnsupportedError:
        return False


def header_fields(a: Architecture, name: str, context_tokens: int) -> dict[str, int | float | bool]:
    """Keys below `<architecture>.` that llama.cpp asks for."""
    fields: dict[str, int | float | bool] = {
        "vocab_size": a.vocab_size,
        "context_length": max(context_tokens, a.max_context_tokens or 0),
        "embedding_length": a.hidden_size,
        "block_count": a.num_layers,
        "feed_forward_length": a.intermediate_size or a.moe_intermediate_size or 0,
        "attention.head_count": a.n_heads,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 1e6,
    }
    fields |= _latent_fields(a) if name == "deepseek2" else _head_fields(a)
    if a.is_moe:
        fields |= _expert_fields(a, name)
    return fields


def file_tensors(a: Architecture, mix: GgufMix, *, imatrix: bool) -> Iterator[FileTensor]:
    """Every tensor of the file with its type by llama.cpp's rules for `mix`."""
    for tensor in main_tensors(a):
        for part, layer, kind in gguf_matrices(a, mix, tensor, layout=MlaLayout.SPLIT, imatrix=imatrix):
            prefix = "" if layer is None else f"blk.{layer}."
            yield from _named(a, part, prefix, kind)


def _named(a: Architecture, part: Tensor, prefix: str, kind: StorageType) -> Iterator[FileTensor]:
    if part.rows == 1:
        for name, size in _vectors(a, part):
            yield FileTensor(f"{prefix}{name}", (size,), F32, is_norm=name.endswith("norm.weight"))
        return
    names = _SPLIT.get(part.name, (part.name,))
    copies = part.copies // len(names)
    shape: Shape = (part.rows, part.cols) if part.name not in _STACKED else (copies, part.rows, part.cols)
    for name in names:
        yield FileTensor(f"{prefix}{name}.weight", shape, kind)


def _vectors(a: Architecture, part: Tensor) -> list[tuple[str, int]]:
    """Our record holds all vectors of a layer together; a file names each."""
    wide, narrow = a.n_heads * a.head_dim, a.n_kv_heads * a.head_dim
    split = {
        "norms": [("attn_norm.weight", a.hidden_size), ("ffn_norm.weight", a.hidden_size)],
        "attn_qkv_bias": [("attn_q.bias", wide), ("attn_k.bias", narrow), ("attn_v.bias", narrow)],
        "qk_norm": [("attn_q_norm.weight", a.head_dim), ("attn_k_norm.weight", a.head_dim)],
        "exp_probs_b": [("exp_probs_b.bias", part.cols)],
    }
    return split.get(part.name, [(f"{part.name}.weight", part.cols)])


def _sparse_name(a: Architecture) -> str:
    if a.qk_norm and not a.qkv_bias and not a.n_shared_experts and not a.first_k_dense_replace:
        return "qwen3moe"
    if a.n_shared_experts and not a.qk_norm and not a.qkv_bias and not a.router_bias:
        return "deepseek"
    raise UnsupportedError("no synthetic GGUF of this arrangement of experts")


def _head_fields(a: Architecture) -> dict[str, int | float | bool]:
    return {
        "attention.head_count_kv": a.n_kv_heads,
        "attention.key_length": a.head_dim,
        "attention.value_length": a.head_dim,
        "rope.dimension_count": a.head_dim,
    }


def _latent_fields(a: Architecture) -> dict[str, int | float | bool]:
    """The latent is one key and value head for llama.cpp; `_mla` lengths are those of the expanded heads."""
    latent, rope = a.kv_lora_rank or 0, a.qk_rope_head_dim or 0
    fields: dict[str, int | float | bool] = {
        "attention.head_count_kv": 1,
        "attention.kv_lora_rank": latent,
        "attention.key_length": latent + rope,
        "attention.value_length": latent,
        "attention.key_length_mla": (a.qk_nope_head_dim or 0) + rope,
        "attention.value_length_mla": a.v_head_dim or 0,
        "rope.dimension_count": rope,
    }
    return fields | ({"attention.q_lora_rank": a.q_lora_rank} if a.q_lora_rank else {})


def _expert_fields(a: Architecture, name: str) -> dict[str, int | float | bool]:
    fields: dict[str, int | float | bool] = {
        "expert_count": a.n_routed_experts,
        "expert_used_count": a.experts_per_tok,
        "expert_feed_forward_length": a.moe_intermediate_size or 0,
    }
    if name == "qwen3moe":
        return fields
    return fields | {
        "expert_shared_count": a.n_shared_experts,
        "leading_dense_block_count": a.first_k_dense_replace,
        "expert_weights_scale": 1.0,
        "expert_weights_norm": a.router_bias,
        "expert_gating_func": SIGMOID_ROUTING if a.router_bias else 1,
    }
