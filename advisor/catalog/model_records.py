"""Frozen records of models: what a `config.json` says, and the checkpoints released with it.

Units are in the names; `None` means unknown, never zero and never interpolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from advisor.catalog.frozen import FrozenDict

__all__ = [
    "Architecture",
    "AttentionKind",
    "Compression",
    "Confidence",
    "Drafter",
    "Engram",
    "HyperConnections",
    "Indexer",
    "LinearAttention",
    "Role",
    "Variant",
    "VisionTower",
]


class AttentionKind(StrEnum):
    """How keys and values are kept; decides the cache rules."""

    GQA = "gqa"  # also MHA and MQA: n_kv_heads says which
    MLA = "mla"  # one latent per token and layer, shared by all heads
    MLA_DSA = "mla-dsa"  # MLA with a lightning indexer (V3.2)
    CSA_HCA = "csa-hca"  # V4: compressed entries at two ratios plus a sliding window
    CSA_SHARED = "csa-shared"  # V4.1: compressed entries produced by a few layers and shared


class Role(StrEnum):
    """What a variant is to an adviser."""

    FULL = "full"
    DISTILLED = "distilled"
    BASE = "base"  # pre-trained only: sized, never recommended
    SUPERSEDED = "superseded"  # an older release of the same model: sized, recommended only by name
    REFERENCE = "reference"  # not DeepSeek: for validation and comparison
    USER = "user"  # from a user's overlay or a dropped-in config.json


class Confidence(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Indexer:
    """Lightning indexer of DSA and CSA."""

    n_heads: int
    head_dim: int
    top_k: int


@dataclass(frozen=True, slots=True)
class Compression:
    """Compressed cache entries of V4 and V4.1, by layer.

    `ratios[i]` tokens make one entry in layer i (0: sliding window only). `kv_source_layers`: the layers
    that produce and store entries (empty: every layer with a ratio does). `index_source_layers` likewise.
    """

    ratios: tuple[int, ...]
    kv_source_layers: tuple[int, ...] = ()
    index_source_layers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Engram:
    """Lookup tables of V4.1: may live in host memory or on disk."""

    layers: tuple[int, ...]
    rows: tuple[int, ...]
    row_dim: int


@dataclass(frozen=True, slots=True)
class HyperConnections:
    mult: int
    sinkhorn_iters: int


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """Layers with a recurrent state instead of a cache (reference architectures only)."""

    n_layers: int
    state_bytes_per_sequence: int
    params_per_layer: int


@dataclass(frozen=True, slots=True)
class VisionTower:
    params: int


@dataclass(frozen=True, slots=True)
class Drafter:
    """DSpark: a small stack that drafts blocks of tokens, stored beside the model."""

    stages: int
    n_experts: int
    top_k: int
    markov_rank: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """Dimensions of a transformer, as in its `config.json`.

    `n_kv_heads` of an MLA model repeats `n_heads` and must not enter any cache formula.
    `mlp_matrices`: 3 for gated feed-forward, 2 for the plain one. `moe_layer_interval`: every n-th layer
    after `first_k_dense_replace` is MoE. `n_global_layers`: layers with full attention where the others use
    `sliding_window`; `global_*` override the head geometry of those layers.
    """

    attention: AttentionKind
    hidden_size: int
    num_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    intermediate_size: int | None = None
    moe_intermediate_size: int | None = None
    n_routed_experts: int = 0
    n_shared_experts: int = 0
    experts_per_tok: int = 0
    first_k_dense_replace: int = 0
    moe_layer_interval: int = 1
    q_lora_rank: int | None = None
    kv_lora_rank: int | None = None
    qk_nope_head_dim: int | None = None
    qk_rope_head_dim: int | None = None
    v_head_dim: int | None = None
    tie_word_embeddings: bool = False
    max_position_embeddings: int | None = None
    published_context: int | None = None
    sliding_window: int | None = None
    n_global_layers: int | None = None
    global_head_dim: int | None = None
    global_n_kv_heads: int | None = None
    linear_attention: LinearAttention | None = None
    qkv_bias: bool = False
    qk_norm: bool = False
    mlp_matrices: int = 3
    mtp_layers: int = 0
    indexer: Indexer | None = None
    compression: Compression | None = None
    o_lora_rank: int | None = None
    o_groups: int | None = None
    n_hash_layers: int = 0
    engram: Engram | None = None
    hyper_connections: HyperConnections | None = None
    vision: VisionTower | None = None
    drafter: Drafter | None = None
    encoder_layers: int | None = None  # V4.1: prefill runs only the first so many layers
    norms_per_layer: int = 2  # vectors of hidden_size in each layer (Gemma: 4 or more)
    router_bias: bool = False  # correction bias per expert (DeepSeek-V3 and its descendants)
    qk_norm_full: bool = False  # query and key norms span all heads (MiniMax)
    attention_sinks: bool = False  # one learned logit per head (gpt-oss)
    o_bias: bool = False
    mlp_bias: bool = False  # biases in feed-forward matrices, experts and router
    norm_bias: bool = False  # LayerNorm with bias (GPT-J); counts in norms_per_layer except for the last norm
    head_bias: bool = False
    attention_output_gate: bool = False  # query projection is twice as wide (Qwen3-Next and later)
    shared_expert_gate: bool = False  # one scalar gate per shared expert
    shared_intermediate_size: int | None = None  # width of all shared experts together, where not n_shared x moe width
    fused_qkv: bool = False  # one matrix for queries, keys and values in GGUF files
    global_kv_shared: bool = False  # layers with full attention use one matrix for keys and values

    @property
    def is_moe(self) -> bool:
        return self.n_routed_experts > 0

    @property
    def kind(self) -> str:
        """What decides which kernels run: the attention, and whether there are experts."""
        return f"{self.attention}-{'moe' if self.is_moe else 'dense'}"

    @property
    def n_moe_layers(self) -> int:
        if not self.is_moe:
            return 0
        return len(range(self.first_k_dense_replace, self.num_layers, self.moe_layer_interval))

    @property
    def max_context_tokens(self) -> int | None:
        """The published context where known, else the positional ceiling."""
        return self.published_context or self.max_position_embeddings


@dataclass(frozen=True, slots=True)
class Variant:
    """A released checkpoint. Several variants may share one `architecture` object."""

    id: str
    name: str
    family: str  # e.g. "DeepSeek R1 distill"
    model_id: str  # the catalogue model it belongs to; `id == model_id` for its main checkpoint
    architecture: Architecture
    role: Role
    native_format: str  # a Format id: how the publisher stores it
    always_reasons: bool  # emits a long chain of thought whatever the prompt
    hf_repo: str | None = None
    release_date: str | None = None
    base_model: str | None = None
    licence: str = ""
    commercial_use: bool = True
    modality: str = "text"
    aliases: tuple[str, ...] = ()
    published: Mapping[str, float] = field(default_factory=FrozenDict)  # total_params, file_bytes…: checked, never used
    min_engine_version: Mapping[str, str] = field(default_factory=FrozenDict)
    notes: str = ""
    source: tuple[str, ...] = ()
    confidence: Confidence = Confidence.MEDIUM
