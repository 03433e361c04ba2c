"""Sums over a model's tensors that the step model needs, computed once per (architecture, format).

`Group` splits the tensors by how a step uses them. All figures are for ONE whole replica, before sharding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.formats import Format
from advisor.catalog.records import Architecture
from advisor.sizing.cache import CacheRule

__all__ = ["Group", "GroupSum", "ModelProfile", "ProfileArrays", "gather", "profile"]

Number = float | NDArray[np.float64]


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
    """Totals of one group. `active_params`: touched by one token (routed experts: k of E). FLOP per token = 2 · active."""

    params: int
    active_params: int
    bytes: int
    replicated_bytes: int  # held in full by every tensor-parallel rank


@dataclass(frozen=True, slots=True)
class ModelProfile:
    architecture: Architecture
    format: Format
    total_params: int  # without MTP unless asked for
    active_params: int  # per decoded token, without the input embedding (tied embeddings count as head)
    prefill_active_params: int  # differs for V4.1 (encoder layers only); else == active_params
    file_bytes: int
    groups: Mapping[Group, GroupSum]
    expert_bytes: int  # one routed expert of one layer
    expert_params: int
    cache: CacheRule  # in the format's default cache format
    decode_attention_flops: float  # per query token and context token, all layers (MLA absorbed)
    prefill_attention_flops: float  # the same with MLA expanded
    window_attention_flops: float  # per query token and token in the window, layers with a sliding window
    indexer_flops: float  # per query token and context token: scores of DSA/CSA indexers

    def numbers(self) -> ProfileArrays:
        """The same as plain floats, for the formulas."""
        raise NotImplementedError


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
    raise NotImplementedError


def gather(profiles: Sequence[ModelProfile], index: NDArray[np.intp]) -> ProfileArrays:
    """Arrays of shape index.shape: row i holds the numbers of profiles[index[i]]."""
    raise NotImplementedError
