"""Key-value cache: bytes kept per token and sequence, bytes read per decoded token, by attention kind.

MLA: DeepSeek-V2 (arXiv 2405.04434) §2.1.2; DSA: DeepSeek-V3.2 and FlashMLA's 656-byte fp8 entry plus a 132-byte indexer
key; V4: 584-byte entries (448 fp8, 64 bf16 rope, 8 scale) and 132-byte index keys; V4.1: NVFP4 entries, MXFP4 keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.catalog.records import Architecture, AttentionKind
from advisor.sizing.identity_cache import cached_by_identity
from advisor.sizing.tensors_common import need

__all__ = [
    "KV_FORMATS",
    "CacheRule",
    "MlaCache",
    "Number",
    "cache_bytes",
    "cache_rule",
    "default_kv_format",
    "gather_rules",
    "kv_bytes_per_token",
    "read_bytes",
]

Number = float | NDArray[np.float64]

# bytes per element; GGML types: block bytes / elements
KV_FORMATS = {
    "bf16": 2.0,
    "f16": 2.0,
    "fp16": 2.0,
    "f32": 4.0,
    "fp32": 4.0,
    "fp8": 1.0,
    "fp8_ds_mla": 1.0,
    "int8": 1.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
    "q6_0": 26 / 32,  # ik_llama.cpp
    "nvfp4": 4.5 / 8,
    "int4": 4.5 / 8,
}
_SIXTEEN_BIT = 2.0
DSA_ENTRY_BYTES = 656  # 512 fp8 + 4 float32 scales + 64 bf16 rope
INDEX_KEY_BYTES = 132  # 128 fp8 + one float32 scale
INDEX_KEY_FP4_BYTES = 68  # 128 fp4 + 4 e8m0 scales
V4_ENTRY_BYTES = 584


class MlaCache(StrEnum):
    """How an engine keeps the latent of MLA."""

    LATENT = "latent"
    LATENT_AND_V = "latent+v"  # a second, transposed copy of the values: llama.cpp until spring 2025
    EXPANDED = "expanded"  # full keys and values for every head: engines without MLA support


@dataclass(frozen=True, slots=True)
class CacheRule:
    """Linear rules of one model's cache in one format; fields are floats, or arrays of them when gathered.

    Kept by a sequence of n tokens: `token_bytes·n + window_token_bytes·min(n, window_tokens) + fixed_bytes`.
    Read by one decoded token at context n: `capped_token_bytes·min(n, cap_tokens) + scanned_token_bytes·n
    + window_token_bytes·min(n, window_tokens) + fixed_bytes`.
    """

    token_bytes: Number  # all layers that keep every token (or a compressed entry of it)
    window_token_bytes: Number  # all layers with a sliding window
    window_tokens: Number
    fixed_bytes: Number  # recurrent state of linear attention
    capped_token_bytes: Number  # read for at most cap_tokens tokens (all of them where attention is not sparse)
    cap_tokens: Number  # inf: attention reads everything
    scanned_token_bytes: Number  # read for every token: indexer keys, V4's dense entries
    shards: Number  # ways tensor parallelism can split it: n_kv_heads; 1 for MLA and V4


def kv_bytes_per_token(architecture: Architecture, kv_format: str, *, expands_mla: bool = False) -> float:
    """Bytes that each further token adds, all layers, one replica, before any sharding or block rounding."""
    mla = MlaCache.EXPANDED if expands_mla else MlaCache.LATENT
    return float(cache_rule(architecture, kv_format, mla=mla).token_bytes)


def default_kv_format(architecture: Architecture) -> str:
    """What engines keep for this attention unless told otherwise."""
    kinds = {
        AttentionKind.MLA_DSA: "fp8_ds_mla",
        AttentionKind.CSA_HCA: "fp8",
        AttentionKind.CSA_SHARED: "nvfp4",
    }
    return kinds.get(architecture.attention, "bf16")


@lru_cache(maxsize=2048)
def cache_rule(architecture: Architecture, kv_format: str, *, mla: MlaCache = MlaCache.LATENT) -> CacheRule:
    """The cache rule of an architecture in a cache format; `q8_0/f16` means keys/values. Raises InputError."""
    key, value = _element_bytes(kv_format)
    match architecture.attention:
        case AttentionKind.MLA | AttentionKind.MLA_DSA:
            return _mla_rule(architecture, kv_format, key, value, mla)
        case AttentionKind.CSA_HCA:
            return _v4_rule(architecture, key)
        case AttentionKind.CSA_SHARED:
            return _v41_rule(architecture, key)
        case _:
            return _gqa_rule(architecture, key + value)


def cache_bytes(rule: CacheRule, context_tokens: Number, *, block_tokens: Number = 1) -> Number:
    """Bytes one sequence keeps at `context_tokens`, rounded up to whole blocks of a paged cache."""
    n = np.ceil(np.asarray(context_tokens, dtype=float) / block_tokens) * block_tokens
    window = np.minimum(n, np.ceil(rule.window_tokens / block_tokens) * block_tokens)
    kept: Number = rule.token_bytes * n + rule.window_token_bytes * window + rule.fixed_bytes
    return kept


def read_bytes(rule: CacheRule, context_tokens: Number) -> Number:
    """Bytes of cache that one decoded token of one sequence reads, whole replica, before sharding."""
    n = np.asarray(context_tokens, dtype=float)
    full = rule.capped_token_bytes * np.minimum(n, rule.cap_tokens) + rule.scanned_token_bytes * n
    read: Number = full + rule.window_token_bytes * np.minimum(n, rule.window_tokens) + rule.fixed_bytes
    return read


def gather_rules(rules: Sequence[CacheRule], index: NDArray[np.intp]) -> CacheRule:
    """One rule whose fields are arrays of shape index.shape."""
    table = _table(rules) if isinstance(rules, tuple) else np.array([_numbers(r) for r in rules]).T
    return CacheRule(*table.take(index, axis=1))


@cached_by_identity(64)
def _table(rules: tuple[CacheRule, ...]) -> NDArray[np.float64]:
    return np.array([_numbers(r) for r in rules]).T


@cached_by_identity(8192)
def _numbers(r: CacheRule) -> tuple[float, ...]:
    return tuple(float(getattr(r, f.name)) for f in fields(CacheRule))


def _element_bytes(kv_format: str) -> tuple[float, float]:
    key, _, value = kv_format.partition("/")
    for name in (key, value or key):
        if name not in KV_FORMATS:
            raise InputError("kv-format", f"one of {', '.join(KV_FORMATS)}", kv_format)
    return KV_FORMATS[key], KV_FORMATS[value or key]


def _plain(token: float, shards: int, *, window: float = 0, window_tokens: float = 0, fixed: float = 0) -> CacheRule:
    return CacheRule(token, window, window_tokens, fixed, token, np.inf, 0.0, shards)


def _gqa_rule(a: Architecture, pair_bytes: float) -> CacheRule:
    """`pair_bytes`: one key element plus one value element."""
    n_linear = a.linear_attention.n_layers if a.linear_attention else 0
    n_full = a.num_layers - n_linear
    n_window = 0
    if a.sliding_window is not None and a.n_global_layers is not None:
        n_full, n_window = a.n_global_layers, a.num_layers - n_linear - a.n_global_layers
    full_width = (a.global_n_kv_heads or a.n_kv_heads) * (a.global_head_dim or a.head_dim)
    return _plain(
        n_full * full_width * pair_bytes,
        a.n_kv_heads,
        window=n_window * a.n_kv_heads * a.head_dim * pair_bytes,
        window_tokens=float(a.sliding_window or 0),
        fixed=float(a.linear_attention.state_bytes_per_sequence) if a.linear_attention else 0.0,
    )


def _mla_rule(a: Architecture, kv_format: str, key: float, value: float, mla: MlaCache) -> CacheRule:
    latent, rope = need(a.kv_lora_rank, "kv_lora_rank"), need(a.qk_rope_head_dim, "qk_rope_head_dim")
    if mla is MlaCache.EXPANDED:
        nope, v = need(a.qk_nope_head_dim, "qk_nope_head_dim"), need(a.v_head_dim, "v_head_dim")
        return _plain(a.num_layers * a.n_heads * ((nope + rope) * key + v * value), a.n_heads)
    entry = (latent + rope) * key + (latent * value if mla is MlaCache.LATENT_AND_V else 0)
    if kv_format == "fp8_ds_mla" or (a.indexer is not None and kv_format == "fp8"):
        entry = DSA_ENTRY_BYTES
    if a.indexer is None:
        return _plain(a.num_layers * entry, 1)
    scanned = a.num_layers * INDEX_KEY_BYTES
    return CacheRule(a.num_layers * entry + scanned, 0, 0, 0, a.num_layers * entry, a.indexer.top_k, scanned, 1)


def _v4_rule(a: Architecture, element: float) -> CacheRule:
    """CSA: one entry and one index key per 4 tokens, the best `top_k` read; HCA: one entry per 128 tokens, all read."""
    if a.compression is None or a.indexer is None:
        raise InputError("architecture", "compression ratios and an indexer", a.attention)
    entry = V4_ENTRY_BYTES if element <= 1 else a.head_dim * element
    key = (INDEX_KEY_FP4_BYTES if element < 1 else INDEX_KEY_BYTES) if element <= 1 else a.indexer.head_dim * element
    csa = sum(1 / r for r in a.compression.ratios if 0 < r <= 4)
    hca = sum(1 / r for r in a.compression.ratios if r > 4)
    scanned = csa * key + hca * entry
    window = a.num_layers * entry
    return CacheRule(
        (csa + hca) * entry + csa * key, window, a.sliding_window or 0, 0, csa * entry, 4 * a.indexer.top_k, scanned, 1
    )


def _v41_rule(a: Architecture, element: float) -> CacheRule:
    """Few layers store entries; every compressed layer reads the best `top_k`, and index layers score all keys."""
    c, i = a.compression, a.indexer
    if c is None or i is None:
        raise InputError("architecture", "compression ratios and an indexer", a.attention)
    entry = a.head_dim * element
    key = INDEX_KEY_FP4_BYTES if element < 1 else INDEX_KEY_BYTES if element == 1 else i.head_dim * element
    stored = sum(1 / c.ratios[n] for n in c.kv_source_layers)
    readers = [r for r in c.ratios if r]
    read = sum(1 / r for r in readers)
    scanned = sum(1 / c.ratios[n] for n in c.index_source_layers) * key
    return CacheRule(
        stored * (entry + key),
        a.num_layers * entry,
        a.sliding_window or 0,
        0,
        read * entry,
        i.top_k * len(readers) / read,
        scanned,
        1,
    )
