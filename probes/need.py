"""Bytes that a probe will take, from the exact tensors of the architecture: asked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.catalog.errors import InputError
from advisor.catalog.formats import TensorRole as R
from advisor.catalog.records import Architecture, AttentionKind
from advisor.sizing.tensors import main_tensors
from advisor.sizing.tensors_common import Tensor
from probes.cpu import available_bytes
from probes.engines.precision import INT4_GROUP, FormatPrecision, Precision, precision_of
from probes.spec import ProbeSpec

__all__ = ["MARGIN", "Need", "memory_limit", "need_of", "refusal"]

MARGIN = 1.15
LEFT_FREE_BYTES = 2**30  # what the rest of the machine keeps
RUNTIME_BYTES = 400 * 2**20  # torch 2.13 on CPU after imports, with oneDNN's scratch; measured
ATTENTION_ROLES = frozenset({R.ATTN_Q, R.ATTN_K, R.ATTN_V, R.ATTN_O, R.Q_A, R.Q_B, R.KV_A, R.O_A, R.O_B})
FEED_FORWARD_ROLES = frozenset({R.FFN_UP, R.FFN_DOWN, R.SHARED_UP, R.SHARED_DOWN, R.EXPERT_UP, R.EXPERT_DOWN})
EXPERT_ROLES = frozenset({R.EXPERT_UP, R.EXPERT_DOWN})


@dataclass(frozen=True, slots=True)
class Need:
    """Where the memory of a probe goes."""

    tensor_bytes: int
    cache_bytes: int
    activation_bytes: int
    runtime_bytes: int = RUNTIME_BYTES

    @property
    def total_bytes(self) -> int:
        return self.tensor_bytes + self.cache_bytes + self.activation_bytes + self.runtime_bytes


def need_of(spec: ProbeSpec, layers: int | None = None) -> Need:
    """`layers`: None for all of them; of a slice, its deepest."""
    if spec.architecture is None:
        raise InputError("architecture", "dimensions of the variant", None)
    a, formats = spec.architecture, precision_of(spec.format_id)
    depth = layers or max(spec.slice_layers, default=0) or a.num_layers
    chosen = _chosen_layers(a, depth)
    tensors = sum(_bytes(tensor, a, formats, chosen, spec.resident_experts) for tensor in main_tensors(a))
    element = formats.activation.bits // 8
    slots = spec.batch if spec.load is None else max(spec.batch, spec.load.slots)
    slots = max(slots, *spec.sweep_values) if spec.sweep_axis == "batch" else slots
    cache = slots * spec.context_tokens * _cache_width(a) * element * depth
    return Need(tensors, cache, _activations(a, max(spec.prompt_tokens), element))


def memory_limit(available: int | None = None) -> int:
    """What a probe may take now."""
    free = available_bytes() if available is None else available
    return max(0, free - LEFT_FREE_BYTES)


def refusal(need: Need, available: int) -> tuple[int, int] | None:
    """(bytes needed with margin, bytes that may be taken) when the probe would not fit."""
    wanted, allowed = int(need.total_bytes * MARGIN), memory_limit(available)
    return (wanted, allowed) if wanted > allowed else None


def _chosen_layers(a: Architecture, depth: int) -> int:
    """A slice takes layers of the model in order; MoE models keep `first_k_dense_replace` of them dense."""
    return min(depth, a.num_layers)


def _bytes(t: Tensor, a: Architecture, formats: FormatPrecision, layers: int, resident: int | None) -> int:
    share = 1.0
    if t.layers:
        share = min(len(t.layers), layers) / len(t.layers)
    if t.role in EXPERT_ROLES and resident is not None:
        share *= min(1.0, resident / a.n_routed_experts)
    precision = _precision(t.role, formats)
    return round(share * t.matrices * (t.rows * t.cols * precision.bits // 8 + _scale_bytes(t, precision)))


def _precision(role: R, formats: FormatPrecision) -> Precision:
    if role in ATTENTION_ROLES:
        return formats.attention
    if role in FEED_FORWARD_ROLES:
        return formats.feed_forward
    return formats.head if role is R.HEAD else formats.activation


def _scale_bytes(t: Tensor, precision: Precision) -> int:
    """As this program's own engine stores them."""
    if precision is Precision.INT4_A16:
        return t.rows * (t.cols // INT4_GROUP) * 4
    return {Precision.INT8_A8: 4, Precision.INT8_A16: 2}.get(precision, 0) * t.rows


def _cache_width(a: Architecture) -> int:
    """Elements per token and layer."""
    if a.attention is AttentionKind.GQA:
        return 2 * a.n_kv_heads * a.head_dim
    return (a.kv_lora_rank or 0) + (a.qk_rope_head_dim or 0)


def _activations(a: Architecture, tokens: int, element: int) -> int:
    """Peak of one layer's intermediate tensors in prefill, and the logits."""
    wide = max(a.intermediate_size or 0, (a.moe_intermediate_size or 0) * max(1, a.experts_per_tok))
    heads = a.n_heads * ((a.qk_nope_head_dim or 0) + (a.qk_rope_head_dim or 0) or a.head_dim)
    return tokens * element * (4 * wide + 4 * heads + 6 * a.hidden_size) + a.vocab_size * 8
