"""Weight formats: which storage type each tensor role gets, and its exact block size and scales."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from advisor.catalog.frozen import FrozenDict

__all__ = ["Format", "GgufMix", "StorageType", "TensorRole"]


class TensorRole(StrEnum):
    """What a tensor is for; decides its storage type, its sharding and its group in the step model."""

    EMBEDDING = "embedding"
    HEAD = "head"
    NORM = "norm"  # also biases, scalars and other vectors that are never quantised
    ATTN_Q = "attn_q"
    ATTN_K = "attn_k"
    ATTN_V = "attn_v"
    ATTN_O = "attn_o"
    ATTN_BIAS = "attn_bias"
    Q_A = "q_a"  # latent projections of MLA and V4
    Q_B = "q_b"
    KV_A = "kv_a"
    KV_B = "kv_b"
    O_A = "o_a"  # grouped low-rank output of V4
    O_B = "o_b"
    INDEXER = "indexer"
    COMPRESSOR = "compressor"
    LINEAR_ATTENTION = "linear_attention"
    FFN_UP = "ffn_up"  # gate and up
    FFN_DOWN = "ffn_down"
    SHARED_UP = "shared_up"
    SHARED_DOWN = "shared_down"
    ROUTER = "router"
    EXPERT_UP = "expert_up"  # gate and up of the routed experts
    EXPERT_DOWN = "expert_down"
    HYPER_CONNECTION = "hyper_connection"
    HASH_TABLE = "hash_table"
    ENGRAM_TABLE = "engram_table"
    ENGRAM = "engram"  # projections around the Engram tables
    VISION = "vision"
    MTP = "mtp"  # multi-token prediction module or drafter, where stored


@dataclass(frozen=True, slots=True)
class StorageType:
    """Bytes of a matrix of `rows` x `cols` (output x input).

    `block_elements` consecutive elements of a row take `block_bytes`; every tile of `tile_rows` x `tile_cols`
    (0: the whole extent) adds `tile_bits` of scale and zero point; each matrix adds `tensor_bytes`.
    """

    id: str
    block_elements: int
    block_bytes: int
    tile_rows: int = 1
    tile_cols: int = 1
    tile_bits: float = 0
    tensor_bytes: int = 0

    def matrix_bytes(self, rows: int, cols: int) -> int:
        """Bytes of one matrix; partial blocks and tiles are rounded up."""
        data = -(-rows * cols // self.block_elements) * self.block_bytes
        if not self.tile_bits:
            return data + self.tensor_bytes
        tiles = -(-rows // (self.tile_rows or rows)) * -(-cols // (self.tile_cols or cols))
        return data + math.ceil(tiles * self.tile_bits / 8) + self.tensor_bytes

    @property
    def bits(self) -> float:
        """Bits per element without scales."""
        return 8 * self.block_bytes / self.block_elements


@dataclass(frozen=True, slots=True)
class GgufMix:
    """Per-tensor rules of one llama.cpp file type: `rules[tensor]` lists (type, condition), first match wins."""

    base: StorageType
    rules: Mapping[str, tuple[tuple[StorageType, str], ...]]
    token_embd: StorageType | None = None  # None: `base`
    output: StorageType | None = None  # None: the rule of llama.cpp (Q6_K, or Q8_0 with a Q8_0 base)
    experts: StorageType | None = None  # routed experts, where they differ from `base` as a whole
    pure: bool = False  # one type for every matrix


@dataclass(frozen=True, slots=True)
class Format:
    """How the weights of a checkpoint are stored."""

    id: str
    name: str
    family: str  # 16bit | 32bit | fp8 | int8 | fp4 | int4-weight-only | gguf-*
    bits_per_weight: float  # nominal, of the quantised tensors only
    compute_precision: str  # of the matrix products where the device has it: fp32 | bf16 | fp16 | fp8 | int8 | fp4
    weight_only: bool  # weights are expanded to `compute_precision` before the product
    storage: Mapping[TensorRole, StorageType] = field(default_factory=FrozenDict)  # empty for GGUF
    overrides: Mapping[str, Mapping[TensorRole, StorageType]] = field(default_factory=FrozenDict)  # moe | mla | v4
    gguf: GgufMix | None = None
    whole_model_bpw: float | None = None  # mixes known only by the size of published files
    kv_format: str = "bf16"  # what engines keep in the cache with this checkpoint by default
    offered: bool = True  # False: only for validation
    source: tuple[str, ...] = ()
