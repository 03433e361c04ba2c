"""Impossible plans are never offered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.engines import backends, runs_model, support, why_not
from advisor.catalog.records import DeviceClass
from advisor.catalog.text import LANGUAGES, translate
from advisor.sizing.cache import KV_FORMATS


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def _compute(catalog: Catalog, engine: str, fmt: str, device: str, backend: str | None = None) -> str | None:
    rule = support(catalog.engine(engine), catalog.format(fmt), catalog.device(device), backend)
    return rule.compute if rule else None


@pytest.mark.parametrize(
    ("engine", "fmt", "device", "compute"),
    [
        ("vllm", "fp8-block", "h200-sxm", "native"),
        ("vllm", "fp8-block", "a100-sxm-80", "weight-only"),  # Marlin: no FP8 tensor cores
        ("vllm", "fp8-block", "t4", None),
        ("vllm", "bf16", "t4", None),
        ("vllm", "bf16", "v100-sxm2-32", None),
        ("vllm", "bf16", "rtx-2080-ti", None),
        ("vllm", "fp16", "v100-sxm2-32", "native"),
        ("vllm", "int8-w8a8", "a100-sxm-80", "native"),
        ("vllm", "int8-w8a8", "b200-sxm", None),
        ("vllm", "int8-w8a8", "b300-sxm", None),
        ("vllm", "nvfp4", "b200-sxm", "native"),
        ("vllm", "nvfp4", "h100-sxm", "weight-only"),
        ("vllm", "mxfp4", "rtx-4090", "weight-only"),
        ("vllm", "mxfp4", "mi355x", "native"),
        ("vllm", "mxfp4", "mi300x", None),
        ("vllm", "awq", "t4", "weight-only"),
        ("vllm", "awq", "v100-sxm2-32", None),
        ("vllm", "v4-native", "h200-sxm", "weight-only"),
        ("vllm", "v4-native", "gb200", "native"),
        ("vllm", "v4-native", "a100-sxm-80", None),
        ("vllm", "gguf-q4_k_m", "h100-sxm", None),
        ("vllm", "bf16", "apple-m2-ultra", None),
        ("sglang", "fp8-block", "a100-sxm-80", "weight-only"),
        ("trtllm", "fp8-block", "a100-sxm-80", None),
        ("trtllm", "nvfp4", "rtx-pro-6000-bw-ws", "native"),
        ("llama.cpp", "gguf-q4_k_m", "rtx-4090", "native"),
        ("llama.cpp", "gguf-q4_k_m", "apple-m2-ultra", "native"),  # through its processor; Metal expands weights
        ("llama.cpp", "gguf-q4_k_m", "raspberry-pi-5", "native"),
        ("llama.cpp", "gguf-iq4_k_r4", "rtx-4090", None),
        ("ik_llama.cpp", "gguf-iq4_k_r4", "rtx-4090", "native"),
        ("llama.cpp", "awq", "rtx-4090", None),
        ("mlx", "mlx-4bit", "apple-m4-max", "weight-only"),
        ("mlx", "mlx-4bit", "h100-sxm", None),
        ("rkllm", "w4a16", "rk3588", "weight-only"),
        ("vllm-ascend", "bf16", "ascend-910b3", "native"),
        ("vllm-ascend", "bf16", "atlas-300i-duo", None),  # 310P has no bf16
        ("vllm-ascend", "bf16", "ascend-910a", None),
        ("lmdeploy", "awq", "v100-sxm2-32", "weight-only"),
    ],
)
def test_rules(catalog: Catalog, engine: str, fmt: str, device: str, compute: str | None) -> None:
    assert _compute(catalog, engine, fmt, device) == compute


def test_the_back_end_matters(catalog: Catalog) -> None:
    assert _compute(catalog, "llama.cpp", "gguf-q4_k_m", "apple-m2-ultra", "metal") == "weight-only"
    assert _compute(catalog, "llama.cpp", "gguf-q4_k_m", "h100-sxm", "rocm") is None
    assert backends(catalog.engine("llama.cpp"), catalog.device("rx-7900-xtx")) == ("rocm", "vulkan")
    assert backends(catalog.engine("vllm"), catalog.device("rtx-4090")) == ("cuda",)


def test_a_host_runs_through_its_processor(catalog: Catalog) -> None:
    assert backends(catalog.engine("llama.cpp"), None) == ("cpu",)
    assert support(catalog.engine("sglang"), catalog.format("int8-w8a8"), None, "cpu") is not None
    assert support(catalog.engine("trtllm"), catalog.format("bf16"), None) is None


@pytest.mark.parametrize(
    ("engine", "fmt", "device", "backend", "key"),
    [
        ("vllm", "gguf-q4_k_m", "h100-sxm", None, "format"),
        ("llama.cpp", "gguf-q4_k_m", "h100-sxm", "metal", "device"),
        ("trtllm", "bf16", "h100-sxm", "rocm", "backend"),
        ("vllm", "bf16", "t4", "cuda", "compute_capability"),
        ("vllm", "int8-w8a8", "b300-sxm", "cuda", "too_new"),
        ("vllm", "mxfp4", "mi300x", "rocm", "architecture"),
        ("mlx", "mlx-4bit", "h100-sxm", None, "device"),
    ],
)
def test_refusals_say_why_in_both_languages(
    catalog: Catalog, engine: str, fmt: str, device: str, backend: str | None, key: str
) -> None:
    reason = why_not(catalog.engine(engine), catalog.format(fmt), catalog.device(device), backend)
    assert reason is not None
    assert reason.key == f"catalog.unsupported.{key}"
    for language in LANGUAGES:
        assert catalog.engine(engine).name in translate(language, reason.key, **reason.values)


def test_new_attention_needs_an_engine_that_knows_it(catalog: Catalog) -> None:
    v4_1, v4, r1 = (catalog.variant(f"deepseek-{name}") for name in ("v4.1-flash", "v4-flash", "r1"))
    assert runs_model(catalog.engine("vllm"), v4_1) is None
    refused = runs_model(catalog.engine("trtllm"), v4)
    assert refused is not None
    assert refused.key == "catalog.unsupported.attention"
    assert runs_model(catalog.engine("llama.cpp"), r1) is None


def test_an_old_engine_is_refused_for_a_new_model(catalog: Catalog) -> None:
    old = replace(catalog.engine("vllm"), version="0.19.0")
    refused = runs_model(old, catalog.variant("deepseek-v4-flash"))
    assert refused is not None
    assert refused.values["needed"] == "0.20.0"
    assert runs_model(replace(old, version="0.20.1"), catalog.variant("deepseek-v4-flash")) is None


def test_layer_split_is_not_tensor_parallelism(catalog: Catalog) -> None:
    for engine_id in ("llama.cpp", "ik_llama.cpp", "ollama"):
        engine = catalog.engine(engine_id)
        assert (engine.tensor_parallel, engine.pipeline_parallel) == (False, True)


def test_every_offered_accelerator_of_a_gpu_class_has_an_engine(catalog: Catalog) -> None:
    gpus = (DeviceClass.DATACENTER_GPU, DeviceClass.WORKSTATION_GPU, DeviceClass.CONSUMER_GPU, DeviceClass.LAPTOP_GPU)
    unserved = [
        device.id
        for device in catalog.devices.values()
        if device.device_class in gpus and not any(backends(engine, device) for engine in catalog.engines.values())
    ]
    assert unserved == []


def test_engines_keep_caches_in_formats_that_the_sizing_knows(catalog: Catalog) -> None:
    for engine in catalog.engines.values():
        assert set(engine.kv_formats) <= set(KV_FORMATS), engine.id
