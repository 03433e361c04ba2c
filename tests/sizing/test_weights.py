"""Bytes equal published file sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog import load_catalog
from advisor.catalog.formats import Format, StorageType, TensorRole
from advisor.catalog.records import Architecture, AttentionKind, Variant
from advisor.sizing.gguf import MlaLayout
from advisor.sizing.weights import storage_of, total_params, weights

CATALOG = load_catalog()
GIB = 2**30

# ggml-org/llama.cpp tools/quantize README, Llama-3.1-8B: bits per weight
LLAMA_31_8B = {
    "iq1_s": 2.0042,
    "iq1_m": 2.1460,
    "iq2_xxs": 2.3824,
    "iq2_xs": 2.5882,
    "iq2_s": 2.7403,
    "iq2_m": 2.9294,
    "iq3_xxs": 3.2548,
    "iq3_xs": 3.4977,
    "iq3_s": 3.6606,
    "iq3_m": 3.7628,
    "iq4_xs": 4.4597,
    "iq4_nl": 4.6818,
    "q2_k_s": 2.9697,
    "q2_k": 3.1593,
    "q3_k_s": 3.6429,
    "q3_k_l": 4.2979,
    "q4_k_s": 4.6672,
    "q4_k_m": 4.8944,
    "q5_k_s": 5.5704,
    "q5_k_m": 5.7036,
    "q6_k": 6.5633,
    "q8_0": 8.5008,
    "f16": 16.0005,
}
GGUF_KEYS = ("q2_k", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k", "q8_0")


@pytest.mark.parametrize(("mix", "bits"), LLAMA_31_8B.items())
def test_llama_cpp_table(mix: str, bits: float) -> None:
    a = CATALOG.variant("llama-3.1-8b").architecture
    assert weights(a, CATALOG.format(f"gguf-{mix}")).bits_per_weight == pytest.approx(bits, abs=6e-5)


@pytest.mark.parametrize(
    "variant", [v for v in CATALOG.variants.values() if "gguf_q4_k_m_gib" in v.published], ids=lambda v: v.id
)
def test_gguf_sizes_of_every_model(variant: Variant) -> None:
    for key in GGUF_KEYS:
        size = weights(variant.architecture, CATALOG.format(f"gguf-{key}")).total_bytes / GIB
        assert size == pytest.approx(variant.published[f"gguf_{key}_gib"], abs=0.0051, rel=2e-4)


@pytest.mark.parametrize(
    ("variant_id", "format_id", "gib"),
    [  # computed by others from the cards of RedHatAI, Qwen and bitsandbytes
        ("deepseek-r1-distill-qwen-1.5b", "gptq-int4", 1.50),
        ("deepseek-r1-distill-qwen-1.5b", "bnb-nf4", 1.56),
        ("deepseek-r1-distill-qwen-7b", "awq", 5.19),
        ("deepseek-r1-distill-llama-8b", "gptq-int4", 5.31),
        ("deepseek-r1-distill-qwen-14b", "awq", 9.29),
        ("deepseek-r1-distill-qwen-32b", "awq", 18.00),
        ("deepseek-r1-distill-llama-70b", "awq", 37.04),
        ("deepseek-r1-distill-llama-70b", "bnb-nf4-double", 36.80),
    ],
)
def test_four_bit_checkpoints_keep_embedding_and_head(variant_id: str, format_id: str, gib: float) -> None:
    a = CATALOG.variant(variant_id).architecture
    assert weights(a, CATALOG.format(format_id)).total_bytes / GIB == pytest.approx(gib, abs=0.006)


def test_scales_of_v3_equal_the_published_count() -> None:
    """The repository holds 41,540,496 elements more than the model: the block scales, MTP layer included."""
    a, f = CATALOG.variant("deepseek-v3").architecture, CATALOG.format("fp8-block")
    assert storage_of(a, f, TensorRole.EXPERT_UP).id == "fp8-128x128"
    with_mtp = weights(a, f, include_mtp=True)
    rows = [row for row in with_mtp.tensors if row.storage == "fp8-128x128"]
    assert sum(row.bytes - row.tensor.params for row in rows) == 4 * 41_540_496


def test_r1_in_its_own_format() -> None:
    a, f = CATALOG.variant("deepseek-r1").architecture, CATALOG.format("fp8-block")
    assert weights(a, f).total_bytes / 1e9 == pytest.approx(673.1, abs=0.06)
    on_disk = weights(a, f, include_mtp=True, mtp_copies_stored=True)
    assert on_disk.total_bytes == pytest.approx(688_586_727_753, rel=1e-4)  # Hugging Face, headers included


@pytest.mark.parametrize(
    ("variant_id", "format_id", "gb"),
    [("deepseek-v4-flash", "v4-native", 160), ("deepseek-v4-pro", "v4-native", 865),
     ("deepseek-v4-flash-0731", "v4-native", 167), ("deepseek-v4.1-flash", "v4.1-native", 510.286)],
)  # fmt: skip
def test_v4_files(variant_id: str, format_id: str, gb: float) -> None:
    a = CATALOG.variant(variant_id).architecture
    size = weights(a, CATALOG.format(format_id), include_mtp=True).total_bytes
    assert size / 1e9 == pytest.approx(gb, rel=0.01)


def test_nvfp4_of_r1_stores_the_published_elements() -> None:
    """nvidia/DeepSeek-R1-NVFP4: 396,767,013,632 elements, pairs of FP4 counted once, one scale per 16."""
    a, f = CATALOG.variant("deepseek-r1").architecture, CATALOG.format("nvfp4")
    packed = {r for r in TensorRole if storage_of(a, f, r).id == "nvfp4-16"}
    main = weights(a, f)
    elements = sum(
        row.tensor.params * (9 / 16) if row.tensor.role in packed else row.tensor.params for row in main.tensors
    )
    module = weights(a, CATALOG.format("bf16"), include_mtp=True, mtp_copies_stored=True).total_params - total_params(a)
    assert elements + module == pytest.approx(396_767_013_632, rel=1e-3)


def test_ik_files_hold_the_latent_projection_twice() -> None:
    """ik_llama.cpp prints 672.050 B where mainline prints 671.026 B."""
    a, f = CATALOG.variant("deepseek-r1").architecture, CATALOG.format("gguf-f16")
    both = weights(a, f, mla_layout=MlaLayout.BOTH).total_bytes
    once = weights(a, f, mla_layout=MlaLayout.JOINT).total_bytes
    assert (both - once) / 2 == 61 * 512 * 128 * (128 + 128)


def test_mixes_known_by_size_only_have_that_size() -> None:
    a, f = CATALOG.variant("deepseek-r1").architecture, CATALOG.format("gguf-ud-iq1_s")
    assert weights(a, f).total_bytes == round(f.whole_model_bpw * total_params(a) / 8)  # type: ignore[operator]


def test_every_format_sizes_every_kind_of_model() -> None:
    for variant_id in ("deepseek-r1-distill-qwen-1.5b", "deepseek-v2-lite", "deepseek-v4-flash", "gpt-oss-20b"):
        a = CATALOG.variant(variant_id).architecture
        for f in CATALOG.formats.values():
            w = weights(a, f)
            assert 0 < w.bits_per_weight <= 32.1, (variant_id, f.id)
            assert sum(row.bytes for row in w.tensors) == w.total_bytes == sum(w.by_role.values())


@given(rows=st.integers(1, 5000), cols=st.integers(1, 5000))
def test_blocks_and_tiles_round_up(rows: int, cols: int) -> None:
    tiled = StorageType("t", 1, 1, 128, 128, 32)
    assert tiled.matrix_bytes(rows, cols) == rows * cols + 4 * -(-rows // 128) * -(-cols // 128)
    blocked = StorageType("b", 256, 144)
    assert blocked.matrix_bytes(rows, cols) == -(-rows * cols // 256) * 144


@given(
    layers=st.integers(1, 12), heads=st.sampled_from([4, 8, 16]), kv=st.sampled_from([1, 2, 4]),
    hidden=st.sampled_from([64, 128, 512]), ffn=st.integers(32, 2048), tied=st.booleans(),
)  # fmt: skip
def test_sixteen_bit_is_two_bytes_per_parameter(
    layers: int, heads: int, kv: int, hidden: int, ffn: int, tied: bool
) -> None:
    a = Architecture(
        AttentionKind.GQA, hidden, layers, heads, kv, 16, 1000, intermediate_size=ffn, tie_word_embeddings=tied
    )
    assert weights(a, CATALOG.format("bf16")).total_bytes == 2 * total_params(a)


def test_an_overridden_size_is_kept() -> None:
    a = CATALOG.variant("qwen3-30b-a3b").architecture
    f: Format = replace(CATALOG.format("gguf-mix"), whole_model_bpw=3.5)
    assert weights(a, f).bits_per_weight == pytest.approx(3.5, rel=1e-6)


def test_unsloth_dynamic_two_bit_of_r1() -> None:
    """unsloth/DeepSeek-R1-GGUF UD-Q2_K_XL: 226,601,595,040 bytes; a dense model takes about a bit more per weight."""
    f = CATALOG.format("gguf-ud-q2_k_xl")
    r1 = weights(CATALOG.variant("deepseek-r1").architecture, f, mla_layout=MlaLayout.JOINT)
    assert r1.total_bytes == pytest.approx(226_601_595_040, rel=0.005)
    assert 3.2 < weights(CATALOG.variant("qwen3-8b").architecture, f).bits_per_weight < 3.7
