"""GGUF mixes on models outside the truth: sizes that the model cards of published files print, in GB."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.records import Architecture
from advisor.sizing.gguf import MlaLayout
from advisor.sizing.weights import weights

CATALOG = load_catalog()

# bartowski/Phi-3.5-mini-instruct-GGUF (llama.cpp b3600, importance matrix): one matrix for queries, keys and values
PHI_35_MINI = {
    "q8_0": 4.06, "q6_k": 3.14, "q5_k_m": 2.82, "q5_k_s": 2.64, "q4_k_m": 2.39, "q3_k_l": 2.09, "q3_k_m": 1.96,
    "q3_k_s": 1.68, "q2_k": 1.42, "iq4_xs": 2.06, "iq4_nl": 2.18, "iq3_m": 1.86, "iq3_xs": 1.63, "iq3_xxs": 1.51,
    "iq2_m": 1.32, "iq2_s": 1.22, "iq2_xs": 1.15, "iq2_xxs": 1.04, "iq1_m": 0.917, "iq1_s": 0.842,
}  # fmt: skip
# bartowski/phi-4-GGUF (b4456)
PHI_4 = {"q8_0": 15.58, "q6_k": 12.03, "q5_k_m": 10.60, "q5_k_s": 10.15, "q4_k_m": 9.05, "q4_k_s": 8.44, "iq4_nl": 8.38}
# RichardErkhov/unsloth_-_Qwen2.5-32B-Instruct-gguf, DevQuasar/unsloth.QwQ-32B-GGUF (no importance matrix)
QWEN_25_32B = {
    "iq3_m": 14.8, "iq3_s": 14.4, "iq3_xs": 13.7, "iq4_nl": 18.8, "iq4_xs": 17.9, "q2_k": 12.3, "q3_k_m": 15.9,
    "q3_k_l": 17.2, "q3_k_s": 14.4, "q4_0": 18.6, "q4_k_m": 19.9, "q4_k_s": 18.8, "q5_k_m": 23.3, "q6_k": 26.9,
    "q8_0": 34.8,
}  # fmt: skip
# Llama-3.1-70B as quantised by bartowski (importance matrix): the value matrix of 80-layer models gets more bits
LLAMA_31_70B = {
    "q8_0": 74.98, "q6_k": 57.89, "q5_k_m": 49.95, "q5_k_s": 48.66, "q4_k_m": 42.52, "q4_k_s": 40.35, "q4_0": 40.12,
    "iq4_xs": 37.90, "q3_k_l": 37.14, "q3_k_m": 34.27, "iq3_m": 31.94, "q3_k_s": 30.91,
}  # fmt: skip
# ikawrakow/mixtral-instruct-8x7b-quantized-gguf: eight experts, so 8-bit keys and values
MIXTRAL = {"q3_k_m": 22.4, "q3_k_s": 20.3, "q4_k_m": 28.4, "q5_k_s": 32.2}
# bartowski and legraphista DeepSeek-Coder-V2-Lite-Instruct (b3166): rows that do not fill blocks of 256 fall back
CODER_V2_LITE = {"q8_0": 16.70, "q6_k": 14.06, "q4_k_m": 10.36, "q3_k_m": 8.13, "q3_k_l": 8.46}


def gigabytes(a: Architecture, fmt: str, *, imatrix: bool | None = None, layout: MlaLayout = MlaLayout.SPLIT) -> float:
    return weights(a, CATALOG.format(f"gguf-{fmt}"), imatrix=imatrix, mla_layout=layout).total_bytes / 1e9


def architecture(model: str) -> Architecture:
    return CATALOG.variant(model).architecture


@pytest.mark.parametrize(("fmt", "published"), PHI_35_MINI.items())
def test_one_matrix_for_queries_keys_and_values(fmt: str, published: float) -> None:
    assert gigabytes(architecture("phi-3.5-mini"), fmt, imatrix=True) == pytest.approx(published, rel=0.0045)


@pytest.mark.parametrize(("fmt", "published"), PHI_4.items())
def test_phi_4(fmt: str, published: float) -> None:
    phi_4 = replace(
        architecture("phi-3.5-mini"),
        hidden_size=5120,
        num_layers=40,
        n_heads=40,
        n_kv_heads=10,
        head_dim=128,
        intermediate_size=17920,
        vocab_size=100352,
    )
    assert gigabytes(phi_4, fmt, imatrix=True) == pytest.approx(published, rel=0.001)


@pytest.mark.parametrize(("fmt", "published"), QWEN_25_32B.items())
def test_many_query_heads_per_key_head(fmt: str, published: float) -> None:
    assert gigabytes(architecture("deepseek-r1-distill-qwen-32b"), fmt) == pytest.approx(published, rel=0.003)


@pytest.mark.parametrize(("fmt", "published"), LLAMA_31_70B.items())
def test_eighty_layers(fmt: str, published: float) -> None:
    assert gigabytes(architecture("llama-3.1-70b"), fmt, imatrix=True) == pytest.approx(published, rel=0.0005)


@pytest.mark.parametrize(("fmt", "published"), MIXTRAL.items())
def test_eight_experts(fmt: str, published: float) -> None:
    assert gigabytes(architecture("mixtral-8x7b"), fmt) == pytest.approx(published, rel=0.007)


@pytest.mark.parametrize(("fmt", "published"), CODER_V2_LITE.items())
def test_rows_that_do_not_fill_a_block(fmt: str, published: float) -> None:
    found = gigabytes(
        architecture("deepseek-coder-v2-lite-instruct"), fmt, imatrix=True, layout=MlaLayout.JOINT
    )  # before the latent's up-projection was split
    assert found == pytest.approx(published, rel=0.001)


def test_smallest_types_have_their_own_exceptions() -> None:
    """IQ1 and IQ2 files keep 4-bit keys and values of 8-expert and of 80-layer models."""
    mixtral, large = architecture("mixtral-8x7b"), architecture("llama-3.1-70b")
    assert weights(mixtral, CATALOG.format("gguf-iq2_xs")).by_role["attn_k"] == 32 * 4096 * 1024 * 144 // 256
    assert weights(large, CATALOG.format("gguf-iq2_xs")).by_role["attn_v"] == 80 * 8192 * 1024 * 144 // 256


def test_an_unusual_width_takes_an_eight_bit_head() -> None:
    """llama.cpp gives the head 8 bit when its rows do not fill blocks, whatever the file type says."""
    narrow = architecture("qwen2-0.5b")
    head = weights(narrow, CATALOG.format("gguf-iq2_xs")).by_role["embedding"]  # tied
    assert head == narrow.vocab_size * narrow.hidden_size // 32 * 34
