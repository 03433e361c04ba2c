"""Sums over a model's tensors that the step model needs, computed once per (architecture, format).

`Group` splits the tensors by how a step uses them. All figures are for ONE whole replica, before sharding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.formats import Format, TensorRole
from advisor.catalog.frozen import FrozenDict
from advisor.catalog.records import Architecture
from advisor.sizing.attention_flops import attention_flops
from advisor.sizing.cache import CacheRule, Number, cache_rule, default_kv_format
from advisor.sizing.tensors import active_params, kept_outside_total, main_tensors
from advisor.sizing.tensors_common import Tensor
from advisor.sizing.weights import TensorBytes, weights

__all__ = [
    "REPLICATED_ROLES",
    "Group",
    "GroupSum",
    "ModelProfile",
    "ProfileArrays",
    "gather",
    "group_of",
    "profile",
]


class Group(StrEnum):
    ATTENTION = "attention"  # projections, norms, indexer, compressor, linear attention
    DENSE_FFN = "dense_ffn"
    SHARED_EXPERT = "shared_expert"
    ROUTER = "router"
    ROUTED_EXPERT = "routed_expert"
    HEAD = "head"
    EMBEDDING = "embedding"  # a row lookup: its bytes count for memory, not for a step
    OTHER = "other"  # hyper-connections, Engram, vision, MTP


@dataclass(frozen=True, slots=True)
class GroupSum:
    """Totals of one group. `active_params`: touched by one token (k of E experts); FLOP per token = 2 · active."""

    params: int
    active_params: int
    bytes: int
    replicated_bytes: int  # held in full by every tensor-parallel rank


@dataclass(frozen=True, slots=True)
class ModelProfile:
    architecture: Architecture
    format: Format
    total_params: int  # without MTP unless asked for
    active_params: int  # per decoded token, without the input embedding (a tied embedding counts as the head)
    prefill_active_params: int  # V4.1 prefills with its encoder layers only; else == active_params
    file_bytes: int
    groups: Mapping[Group, GroupSum]
    expert_bytes: int  # one routed expert of one layer
    expert_params: int
    cache: CacheRule  # in the default cache format
    decode_attention_flops: float  # per query token and context token up to cache.cap_tokens, all layers (MLA absorbed)
    prefill_attention_flops: float  # the same with MLA expanded
    window_attention_flops: float  # per query token and token in the window, layers with a sliding window
    indexer_flops: float  # per query token and context token without cap: indexer scores, V4's dense entries

    def numbers(self) -> ProfileArrays:
        """The same as plain floats, for the formulas."""
        return ProfileArrays(**{name: read(self) for name, read in _COLUMNS.items()})


@dataclass(frozen=True, slots=True)
class ProfileArrays:
    """A ModelProfile flattened to numbers: scalars for one plan, arrays of shape (plans,) for a grid."""

    total_params: Number
    active_params: Number
    prefill_active_params: Number
    file_bytes: Number
    n_layers: Number
    n_moe_layers: Number
    hidden_size: Number
    vocab_size: Number
    n_heads: Number
    n_kv_heads: Number  # 1 for MLA and V4: what tensor parallelism can split
    n_experts: Number  # 0: dense
    experts_per_tok: Number
    attention_params: Number
    attention_bytes: Number
    attention_replicated_bytes: Number
    dense_ffn_params: Number
    dense_ffn_bytes: Number
    shared_expert_params: Number
    shared_expert_bytes: Number
    router_params: Number
    router_bytes: Number
    routed_expert_params: Number
    routed_expert_active_params: Number
    routed_expert_bytes: Number
    expert_bytes: Number
    expert_params: Number
    head_params: Number
    head_bytes: Number
    embedding_params: Number
    embedding_bytes: Number
    other_params: Number
    other_active_params: Number
    other_bytes: Number
    other_replicated_bytes: Number
    decode_attention_flops: Number
    prefill_attention_flops: Number
    window_attention_flops: Number
    indexer_flops: Number


def profile(architecture: Architecture, model_format: Format, *, include_mtp: bool = False) -> ModelProfile:
    """Sums by group; cached per pair."""
    return _profile(architecture, model_format, include_mtp)


def gather(profiles: Sequence[ModelProfile], index: NDArray[np.intp]) -> ProfileArrays:
    """Arrays of shape index.shape: row i holds the numbers of profiles[index[i]]."""
    rows = [p.numbers() for p in profiles]
    return ProfileArrays(**{n: np.array([getattr(r, n) for r in rows], dtype=float)[index] for n in _COLUMNS})


def group_of(a: Architecture, tensor: Tensor) -> Group:
    """The group of a tensor; layers beyond the main stack belong to the drafter."""
    if tensor.layers and tensor.layers[0] >= a.num_layers:
        return Group.OTHER
    if tensor.role is TensorRole.EMBEDDING and a.tie_word_embeddings:
        return Group.HEAD
    if tensor.role is TensorRole.NORM:
        return next((g for prefix, g in _VECTORS.items() if tensor.name.startswith(prefix)), Group.ATTENTION)
    return _ROLES.get(tensor.role, Group.ATTENTION)


REPLICATED_ROLES = frozenset(
    {
        TensorRole.NORM,
        TensorRole.Q_A,
        TensorRole.KV_A,
        TensorRole.ROUTER,
        TensorRole.INDEXER,
        TensorRole.COMPRESSOR,
        TensorRole.HYPER_CONNECTION,
        TensorRole.HASH_TABLE,
        TensorRole.VISION,
    }
)
_ROLES = {
    TensorRole.EMBEDDING: Group.EMBEDDING,
    TensorRole.HEAD: Group.HEAD,
    TensorRole.FFN_UP: Group.DENSE_FFN,
    TensorRole.FFN_DOWN: Group.DENSE_FFN,
    TensorRole.SHARED_UP: Group.SHARED_EXPERT,
    TensorRole.SHARED_DOWN: Group.SHARED_EXPERT,
    TensorRole.ROUTER: Group.ROUTER,
    TensorRole.HASH_TABLE: Group.ROUTER,
    TensorRole.EXPERT_UP: Group.ROUTED_EXPERT,
    TensorRole.EXPERT_DOWN: Group.ROUTED_EXPERT,
    TensorRole.HYPER_CONNECTION: Group.OTHER,
    TensorRole.ENGRAM_TABLE: Group.OTHER,
    TensorRole.ENGRAM: Group.OTHER,
    TensorRole.VISION: Group.OTHER,
    TensorRole.MTP: Group.OTHER,
}
_VECTORS = {
    "output": Group.HEAD,
    "exp_probs_b": Group.ROUTER,
    "router_bias": Group.ROUTER,
    "ffn_exps_bias": Group.ROUTED_EXPERT,
    "ffn_bias": Group.DENSE_FFN,
    "shexp_gate": Group.SHARED_EXPERT,
    "hc_vectors": Group.OTHER,
    "engram_norms": Group.OTHER,
    "mtp_norms": Group.OTHER,
}


@lru_cache(maxsize=4096)
def _profile(a: Architecture, f: Format, include_mtp: bool) -> ModelProfile:
    w = weights(a, f, include_mtp=include_mtp)
    groups = {group: _sum(a, w.tensors, group) for group in Group}
    experts = groups[Group.ROUTED_EXPERT]
    one = max(a.n_routed_experts * a.n_moe_layers, 1)
    decode, prefill, window, scanned = attention_flops(a)
    return ModelProfile(
        architecture=a,
        format=f,
        total_params=w.total_params,
        active_params=active_params(a),
        prefill_active_params=_prefill_active(a),
        file_bytes=w.total_bytes,
        groups=FrozenDict(groups),
        expert_bytes=experts.bytes // one,
        expert_params=experts.params // one,
        cache=cache_rule(a, default_kv_format(a)),
        decode_attention_flops=decode,
        prefill_attention_flops=prefill,
        window_attention_flops=window,
        indexer_flops=scanned,
    )


def _sum(a: Architecture, rows: Sequence[TensorBytes], group: Group) -> GroupSum:
    mine = [row for row in rows if group_of(a, row.tensor) is group]
    counted = [row.tensor for row in mine if not kept_outside_total(row.tensor)]
    drafting = group is Group.OTHER
    return GroupSum(
        params=sum(t.params for t in counted),
        active_params=sum(
            t.active_params for t in counted if not (drafting and (t.role is TensorRole.MTP or _drafts(a, t)))
        ),
        bytes=sum(row.bytes for row in mine),
        replicated_bytes=sum(row.bytes for row in mine if row.tensor.role in REPLICATED_ROLES),
    )


def _drafts(a: Architecture, tensor: Tensor) -> bool:
    return tensor.name == "mtp_norms" or (bool(tensor.layers) and tensor.layers[0] >= a.num_layers)


def _prefill_active(a: Architecture) -> int:
    """V4.1: the encoder layers, with all Engram layers and the compressors that feed them; no head."""
    if a.encoder_layers is None:
        return active_params(a)
    total = 0
    for t in main_tensors(a):
        if kept_outside_total(t) or not t.layers:
            continue
        inside = sum(1 for layer in t.layers if layer < a.encoder_layers)
        total += t.active_params * inside // len(t.layers)
    return total


def _group(group: Group, field: str) -> Callable[[ModelProfile], float]:
    return lambda p: float(getattr(p.groups[group], field))


def _dim(name: str) -> Callable[[ModelProfile], float]:
    return lambda p: float(getattr(p.architecture, name))


def _own(name: str) -> Callable[[ModelProfile], float]:
    return lambda p: float(getattr(p, name))


_COLUMNS: Mapping[str, Callable[[ModelProfile], float]] = {
    **{n: _own(n) for n in ("total_params", "active_params", "prefill_active_params", "file_bytes")},
    "n_layers": _dim("num_layers"),
    "n_moe_layers": _dim("n_moe_layers"),
    "hidden_size": _dim("hidden_size"),
    "vocab_size": _dim("vocab_size"),
    "n_heads": _dim("n_heads"),
    "n_kv_heads": lambda p: float(p.cache.shards),
    "n_experts": _dim("n_routed_experts"),
    "experts_per_tok": _dim("experts_per_tok"),
    "attention_params": _group(Group.ATTENTION, "params"),
    "attention_bytes": _group(Group.ATTENTION, "bytes"),
    "attention_replicated_bytes": _group(Group.ATTENTION, "replicated_bytes"),
    "dense_ffn_params": _group(Group.DENSE_FFN, "params"),
    "dense_ffn_bytes": _group(Group.DENSE_FFN, "bytes"),
    "shared_expert_params": _group(Group.SHARED_EXPERT, "params"),
    "shared_expert_bytes": _group(Group.SHARED_EXPERT, "bytes"),
    "router_params": _group(Group.ROUTER, "params"),
    "router_bytes": _group(Group.ROUTER, "bytes"),
    "routed_expert_params": _group(Group.ROUTED_EXPERT, "params"),
    "routed_expert_active_params": _group(Group.ROUTED_EXPERT, "active_params"),
    "routed_expert_bytes": _group(Group.ROUTED_EXPERT, "bytes"),
    "expert_bytes": _own("expert_bytes"),
    "expert_params": _own("expert_params"),
    "head_params": _group(Group.HEAD, "params"),
    "head_bytes": _group(Group.HEAD, "bytes"),
    "embedding_params": _group(Group.EMBEDDING, "params"),
    "embedding_bytes": _group(Group.EMBEDDING, "bytes"),
    "other_params": _group(Group.OTHER, "params"),
    "other_active_params": _group(Group.OTHER, "active_params"),
    "other_bytes": _group(Group.OTHER, "bytes"),
    "other_replicated_bytes": _group(Group.OTHER, "replicated_bytes"),
    "decode_attention_flops": _own("decode_attention_flops"),
    "prefill_attention_flops": _own("prefill_attention_flops"),
    "window_attention_flops": _own("window_attention_flops"),
    "indexer_flops": _own("indexer_flops"),
}
