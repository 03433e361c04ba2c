"""Storage type of every tensor of a GGUF file: llama.cpp's per-tensor rules and fall-backs.

Own restatement of the rules of ggml-org/llama.cpp `src/llama-quant.cpp` (007dbbf); the mixes themselves are data
(data/formats/gguf.yaml). Norms, biases and routers stay F32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache

from advisor.catalog.formats import GgufMix, StorageType, TensorRole
from advisor.catalog.records import Architecture, AttentionKind
from advisor.sizing.tensors_common import Tensor, need

__all__ = ["MlaLayout", "gguf_bytes", "gguf_matrices", "gguf_storage"]


class MlaLayout(StrEnum):
    """How a file stores the up-projection of the latent; changed in llama.cpp in April 2025."""

    SPLIT = "split"  # k_b (transposed per head) and v_b: current
    JOINT = "joint"  # kv_b as in the checkpoint: before April 2025
    BOTH = "both"  # kv_b and its halves: ik_llama.cpp


F32 = StorageType("f32", 1, 4)
F16 = StorageType("f16", 1, 2)
Q4_0 = StorageType("q4_0", 32, 18)
Q5_0 = StorageType("q5_0", 32, 22)
Q5_1 = StorageType("q5_1", 32, 24)
Q8_0 = StorageType("q8_0", 32, 34)
Q4_K = StorageType("q4_k", 256, 144)
Q5_K = StorageType("q5_k", 256, 176)
Q6_K = StorageType("q6_k", 256, 210)

_UNQUANTISED = frozenset(
    {
        TensorRole.NORM,
        TensorRole.ATTN_BIAS,
        TensorRole.ROUTER,
        TensorRole.HYPER_CONNECTION,
        TensorRole.HASH_TABLE,
        TensorRole.COMPRESSOR,
    }
)
_RULE_NAMES = {
    TensorRole.ATTN_Q: "attn_q",
    TensorRole.ATTN_K: "attn_k",
    TensorRole.ATTN_V: "attn_v",
    TensorRole.ATTN_O: "attn_output",
    TensorRole.KV_B: "attn_kv_b",
    TensorRole.FFN_DOWN: "ffn_down",
    TensorRole.SHARED_DOWN: "ffn_down",
    TensorRole.EXPERT_DOWN: "ffn_down",
    TensorRole.FFN_UP: "ffn_up",
    TensorRole.SHARED_UP: "ffn_up",
    TensorRole.EXPERT_UP: "ffn_up",
}

_EXPERT_NAMES = {TensorRole.EXPERT_UP: "exps_up", TensorRole.EXPERT_DOWN: "exps_down"}  # where a mix tells them apart


def gguf_bytes(a: Architecture, mix: GgufMix, tensor: Tensor, *, layout: MlaLayout, imatrix: bool) -> int:
    """Bytes of all matrices of `tensor` in a file of this mix."""
    if tensor.role is TensorRole.HASH_TABLE:
        return 4 * tensor.params
    return sum(
        _fitting(kind, part.cols).matrix_bytes(part.rows, part.cols) * part.copies * n
        for part in _as_stored(a, tensor, layout)
        for kind, n in gguf_storage(a, mix, part, imatrix=imatrix)
    )


@lru_cache(maxsize=4096)
def gguf_storage(
    a: Architecture, mix: GgufMix, tensor: Tensor, *, imatrix: bool
) -> tuple[tuple[StorageType, int], ...]:
    """(type, number of layers that use it), before the fall-back for rows that do not fill a block."""
    layers = tensor.layers or (0,)
    if not _rules(a, mix, tensor):  # the same in every layer: asked once
        return ((_type(a, mix, tensor, layers[0], imatrix), len(layers)),)
    return tuple(Counter(_type(a, mix, tensor, layer, imatrix) for layer in layers).items())


def gguf_matrices(
    a: Architecture, mix: GgufMix, tensor: Tensor, *, layout: MlaLayout, imatrix: bool
) -> Iterator[tuple[Tensor, int | None, StorageType]]:
    """What a file stores of `tensor`, layer by layer: (shape, layer or None outside the layers, type)."""
    for part in _as_stored(a, tensor, layout):
        for layer in part.layers or (None,):
            yield part, layer, _fitting(_type(a, mix, part, layer or 0, imatrix), part.cols)


def _type(a: Architecture, mix: GgufMix, tensor: Tensor, layer: int, imatrix: bool) -> StorageType:
    if tensor.role in _UNQUANTISED or tensor.rows == 1:
        return F32
    if tensor.role is TensorRole.HEAD or (a.tie_word_embeddings and tensor.role is TensorRole.EMBEDDING):
        return _output_type(mix, tensor.cols)
    if tensor.role is TensorRole.EMBEDDING:
        return mix.token_embd or mix.base
    if mix.experts is not None and tensor.role in (TensorRole.EXPERT_UP, TensorRole.EXPERT_DOWN):
        return mix.experts
    return mix.base if mix.pure or not mix.rules else _layer_type(a, mix, tensor, layer, imatrix)


def _output_type(mix: GgufMix, cols: int) -> StorageType:
    if mix.pure or mix.base.block_elements == 1 or mix.base.id == "q8_0":
        return mix.output or mix.base
    if cols % mix.base.block_elements:
        return Q8_0
    return mix.output or Q6_K


def _layer_type(a: Architecture, mix: GgufMix, tensor: Tensor, layer: int, imatrix: bool) -> StorageType:
    name = _rule_name(a, tensor)
    smallest = mix.base.id.startswith(("iq1", "iq2"))  # these file types have a branch of their own
    if name == "attn_k" and a.n_routed_experts == 8:
        return Q4_K if smallest else Q8_0
    kind = mix.base
    for candidate, condition in _rules(a, mix, tensor):
        if _holds(condition, a, layer, imatrix):
            kind = candidate
            break
    return _attn_v_exceptions(a, kind) if name == "attn_v" and not smallest else kind


def _rule_name(a: Architecture, tensor: Tensor) -> str:
    name = _RULE_NAMES.get(tensor.role, "")
    return "attn_qkv" if a.fused_qkv and name in ("attn_q", "attn_k", "attn_v") else name


def _rules(a: Architecture, mix: GgufMix, tensor: Tensor) -> tuple[tuple[StorageType, str], ...]:
    name = _rule_name(a, tensor)
    return mix.rules.get(_EXPERT_NAMES.get(tensor.role, name), mix.rules.get(name, ()))


def _attn_v_exceptions(a: Architecture, kind: StorageType) -> StorageType:
    """A 70B model's value matrix is small beside its use, and 8-expert models afford 8 bit."""
    if a.n_routed_experts == 8:
        return Q8_0
    if a.num_layers == 80 and a.n_heads == 8 * a.n_kv_heads and kind.id in ("q3_k", "q4_k"):
        return Q5_K
    return kind


