"""A dropped-in config.json is sized like any other model; a bad one gets one clear message."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}


def _script() -> None:
    from advisor.ui import backend
    from advisor.ui.own_model_view import own_model
    from advisor.ui.state import begin

    begin()
    own_model(backend.catalog())


def _upload(content: bytes, name: str = "config.json") -> AppTest:
    app = AppTest.from_function(_script, default_timeout=60).run()
    app.file_uploader(key="own.upload").upload(name, content).run()
    return app


def test_llama_3_1_8b_has_its_published_size() -> None:
    app = _upload(json.dumps(LLAMA).encode())
    assert not app.exception
    assert not app.error
    facts = app.table[0].value
    assert "8,030,261,248" in facts.to_string()
    assert "131,072 B" in facts.to_string()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "JSON"),
        (b"[]", "config.json"),
        (b"\xff\xfe\x00\x01", "UTF-8"),
        (json.dumps({**LLAMA, "num_hidden_layers": None}).encode(), "num_hidden_layers"),
        (json.dumps({"model_type": "mamba", "architectures": ["MambaForCausalLM"]}).encode(), "amba"),
    ],
)
def test_a_bad_file_gets_one_clear_message(content: bytes, said: str) -> None:
    app = _upload(content)
    assert not app.exception
    assert len(app.error) == 1
    assert said in app.error[0].value.replace("\\", "")
