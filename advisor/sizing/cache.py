"""Key-value cache: bytes kept per token and sequence, bytes read per decoded token, by attention kind.

MLA: DeepSeek-V2 (arXiv 2405.04434) §2.1; DSA: DeepSeek-V3.2 and FlashMLA's fp8 entry; V4: entries of 584 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from advisor.catalog.records import Architecture

__all__ = ["CacheRule", "cache_rule", "kv_bytes_per_token"]


@dataclass(frozen=True, slots=True)
class CacheRule:
    """Linear rules of one model's cache in one format; fields are floats, or arrays of them when gathered.

    Kept by a sequence of n tokens: `token_bytes·n + window_token_bytes·min(n, window_tokens) + fixed_bytes`.
    Read by one decoded token at context n: `capped_token_bytes·min(n, cap_tokens) + scanned_token_bytes·n
    + window_token_bytes·min(n, window_tokens) + fixed_bytes`.
    """

    token_bytes: float  # all layers that keep every token (or a compressed entry of it)
    window_token_bytes: float  # all layers with a sliding window
    window_tokens: float
    fixed_bytes: float  # recurrent state of linear attention
    capped_token_bytes: float  # part of token_bytes that attention reads, of at most cap_tokens tokens
    cap_tokens: float  # inf: attention reads everything
    scanned_token_bytes: float  # part of token_bytes that is read for every token (indexer keys)
    shards: float  # ways tensor parallelism can split it: n_kv_heads, 1 for MLA and V4


def kv_bytes_per_token(architecture: Architecture, kv_format: str, *, expands_mla: bool = False) -> float:
    """Bytes that each further token adds, all layers, one replica, before any sharding or block rounding."""
    return cache_rule(architecture, kv_format, expands_mla=expands_mla).token_bytes


def cache_rule(architecture: Architecture, kv_format: str, *, expands_mla: bool = False) -> CacheRule:
    """The cache rule of an architecture in a cache format. Raises InputError for an unknown format."""
    raise NotImplementedError
