"""Cache rules against the model cards and engine logs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog import load_catalog
from advisor.catalog.errors import InputError
from advisor.catalog.records import Variant
from advisor.sizing.cache import (
    MlaCache,
    cache_bytes,
    cache_rule,
    default_kv_format,
    gather_rules,
    kv_bytes_per_token,
    read_bytes,
)

CATALOG = load_catalog()


@pytest.mark.parametrize(
    "variant", [v for v in CATALOG.variants.values() if "kv_bytes_per_token_bf16" in v.published], ids=lambda v: v.id
)
def test_bytes_per_token_of_every_model(variant: Variant) -> None:
    rule = cache_rule(variant.architecture, "bf16")
    assert rule.token_bytes + rule.window_token_bytes == variant.published["kv_bytes_per_token_bf16"]


@pytest.mark.parametrize(
    ("variant_id", "kv_format", "mla", "expected"),
    [
        ("deepseek-r1", "bf16", MlaCache.LATENT, 70_272),
        ("deepseek-r1", "fp8", MlaCache.LATENT, 35_136),
        ("deepseek-r1", "q8_0", MlaCache.LATENT, 37_332),  # ik_llama.cpp issue 437
        ("deepseek-r1", "f16", MlaCache.LATENT_AND_V, 132_736),  # ik_llama.cpp PR 394
        ("deepseek-r1", "f16", MlaCache.EXPANDED, 4_997_120),
        ("deepseek-r1", "q8_0/f16", MlaCache.EXPANDED, 3_591_680),  # ik_llama.cpp issue 389
        ("deepseek-v2.5-1210", "q8_0", MlaCache.LATENT, 36_720),  # ik_llama.cpp PR 400
        ("deepseek-v2-lite", "f16", MlaCache.EXPANDED, 276_480),
        ("deepseek-v3.2", "fp8_ds_mla", MlaCache.LATENT, 48_068),
        ("deepseek-r1-distill-qwen-7b", "bf16", MlaCache.LATENT, 57_344),
        ("deepseek-v4.1-flash", "nvfp4", MlaCache.LATENT, 890),
    ],
)
def test_published_entries(variant_id: str, kv_format: str, mla: MlaCache, expected: float) -> None:
    assert cache_rule(CATALOG.variant(variant_id).architecture, kv_format, mla=mla).token_bytes == expected


@pytest.mark.parametrize(
    ("variant_id", "per_token", "window"),
    [("deepseek-v4-flash", 3850.25, 3_214_336), ("deepseek-v4-pro", 5511.4375, 4_559_872)],
)
def test_v4_entries_and_windows(variant_id: str, per_token: float, window: int) -> None:
    a = CATALOG.variant(variant_id).architecture
    rule = cache_rule(a, default_kv_format(a))
    assert rule.token_bytes == per_token
    assert cache_bytes(rule, 1_000_000) == pytest.approx(per_token * 1_000_000 + window)


def test_one_sequence_of_r1() -> None:
    """8,192 tokens: 0.536 GiB, whole on every tensor-parallel rank."""
    rule = cache_rule(CATALOG.variant("deepseek-r1").architecture, "bf16")
    assert rule.shards == 1
    assert float(cache_bytes(rule, 8192)) / 2**30 == pytest.approx(0.536, abs=5e-4)


def test_sparse_attention_reads_a_bounded_part_and_scans_the_rest() -> None:
    rule = cache_rule(CATALOG.variant("deepseek-v3.2").architecture, "fp8_ds_mla")
    assert read_bytes(rule, 100_000) == 40_016 * 2048 + 8_052 * 100_000


def test_sliding_windows_stop_growing() -> None:
    a = CATALOG.variant("gemma-3-27b").architecture
    rule = cache_rule(a, "bf16")
    per_layer = 2 * 16 * 128 * 2
    assert cache_bytes(rule, 1024) == 62 * per_layer * 1024
    assert cache_bytes(rule, 32_768) == 10 * per_layer * 32_768 + 52 * per_layer * 1024


def test_expansion_is_what_an_engine_without_mla_pays() -> None:
    a = CATALOG.variant("deepseek-v3").architecture
    assert kv_bytes_per_token(a, "bf16", expands_mla=True) == 61 * 128 * (192 + 128) * 2


def test_unknown_format_is_named() -> None:
    with pytest.raises(InputError, match="kv-format"):
        cache_rule(CATALOG.variant("deepseek-r1").architecture, "q3_magic")


@given(n=st.integers(1, 200_000), block=st.sampled_from([1, 16, 64, 256]))
def test_blocks_round_up_by_less_than_one_block(n: int, block: int) -> None:
    rule = cache_rule(CATALOG.variant("deepseek-r1").architecture, "bf16")
    waste = float(cache_bytes(rule, n, block_tokens=block)) - 70_272 * n
    assert 0 <= waste < 70_272 * block


@given(st.lists(st.integers(1, 1_000_000), min_size=2, max_size=6))
def test_more_context_never_takes_less(contexts: list[int]) -> None:
    ordered = np.sort(np.array(contexts, dtype=float))
    for name in ("deepseek-v4-flash", "gemma-3-27b", "deepseek-v3.2"):
        rule = cache_rule(CATALOG.variant(name).architecture, default_kv_format(CATALOG.variant(name).architecture))
        assert np.all(np.diff(cache_bytes(rule, ordered)) >= 0)
        assert np.all(np.diff(read_bytes(rule, ordered)) >= 0)


def test_gathered_rules_equal_single_ones() -> None:
    rules = [cache_rule(CATALOG.variant(v).architecture, "bf16") for v in ("deepseek-r1", "gemma-3-27b")]
    index = np.array([1, 0, 1])
    together = cache_bytes(gather_rules(rules, index), np.array([10.0, 20.0, 30.0]))
    alone = [float(cache_bytes(rules[i], n)) for i, n in zip(index, (10, 20, 30), strict=True)]
    assert list(together) == alone
