"""Footprints: known cases, and arrays that agree with single plans."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.catalog import load_catalog
from advisor.sizing.cache import default_kv_format
from advisor.sizing.columns import LoadColumns, PlanColumns
from advisor.sizing.derivation import derive
from advisor.sizing.footprint import footprint, footprint_columns
from advisor.sizing.memory import host_usable_bytes, usable_bytes
from advisor.sizing.plan import Layout, Load, Offload, Plan
from advisor.sizing.suggestions import suggestions

CATALOG = load_catalog()
LOAD = Load(1024, 1024, 8192)


def plan(variant: str, fmt: str, device: str | None, engine: str = "vllm", **layout: object) -> Plan:
    v = CATALOG.variant(variant)
    return Plan(
        variant=v,
        format=CATALOG.format(fmt),
        engine=CATALOG.engine(engine),
        backend="cuda",
        device=CATALOG.device(device) if device else None,
        layout=Layout(**layout),  # type: ignore[arg-type]
        kv_format=default_kv_format(v.architecture),
    )


def test_r1_on_eight_h200_fits_with_the_latent_on_every_rank() -> None:
    found = footprint(plan("deepseek-r1", "fp8-block", "h200-sxm", tp=8), LOAD)
    assert found.fits
    assert found.kv_bytes_per_token == 70_272
    assert found.device.kv_cache_bytes == 70_272 * 8192
    assert found.device.weights_bytes / 2**30 == pytest.approx(79.3, abs=0.1)


def test_r1_on_eight_h100_does_not_fit_and_says_by_how_much() -> None:
    found = footprint(plan("deepseek-r1", "fp8-block", "h100-sxm", tp=8), LOAD)
    assert not found.fits
    assert found.max_concurrency == 0
    assert found.shortfall_bytes == found.device.total_bytes - found.device.usable_bytes
    assert found.shortfall_bytes / 2**30 > 6  # the weights alone exceed what the engine may use
    kinds = {s.kind for s in suggestions(plan("deepseek-r1", "fp8-block", "h100-sxm", tp=8), LOAD, CATALOG)}
    assert {"more_devices", "other_format", "bigger_device", "other_variant"} <= kinds


def test_every_suggestion_makes_it_fit() -> None:
    tight = plan("deepseek-r1-distill-llama-70b", "bf16", "h100-sxm", tp=2)
    load = Load(4096, 1024, 131_072, concurrency=8)
    found = {s.kind: s.values for s in suggestions(tight, load, CATALOG)}
    assert found
    if "fewer_sequences" in found:
        assert footprint(tight, replace(load, concurrency=int(found["fewer_sequences"]["concurrency"]))).fits
    if "shorter_context" in found:
        assert footprint(tight, replace(load, context_tokens=int(found["shorter_context"]["context_tokens"]))).fits
    if "other_format" in found:
        other = CATALOG.format(str(found["other_format"]["format_id"]))
        assert footprint(replace(tight, format=other), load).fits


def test_attention_replicas_divide_the_sequences() -> None:
    one = footprint(plan("deepseek-r1", "fp8-block", "h200-sxm", "sglang", tp=8), LOAD)
    eight = footprint(plan("deepseek-r1", "fp8-block", "h200-sxm", "sglang", tp=8, dp_attention=8), LOAD)
    assert eight.max_concurrency > 4 * one.max_concurrency


def test_grouped_heads_split_as_far_as_they_go() -> None:
    alone = footprint(plan("deepseek-r1-distill-qwen-7b", "bf16", "h100-sxm"), LOAD)
    four = footprint(plan("deepseek-r1-distill-qwen-7b", "bf16", "h100-sxm", tp=4), LOAD)
    assert four.device.kv_cache_bytes * 4 == alone.device.kv_cache_bytes


def test_processor_only_uses_host_memory() -> None:
    host = CATALOG.host("desktop-ryzen-7950x-128")
    p = replace(
        plan("deepseek-r1-distill-qwen-7b", "gguf-q4_k_m", None, "llama.cpp", offload=Offload.CPU_ONLY), host=host
    )
    found = footprint(p, LOAD)
    assert found.fits
    assert found.device.device_index == -1
    assert found.device.usable_bytes == host_usable_bytes(host) < host.memory_bytes  # type: ignore[operator]
    assert found.device.weights_bytes == pytest.approx(4.68e9, rel=0.01)


def test_experts_in_host_memory_need_the_memory() -> None:
    p = plan("deepseek-r1", "gguf-q4_k_m", "rtx-4090", "llama.cpp", offload=Offload.EXPERTS_CPU)
    small = replace(p, host=CATALOG.host("desktop-ryzen-7950x-128"))
    found = footprint(small, LOAD)
    assert found.host is not None
    assert not found.fits
    assert found.shortfall_bytes == found.host.total_bytes - found.host.usable_bytes


def test_usable_memory_is_the_driver_figure_where_known() -> None:
    assert usable_bytes(CATALOG.device("h200-sxm")) == pytest.approx(140.4 * 2**30, abs=2)
    apple = next(d for d in CATALOG.devices.values() if str(d.device_class) == "apple")
    assert usable_bytes(replace(apple, usable_memory_bytes=None)) == int(apple.memory_bytes * 0.75)


@settings(max_examples=30)
@given(
    context=st.integers(256, 100_000), concurrency=st.integers(1, 200), tp=st.sampled_from([1, 2, 4, 8]),
    variant=st.sampled_from(["deepseek-r1-distill-qwen-32b", "deepseek-v2-lite", "gemma-3-27b", "deepseek-v3.2"]),
)  # fmt: skip
def test_limits_agree_with_fitting(context: int, concurrency: int, tp: int, variant: str) -> None:
    """What `max_concurrency` promises fits, one more sequence does not; the same for the context."""
    p = plan(variant, "bf16", "h200-sxm", tp=tp)
    load = Load(128, 64, context, concurrency)
    found = footprint(p, load)
    assert found.fits == (concurrency <= found.max_concurrency)
    if found.max_concurrency:
        assert footprint(p, replace(load, concurrency=found.max_concurrency)).fits
        assert not footprint(p, replace(load, concurrency=found.max_concurrency + 1)).fits
    ceiling = p.variant.architecture.max_context_tokens or 10**15
    if 512 <= found.max_context_tokens < ceiling:
        assert footprint(p, replace(load, context_tokens=found.max_context_tokens)).fits
        assert not footprint(p, replace(load, context_tokens=found.max_context_tokens + 64)).fits


def test_arrays_equal_single_plans() -> None:
    plans = [
        plan("deepseek-r1", "fp8-block", "h200-sxm", tp=8),
        plan("deepseek-r1", "fp8-block", "h200-sxm", "sglang", tp=8, dp_attention=8),
        plan("deepseek-r1-distill-qwen-7b", "awq", "rtx-4090"),
        plan("deepseek-r1", "gguf-q4_k_m", "rtx-4090", "llama.cpp", offload=Offload.EXPERTS_CPU),
        plan("deepseek-v2-lite", "bf16", "a100-sxm-80", pp=2),
    ]
    together = footprint_columns(PlanColumns.from_plans(plans), LoadColumns.of(LOAD, len(plans)))
    for i, p in enumerate(plans):
        alone = footprint(p, LOAD)
        assert round(together.weights_bytes[i]) == alone.device.weights_bytes
        assert round(together.kv_cache_bytes[i]) == alone.device.kv_cache_bytes
        assert round(together.activation_bytes[i]) == alone.device.activation_bytes
        assert round(together.overhead_bytes[i]) == alone.device.overhead_bytes
        assert round(together.shortfall_bytes[i]) == alone.shortfall_bytes


def test_many_plans_take_little_time_each() -> None:
    n = 100_000
    base = PlanColumns.from_plans([plan("deepseek-r1", "fp8-block", "h200-sxm", tp=8), plan("qwen3-8b", "bf16", "l4")])
    many = base.take(np.arange(n) % 2)
    loads = LoadColumns.of(LOAD, n)
    footprint_columns(many, loads)
    start = time.perf_counter()
    footprint_columns(many, loads)
    assert (time.perf_counter() - start) / n < 5e-6


def test_derivations_end_in_the_numbers_of_the_footprint() -> None:
    p = plan("deepseek-r1", "fp8-block", "h100-sxm", tp=8)
    found, steps = footprint(p, LOAD), {d.key: d for d in derive(p, LOAD)}
    assert steps["device_weights"].value == found.device.weights_bytes
    assert steps["kv_token"].value == 70_272
    assert steps["kv_sequence"].value == found.device.kv_cache_bytes
    assert steps["fits"].steps[-1].values["bytes"] == found.shortfall_bytes
    assert all(d.steps and d.source for d in steps.values())
