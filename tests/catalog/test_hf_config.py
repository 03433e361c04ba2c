from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog import load_catalog
from advisor.catalog.errors import DataError, FathomError, UnsupportedError
from advisor.catalog.hf_config import variant_from_config, variant_from_text
from advisor.catalog.records import Architecture, Role
from advisor.sizing.tensors import main_tensors
from tests.catalog import configs


def _dims(architecture: Architecture, *ignored: str) -> dict[str, Any]:
    skipped = {"published_context", "max_position_embeddings", *ignored}
    return {name: getattr(architecture, name) for name in Architecture.__slots__ if name not in skipped}


def _read(config: dict[str, Any], name: str = "mine") -> Any:
    return variant_from_text(json.dumps(config), name)


@pytest.mark.parametrize(
    ("config", "variant_id", "native"),
    [
        (configs.R1, "deepseek-r1", "fp8-block"),
        (configs.V3_2, "deepseek-v3.2", "fp8-block"),
        (configs.V2_LITE, "deepseek-v2-lite", "bf16"),
        (configs.V4_FLASH, "deepseek-v4-flash", "v4-native"),
        (configs.R1_DISTILL_QWEN_7B, "deepseek-r1-distill-qwen-7b", "bf16"),
        (configs.R1_DISTILL_LLAMA_8B, "deepseek-r1-distill-llama-8b", "bf16"),
        (configs.R1_0528_QWEN3_8B, "deepseek-r1-0528-qwen3-8b", "bf16"),
        (configs.MOE_16B, "deepseek-moe-16b-chat", "bf16"),
        (configs.GPT_OSS_120B, "gpt-oss-120b", "mxfp4"),
        (configs.QWEN3_30B_A3B, "qwen3-30b-a3b", "bf16"),
        (configs.MIXTRAL_8X7B, "mixtral-8x7b", "bf16"),
        (configs.GEMMA3_27B, "gemma-3-27b", "bf16"),
        (configs.GEMMA2_9B, "gemma-2-9b", "fp32"),
        (configs.QWEN3_6_35B_A3B, "qwen3.6-35b-a3b", "bf16"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_config_gives_the_dimensions_of_the_catalogue(config: dict[str, Any], variant_id: str, native: str) -> None:
    found = _read(config)
    known = load_catalog().variant(variant_id)
    shared = ("shared_intermediate_size",) if variant_id.startswith("qwen3.6") else ()  # stated: equal to the default
    assert _dims(found.architecture, *shared) == _dims(known.architecture, *shared)
    assert found.native_format == native
    assert found.role is Role.USER


@pytest.mark.parametrize(
    ("config", "params"),
    [
        (configs.STARCODER2_3B, 3_030_371_328),  # total of the published safetensors files
        (configs.LLAMA4_MAVERICK, 400_711_848_960),  # language part
        (configs.CHATGLM3_6B, 6_243_584_000),
        (configs.MINICPM3_4B, 4_073_875_968),
        (configs.GLM_4_6, 352_797_829_024),
        (configs.MINIMAX_M2, 228_689_764_864),
    ],
    ids=["starcoder2", "llama4", "chatglm3", "minicpm3", "glm4_moe", "minimax_m2"],
)
def test_other_families_have_their_published_parameter_totals(config: dict[str, Any], params: int) -> None:
    assert sum(tensor.params for tensor in main_tensors(_read(config).architecture)) == params


def test_v4_1_nests_its_language_part() -> None:
    found = _read(configs.V4_1_FLASH)
    known = load_catalog().variant("deepseek-v4.1-flash")
    assert _dims(found.architecture, "vision") == _dims(known.architecture, "vision")
    assert found.native_format == "v4.1-native"
    assert "vision" in found.notes


@pytest.mark.parametrize(
    ("quantisation", "native"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "gptq", "bits": 4}, "gptq-int4"),
        ({"quant_method": "gptq", "bits": 8}, "gptq-int8"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bnb-nf4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, "bnb-nf4-double"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bnb-int8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8}}
                },
            },
            "int8-w8a8",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}, "input_activations": None}
                },
            },
            "w4a16-g32",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_quantised_checkpoints_name_their_format(quantisation: dict[str, Any], native: str) -> None:
    assert _read({**configs.R1_DISTILL_QWEN_7B, "quantization_config": quantisation}).native_format == native
    assert native in load_catalog().formats


