"""Bytes that a probe will take, from the exact tensors of the architecture: asked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.catalog.errors import InputError
from advisor.catalog.formats import TensorRole as R
from advisor.catalog.records import Architecture, AttentionKind
from advisor.sizing.tensors import main_tensors
from advisor.sizing.tensors_common import Tensor
from probes.cpu import available_bytes
from probes.engines.block import BLOCK_ELEMENTS
from probes.engines.precision import INT4_GROUP, FormatPrecision, Precision, precision_of
from probes.layers import LayerCount, deepest_of, layer_count, layer_numbers, slices_of
from probes.spec import Kind, ProbeSpec
from probes.traffic import longest_of

__all__ = ["DEFAULT_DEPTHS", "MARGIN", "Need", "memory_limit", "need_of", "refusal"]

MARGIN = 1.15
DEFAULT_DEPTHS = (1, 4, 8)  # of a slice; see `probes.slice_depths` for less memory
LEFT_FREE_BYTES = 2**30  # what the rest of the machine keeps
RUNTIME_BYTES = 400 * 2**20  # torch 2.13 on CPU after imports, with oneDNN's scratch; measured
CUDA_RUNTIME_BYTES = 1150 * 2**20  # on an H100, driver 580, torch 2.11: 480 MiB are the context; measured 2026-11-26
ATTENTION_ROLES = frozenset({R.ATTN_Q, R.ATTN_K, R.ATTN_V, R.ATTN_O, R.Q_A, R.Q_B, R.KV_A, R.O_A, R.O_B})
FEED_FORWARD_ROLES = frozenset({R.FFN_UP, R.FFN_DOWN, R.SHARED_UP, R.SHARED_DOWN, R.EXPERT_UP, R.EXPERT_DOWN})
EXPERT_ROLES = frozenset({R.EXPERT_UP, R.EXPERT_DOWN})


@dataclass(frozen=True, slots=True)
class Need:
    """Where the memory of a probe goes."""

    tensor_bytes: int
    cache_bytes: int
    activation_bytes: int
    runtime_bytes: int = RUNTIME_BYTES  # with CUDA's context and kernels, where a card computes
    scratch_bytes: int = 0  # weights expanded for products of many rows, and their rows in that type
    read_bytes: int = 0  # by one decode step of one sequence

    @property
    def total_bytes(self) -> int:
        return self.tensor_bytes + self.cache_bytes + self.activation_bytes + self.scratch_bytes + self.runtime_bytes


def need_of(spec: ProbeSpec, *, whole: bool = False) -> Need:
    """Of what the probe loads: for a slice its layers and resident experts, unless the `whole` variant is asked for."""
    if spec.architecture is None:
        raise InputError("architecture", "dimensions of the variant", None)
    a, formats = spec.architecture, precision_of(spec.format_id)
    count = layer_count(a) if whole else _loaded(spec, a)
    resident = None if whole else spec.resident_experts
    layers = frozenset(layer_numbers(a, count))
    sizes = [(tensor, _bytes(tensor, a, formats, layers, resident)) for tensor in main_tensors(a)]
    tensors = sum(size for _, size in sizes)
    embedding = sum(size for tensor, size in sizes if tensor.role is R.EMBEDDING and not a.tie_word_embeddings)
    read = sum(round(size * _active_share(tensor, a, resident)) for tensor, size in sizes) - embedding
    element, depth = formats.activation.bits // 8, count.dense + count.moe
    slots = spec.batch if spec.load is None else max(spec.batch, spec.load.slots)
    slots = max(slots, *spec.sweep_values) if spec.sweep_axis == "batch" else slots
    cache = slots * _longest(spec, spec.context_tokens) * _cache_width(a) * element * depth
    per_token = max(spec.prompt_tokens) * _cache_width(a) * element * depth
    longest = _longest(spec, spec.longest_prompt)
    scratch = _scratch(a, formats, longest) if spec.device == "cpu" else 0
    activations = _activations(a, longest, element)
    runtime = CUDA_RUNTIME_BYTES if spec.device.startswith("cuda") else RUNTIME_BYTES
    return Need(tensors, cache, activations, runtime, scratch, read + per_token)


def _longest(spec: ProbeSpec, tokens: int) -> int:
    """Of a load the longest request, where `tokens` is the mean."""
    return tokens if spec.load is None else longest_of(tokens)


def memory_limit(available: int | None = None) -> int:
    """What a probe may take now."""
    free = available_bytes() if available is None else available
    return max(0, free - LEFT_FREE_BYTES)


def refusal(need: Need, available: int) -> tuple[int, int] | None:
    """(bytes needed with margin, bytes that may be taken) when the probe would not fit."""
    wanted, allowed = int(need.total_bytes * MARGIN), memory_limit(available)
    return (wanted, allowed) if wanted > allowed else None


def _loaded(spec: ProbeSpec, a: Architecture) -> LayerCount:
    if spec.kind is not Kind.SLICE:
        return layer_count(a)
    return deepest_of(slices_of(a, spec.slice_layers or DEFAULT_DEPTHS))


def _bytes(t: Tensor, a: Architecture, formats: FormatPrecision, layers: frozenset[int], resident: int | None) -> int:
    """In memory; `layers`: those that are loaded."""
    share = len(layers.intersection(t.layers)) / len(t.layers) if t.layers else 1.0
    if t.role in EXPERT_ROLES and resident is not None:
        share *= min(1.0, max(resident, a.experts_per_tok) / a.n_routed_experts)
    precision = _precision(t.role, formats)
    return round(share * t.matrices * (t.rows * t.cols * precision.bits // 8 + _scale_bytes(t, precision)))


def _active_share(t: Tensor, a: Architecture, resident: int | None) -> float:
    """Share of a tensor that one token uses."""
    if t.role not in EXPERT_ROLES:
        return 1.0
    return a.experts_per_tok / max(a.experts_per_tok, resident or a.n_routed_experts)


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
    return t.rows * 4 if precision in (Precision.INT8_A8, Precision.INT8_A16) else 0


def _cache_width(a: Architecture) -> int:
    """Elements per token and layer."""
    if a.attention is AttentionKind.GQA:
        return 2 * a.n_kv_heads * a.head_dim
    if a.compression is not None:  # an entry and an index key for every fourth token, at most
        return -(-(a.head_dim + (a.indexer.head_dim if a.indexer else 0)) // 4)
    return (a.kv_lora_rank or 0) + (a.qk_rope_head_dim or 0) + (a.indexer.head_dim if a.indexer else 0)


def _scratch(a: Architecture, formats: FormatPrecision, tokens: int) -> int:
    """The largest that any matrix needs, by the layout of `probes.engines.expanded`: a block of weights as float32, the
    rows and the block's outputs in the same type. 8-bit products with 8-bit activations pack a copy of the matrix.
    """
    found = [0]
    for t in main_tensors(a):
        precision = _precision(t.role, formats)
        if t.role is R.EMBEDDING or t.cols < 2 or (precision is Precision.FP32):
            continue
        rows = 1 if t.role is R.HEAD else tokens
        outputs = min(t.rows, max(64, BLOCK_ELEMENTS // t.cols))
        expanded = 4 * (outputs * t.cols + rows * (t.cols + outputs))
        packed = t.rows * t.cols + rows * (t.cols + 4 * t.rows) if precision is Precision.INT8_A8 else 0
        found.append(max(expanded, packed) if rows > 1 else packed)
    return max(found)


def _activations(a: Architecture, tokens: int, element: int) -> int:
    """Peak of one layer's intermediate tensors in prefill, and the logits."""
    wide = max(a.intermediate_size or 0, (a.moe_intermediate_size or 0) * max(1, a.experts_per_tok))
    heads = a.n_heads * ((a.qk_nope_head_dim or 0) + (a.qk_rope_head_dim or 0) or a.head_dim)
    return tokens * element * (4 * wide + 4 * heads + 6 * a.hidden_size) + a.vocab_size * 8