def _holds(condition: str, a: Architecture, i: int, imatrix: bool) -> bool:
    n = a.num_layers
    grouped = a.n_heads >= 4 * a.n_kv_heads
    more_bits = i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2
    facts = {
        "always": True,
        "more_bits": more_bits,
        "first_8th": i < n // 8,
        "first_16th": i < n // 16,
        "first_2": i < 2,
        "first_4": i < 4,
        "middle": n // 8 <= i < 7 * n // 8,
        "gqa4": grouped or a.n_routed_experts >= 4,
        "gqa4_strict": grouped,
        "no_imatrix": not imatrix,
        "8_experts": a.n_routed_experts == 8,
        "not_8_experts": a.n_routed_experts != 8,
        "8_experts_more_bits": a.n_routed_experts == 8 and more_bits,
        "imatrix_first_8th": imatrix and i < n // 8,
        "no_imatrix_first_8th": not imatrix and i < n // 8,
        "moe": a.is_moe,
        "dense": not a.is_moe,
        "moe_first_8th": a.is_moe and i < n // 8,
        "dense_more_bits": not a.is_moe and more_bits,
        "uneven_more_bits": a.is_moe and (a.moe_intermediate_size or 0) % 256 != 0 and more_bits,
    }
    return facts[condition]


def _fitting(kind: StorageType, cols: int) -> StorageType:
    """The type itself, or what llama.cpp falls back to when a row does not fill whole blocks."""
    if cols % kind.block_elements == 0:
        return kind
    if cols % 32:
        return F16
    if kind.id == "q4_k":
        return Q5_0
    if kind.id == "q5_k":
        return Q5_1
    return Q8_0 if kind.id == "q6_k" else Q4_0


def _as_stored(a: Architecture, tensor: Tensor, layout: MlaLayout) -> Iterator[Tensor]:
    """The latent's up-projection as one matrix, as two per head, or as both."""
    if tensor.role is not TensorRole.KV_B or a.attention not in (AttentionKind.MLA, AttentionKind.MLA_DSA):
        yield tensor
        return
    if layout is not MlaLayout.SPLIT:
        yield tensor
    if layout is not MlaLayout.JOINT:
        nope, v = need(a.qk_nope_head_dim, "qk_nope_head_dim"), need(a.v_head_dim, "v_head_dim")
        yield replace(tensor, name="attn_k_b", role=TensorRole.Q_B, rows=tensor.cols, cols=nope, copies=a.n_heads)
        yield replace(tensor, name="attn_v_b", role=TensorRole.Q_B, rows=v, copies=a.n_heads)
