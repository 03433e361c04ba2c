"""How weights spread: nothing is lost, the replicated part is on every rank, the fullest stage counts."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog import load_catalog
from advisor.sizing.layout import (
    Shards,
    WeightShares,
    device_weights,
    gather_shares,
    kv_share,
    valid_layouts,
    weight_shares,
    why_invalid,
)
from advisor.sizing.plan import Layout, Offload
from advisor.sizing.weights import weights

CATALOG = load_catalog()
R1 = CATALOG.variant("deepseek-r1").architecture
FP8 = CATALOG.format("fp8-block")


@pytest.mark.parametrize(
    ("variant_id", "format_id"),
    [
        ("deepseek-r1", "fp8-block"),
        ("deepseek-r1-distill-llama-70b", "gguf-q4_k_m"),
        ("deepseek-v4.1-flash", "v4.1-native"),
        ("gemma-3-27b", "bf16"),
        ("llama-4-maverick", "fp8"),
    ],
)
def test_one_device_holds_the_file(variant_id: str, format_id: str) -> None:
    a, f = CATALOG.variant(variant_id).architecture, CATALOG.format(format_id)
    device, host = device_weights(weight_shares(a, f), Shards.of_one())
    assert float(device) == pytest.approx(weights(a, f).total_bytes, rel=1e-12)
    assert float(host) == 0


def test_tensor_parallel_ranks_repeat_the_latent_projections() -> None:
    s = weight_shares(R1, FP8)
    device, _ = device_weights(s, Shards.of(Layout(tp=8)))
    repeated = float(s.attention_replicated + s.router + s.other_replicated)
    total = weights(R1, FP8).total_bytes
    assert 8 * float(device) == pytest.approx(total + 7 * repeated, rel=1e-9)


def test_attention_replicas_hold_whole_attention() -> None:
    plain, _ = device_weights(weight_shares(R1, FP8), Shards.of(Layout(tp=8)))
    shared, _ = device_weights(weight_shares(R1, FP8), Shards.of(Layout(tp=8, dp_attention=8)))
    assert float(shared - plain) / 2**30 == pytest.approx(7 / 8 * (9.78 + 3.45), abs=0.4)  # attention, embedding, head


def test_experts_in_host_memory() -> None:
    device, host = device_weights(weight_shares(R1, FP8), Shards.of(Layout(offload=Offload.EXPERTS_CPU)))
    assert float(device + host) == pytest.approx(weights(R1, FP8).total_bytes)
    assert float(device) / 1e9 == pytest.approx(17.2, abs=0.3)  # 673.2 less 654.1 of experts and 1.9 of embedding


def test_layers_split_between_device_and_host() -> None:
    a, f = CATALOG.variant("deepseek-r1-distill-llama-70b").architecture, CATALOG.format("gguf-q4_k_m")
    layout = Layout(offload=Offload.LAYERS_SPLIT, gpu_layers=40)
    device, host = device_weights(weight_shares(a, f), Shards.of(layout))
    assert float(device + host) == pytest.approx(weights(a, f).total_bytes)
    assert float(device) < float(host)


def test_heads_that_do_not_divide_leave_the_fullest_rank_with_more() -> None:
    assert float(kv_share(8, 8)) == 1 / 8
    assert float(kv_share(8, 16)) == 1 / 8  # replicated beyond the key-value heads
    assert float(kv_share(2, 4)) == 1 / 2
    assert float(kv_share(1, 8)) == 1.0  # MLA


@given(tp=st.sampled_from([1, 2, 4, 8]), pp=st.sampled_from([1, 2, 3, 4, 8, 61]))
def test_devices_hold_the_file_together(tp: int, pp: int) -> None:
    device, _ = device_weights(weight_shares(R1, FP8), Shards.of(Layout(tp=tp, pp=pp)))
    assert float(device) * tp * pp >= weights(R1, FP8).total_bytes * (1 - 1e-9)


def test_gathered_shares_equal_single_ones() -> None:
    both = [weight_shares(R1, FP8), weight_shares(CATALOG.variant("qwen3-8b").architecture, CATALOG.format("bf16"))]
    index = np.array([0, 1, 0])
    together, _ = device_weights(gather_shares(both, index), Shards.of(Layout(tp=4, pp=2)))
    alone = [float(device_weights(both[i], Shards.of(Layout(tp=4, pp=2)))[0]) for i in index]
    assert list(np.asarray(together)) == pytest.approx(alone)
    assert {f.name for f in fields(WeightShares)} == set(WeightShares.__slots__)


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (Layout(pp=62), "pp_over_layers"),
        (Layout(tp=8, dp_attention=3), "dp_not_in_tp"),
        (Layout(tp=3), "tp_not_in_heads"),
        (Layout(tp=8, ep=7), "ep_not_in_experts"),
        (Layout(tp=8, ep=8), None),
    ],
)
def test_impossible_layouts_are_named(layout: Layout, reason: str | None) -> None:
    assert why_invalid(R1, layout) == reason


def test_engines_refuse_what_they_cannot() -> None:
    assert why_invalid(R1, Layout(tp=2), CATALOG.engine("llama.cpp")) == "engine_no_tp"
    offered = list(valid_layouts(R1, CATALOG.engine("sglang"), 16))
    assert Layout(tp=8, pp=2, dp_attention=8) in offered
    assert all(layout.devices == 16 and layout.tp <= 8 for layout in offered)