def test_mlx_checkpoints_name_their_format() -> None:
    config = {**configs.R1_DISTILL_QWEN_7B, "quantization": {"group_size": 64, "bits": 4}}
    assert _read(config).native_format == "mlx-4bit"


def test_unknown_architecture_is_refused_by_name_and_says_what_is_missing() -> None:
    with pytest.raises(UnsupportedError, match=r"rwkv7 \(RWKV7ForCausalLM\).*rules.*missing.*llama"):
        _read({"model_type": "rwkv7", "architectures": ["RWKV7ForCausalLM"], "hidden_size": 2048})


def test_unknown_quantisation_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="'hqq' is not known"):
        _read({**configs.R1_DISTILL_QWEN_7B, "quantization_config": {"quant_method": "hqq"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": "4096"}, "hidden_size.*whole number above 0, got '4096'"),
        ({"hidden_size": -1}, "hidden_size.*whole number above 0"),
        ({"hidden_size": 0}, "hidden_size.*whole number above 0"),
        ({"hidden_size": True}, "hidden_size.*whole number above 0"),
        ({"hidden_size": 10**9}, "hidden_size.*less than or equal to 1048576"),
        ({"num_hidden_layers": 10**6}, "num_layers.*less than or equal to 2000"),
        ({"num_hidden_layers": None}, "num_hidden_layers.*whole number"),
        ({"num_key_value_heads": 5}, "n_kv_heads that divides n_heads = 28"),
        ({"vocab_size": [1]}, "vocab_size.*whole number"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings.*true or false"),
        ({"intermediate_size": None}, "intermediate_size for this architecture"),
        ({"quantization_config": "fp8"}, "quantization_config.*an object"),
        ({"model_type": 7}, "model_type.*a text"),
    ],
    ids=str,
)
def test_bad_dimensions_give_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as problem:
        _read({**configs.R1_DISTILL_QWEN_7B, **change})
    assert "config.json" in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model_type": "llama", "hidden_size": 40', "line 1, column 4.*valid JSON"),
        ("[1, 2]", "a JSON object, got list"),
        ("", "valid JSON"),
        ("[" * 200_000, "JSON of reasonable depth"),
        ('{"model_type": "llama", "hidden_size": ' + "9" * 5000 + "}", "JSON of reasonable depth and numbers"),
    ],
    ids=["truncated", "list", "empty", "deep", "huge number"],
)
def test_broken_json_gives_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        variant_from_text(text, "mine")


def test_a_file_of_50_mb_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(DataError, match="at most 2000000 bytes, got 50000000"):
        variant_from_config(path)


def test_a_folder_names_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "My-Model 7B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(configs.R1_DISTILL_QWEN_7B))
    assert variant_from_config(folder).id == "my-model-7b"
    assert variant_from_config(folder / "config.json").name == "My-Model 7B"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json: expected a readable file"):
        variant_from_config(tmp_path / "config.json")


_anything = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**13) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(
    base=st.sampled_from([configs.R1, configs.V4_FLASH, configs.V4_1_FLASH, configs.GPT_OSS_120B, configs.GEMMA3_27B]),
    data=st.data(),
)
def test_no_value_of_any_field_crashes_the_import(base: dict[str, Any], data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted({*base, *base.get("text_config", {})})))
    changed = {**base, field: data.draw(_anything)}
    if field in base.get("text_config", {}):
        changed = {**base, "text_config": {**base["text_config"], field: data.draw(_anything)}}
    with suppress(FathomError):  # the one expected kind of failure; any other exception fails this test
        assert _read(changed).architecture.num_layers > 0
