"""How a model is written in `models/*.yaml`: one architecture, one or more released checkpoints."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from advisor.catalog import records
from advisor.catalog.frozen import FrozenDict
from advisor.catalog.records import AttentionKind, Confidence, Role
from advisor.catalog.schema_base import Amount, Count, Schema, Size, Sources, Text

__all__ = ["ArchitectureSchema", "VariantSchema"]

MAX_LAYERS = 2_000
MAX_WIDTH = 2**20
MAX_EXPERTS = 100_000

Layers = Annotated[int, Field(gt=0, le=MAX_LAYERS, strict=True)]
Width = Annotated[int, Field(gt=0, le=MAX_WIDTH, strict=True)]
Experts = Annotated[int, Field(ge=0, le=MAX_EXPERTS, strict=True)]
LayerIndex = Annotated[int, Field(ge=0, lt=MAX_LAYERS, strict=True)]


class _Indexer(Schema):
    RECORD: ClassVar[type] = records.Indexer
    n_heads: Width
    head_dim: Width
    top_k: Size


class _Compression(Schema):
    RECORD: ClassVar[type] = records.Compression
    ratios: tuple[Annotated[int, Field(ge=0, le=MAX_WIDTH, strict=True)], ...]
    kv_source_layers: tuple[LayerIndex, ...] = ()
    index_source_layers: tuple[LayerIndex, ...] = ()


class _Engram(Schema):
    RECORD: ClassVar[type] = records.Engram
    layers: tuple[LayerIndex, ...]
    rows: tuple[Size, ...]
    row_dim: Width

    @model_validator(mode="after")
    def _one_table_per_layer(self) -> _Engram:
        if len(self.layers) != len(self.rows):
            raise ValueError("as many rows as layers")
        return self


class _HyperConnections(Schema):
    RECORD: ClassVar[type] = records.HyperConnections
    mult: Width
    sinkhorn_iters: Count = 0


class _LinearAttention(Schema):
    RECORD: ClassVar[type] = records.LinearAttention
    n_layers: Layers
    state_bytes_per_sequence: Size
    params_per_layer: Size


class _VisionTower(Schema):
    RECORD: ClassVar[type] = records.VisionTower
    params: Size


class _Drafter(Schema):
    RECORD: ClassVar[type] = records.Drafter
    stages: Layers
    n_experts: Experts
    top_k: Experts
    markov_rank: Width


class ArchitectureSchema(Schema):
    RECORD: ClassVar[type] = records.Architecture

    attention: AttentionKind
    hidden_size: Width
    num_layers: Layers
    n_heads: Width
    n_kv_heads: Width
    head_dim: Width
    vocab_size: Size = Field(le=10**8)
    intermediate_size: Width | None = None
    moe_intermediate_size: Width | None = None
    n_routed_experts: Experts = 0
    n_shared_experts: Experts = 0
    experts_per_tok: Experts = 0
    first_k_dense_replace: Experts = 0
    moe_layer_interval: Layers = 1
    q_lora_rank: Width | None = None
    kv_lora_rank: Width | None = None
    qk_nope_head_dim: Width | None = None
    qk_rope_head_dim: Width | None = None
    v_head_dim: Width | None = None
    tie_word_embeddings: bool = False
    max_position_embeddings: Size | None = None
    published_context: Size | None = None
    sliding_window: Size | None = None
    n_global_layers: LayerIndex | None = None
    global_head_dim: Width | None = None
    global_n_kv_heads: Width | None = None
    linear_attention: _LinearAttention | None = None
    qkv_bias: bool = False
    qk_norm: bool = False
    mlp_matrices: Annotated[int, Field(ge=2, le=3, strict=True)] = 3
    mtp_layers: LayerIndex = 0
    indexer: _Indexer | None = None
    compression: _Compression | None = None
    o_lora_rank: Width | None = None
    o_groups: Width | None = None
    n_hash_layers: LayerIndex = 0
    engram: _Engram | None = None
    hyper_connections: _HyperConnections | None = None
    vision: _VisionTower | None = None
    drafter: _Drafter | None = None
    encoder_layers: Layers | None = None
    norms_per_layer: Layers = 2
    router_bias: bool = False
    qk_norm_full: bool = False
    attention_sinks: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    norm_bias: bool = False
    head_bias: bool = False
    attention_output_gate: bool = False
    shared_expert_gate: bool = False
    shared_intermediate_size: Width | None = None
    global_kv_shared: bool = False
    fused_qkv: bool = False

    @model_validator(mode="after")
    def _coherent(self) -> ArchitectureSchema:
        for problem in (self._experts(), self._heads(), self._layers(), self._needed()):
            if problem:
                raise ValueError(problem)
        return self

    def _experts(self) -> str:
        if self.n_routed_experts and not 0 < self.experts_per_tok <= self.n_routed_experts:
            return f"experts_per_tok from 1 to {self.n_routed_experts}"
        if self.n_routed_experts and self.moe_intermediate_size is None:
            return "moe_intermediate_size, since there are routed experts"
        return ""

    def _heads(self) -> str:
        if self.n_kv_heads > self.n_heads or self.n_heads % self.n_kv_heads:
            return f"n_kv_heads that divides n_heads = {self.n_heads}"
        return ""

    def _layers(self) -> str:
        if self.compression and len(self.compression.ratios) != self.num_layers:
            return f"one compression ratio for each of {self.num_layers} layers"
        if self.n_global_layers is not None and self.n_global_layers > self.num_layers:
            return f"n_global_layers up to {self.num_layers}"
        if self.first_k_dense_replace > self.num_layers:
            return f"first_k_dense_replace up to {self.num_layers}"
        return ""

    def _needed(self) -> str:
        latent = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        compressed = ("compression", "indexer", "q_lora_rank", "o_lora_rank", "o_groups", "sliding_window")
        needed = {
            AttentionKind.MLA: latent,
            AttentionKind.MLA_DSA: (*latent, "indexer", "q_lora_rank"),
            AttentionKind.CSA_HCA: compressed,
            AttentionKind.CSA_SHARED: compressed,
        }.get(self.attention, ())
        missing = [name for name in needed if getattr(self, name) is None]
        has_dense_layer = not self.n_routed_experts or self.first_k_dense_replace > 0 or self.moe_layer_interval > 1
        if has_dense_layer and self.intermediate_size is None:
            missing.append("intermediate_size")
        return f"{', '.join(missing)} for this architecture" if missing else ""


class VariantSchema(BaseModel):
    """A checkpoint with what it inherits from its model; the architecture is validated apart, once per model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Text
    model_id: Text
    name: Text
    family: Text
    role: Role = Role.USER
    native_format: Text = "bf16"
    always_reasons: bool = False
    hf_repo: Text | None = None
    release_date: Text | None = None
    base_model: Text | None = None
    licence: str = ""
    commercial_use: bool = True
    modality: Text = "text"
    aliases: tuple[Text, ...] = ()
    published: dict[Text, Amount] = Field(default_factory=dict)
    min_engine_version: dict[Text, Text] = Field(default_factory=dict)
    notes: str = ""
    source: Sources
    confidence: Confidence = Confidence.MEDIUM

    def values(self) -> dict[str, Any]:
        """Fields of a `Variant` other than its architecture."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: FrozenDict(value) if isinstance(value, dict) else value for name, value in found.items()}
