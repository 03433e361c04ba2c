"""Which model the command line measures: catalogue ids, a config.json, folders with safetensors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import DataError, UnknownIdError
from advisor.cli import main
from advisor.commands.probe_model import find_model
from advisor.commands.probe_spec import add_spec_arguments, spec_from
from probes.foresee import foresee
from probes.machine import detect
from probes.place import with_own

SMALL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 8192,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
QWEN_1_5B = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_spec_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as one downloads it; the weights are not read here."""
    made = tmp_path / "my-model"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(SMALL))
    (made / "model.safetensors").write_bytes(b"")
    return made


def test_a_config_gives_its_own_architecture_and_is_foreseen(folder):
    catalog = load_catalog()
    spec = spec_from(parsed(str(folder / "config.json"), "--prompt", "16", "--output", "4"), catalog)
    assert spec.architecture is not None
    assert (spec.variant_id, spec.architecture.num_layers, spec.checkpoint) == ("my-model", 6, None)
    found = foresee(spec, detect(), with_own(catalog, spec))
    assert found.unknown == ""
    assert found.prediction.decode_tok_s is not None
    # 2 embeddings of 8192 x 512; per layer q, o 512 x 512, k, v 256 x 512, 3 of 1536 x 512, two norms; one norm; bf16
    parameters = 2 * 8192 * 512 + 6 * (2 * 512 * 512 + 2 * 256 * 512 + 3 * 1536 * 512 + 2 * 512) + 512
    assert found.need.tensor_bytes == 2 * parameters


def test_a_config_with_known_dimensions_is_the_known_model(tmp_path):
    path = tmp_path / "whatever.json"
    path.write_text(json.dumps(QWEN_1_5B))
    assert find_model(parsed(str(path)), load_catalog()).variant_id == "deepseek-r1-distill-qwen-1.5b"


def test_another_model_never_takes_a_known_name(folder):
    taken = folder.rename(folder.parent / "deepseek-r1-distill-qwen-1.5b")
    found = find_model(parsed(str(taken / "config.json")), load_catalog())
    assert found.variant_id == "own-deepseek-r1-distill-qwen-1.5b"


def test_a_checkpoint_names_its_own_model(folder):
    assert find_model(parsed("--checkpoint", str(folder)), load_catalog()).variant_id == "my-model"


def test_an_id_that_is_not_known_stays_an_error():
    with pytest.raises(UnknownIdError):
        find_model(parsed("no-such-model"), load_catalog())


@pytest.mark.parametrize(
    ("missing", "got"), [("my-model", "nothing of this name"), ("config.json", "no config.json"), ("model", "no safet")]
)
def test_a_wrong_folder_is_one_line_before_anything_starts(folder, capsys, missing, got):
    if missing == "my-model":
        folder = folder / "gone"
    for path in folder.glob(f"{missing}*"):
        path.unlink()
    assert main(["probe", "--checkpoint", str(folder)]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "a folder with config.json and safetensors" in shown
    assert got in shown


def test_a_checkpoint_of_another_model_is_refused(folder):
    with pytest.raises(DataError, match=r"config\.json.*deepseek-coder-1\.3b-base.*my-model"):
        find_model(parsed("deepseek-coder-1.3b-base", "--checkpoint", str(folder)), load_catalog())


def test_a_config_that_is_too_large_is_an_answer(folder, capsys):
    huge = {**SMALL, "num_hidden_layers": 120, "hidden_size": 16384, "intermediate_size": 53248}
    (folder / "config.json").write_text(json.dumps({**huge, "num_attention_heads": 128, "num_key_value_heads": 8}))
    assert main(["probe", str(folder / "config.json"), "--no-store"]) == 3
    assert "not started" in capsys.readouterr().out
