"""The engines of the probe form: what is installed can be chosen, the rest is shown with what it lacks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.ui import probe_engine, probing
from probes.machine import detect
from probes.machine_records import Accelerator
from probes.spec import EngineName
from tests.probes.test_probe_model import SMALL
from tests.ui.conftest import OpenPage

MISSING = {
    EngineName.LLAMACPP: "llama-bench, xllamacpp",
    EngineName.OPENVINO: "openvino",
    EngineName.ORT: "onnxruntime",
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_missing_engine_is_shown_disabled(
    open_page: OpenPage, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_engine, "missing_engines", lambda: MISSING)
    app = open_page("machine", language=language)
    assert app.selectbox(key="probe.engine").options[0] == "PyTorch"
    assert len(app.selectbox(key="probe.engine").options) == 1
    absent = app.pills(key="probe.absent")
    assert absent.disabled
    assert "xllamacpp" in absent.proto.help


def test_llama_cpp_offers_its_formats_and_a_file(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("FATHOM_CACHE", str(tmp_path))
    monkeypatch.setattr(probe_engine, "missing_engines", lambda: {EngineName.OPENVINO: "openvino"})
    app = open_page("machine")
    app.selectbox(key="probe.engine").set_value("llama.cpp").run()
    assert "GGUF Q4_K_M" in app.selectbox(key="probe.format").options
    assert app.selectbox(key="probe.format").value == "gguf-q4_k_m"
    app.text_input(key="probe.gguf").set_value("/nowhere/model.gguf").run()
    assert not app.exception
    assert any("/nowhere/model.gguf" in text.value for text in [*app.error, *app.warning, *app.markdown])


def test_openvino_offers_what_its_graph_can_hold(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_engine, "missing_engines", dict)
    app = open_page("machine")
    app.selectbox(key="probe.engine").set_value("openvino").run()
    assert not app.exception
    assert len(app.selectbox(key="probe.format").options) == 6
    app.segmented_control(key="probe.kind").set_value("sustained").run()
    assert "OpenVINO" not in app.selectbox(key="probe.engine").options


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_checkpoint_folder_names_its_model_and_a_wrong_one_is_named(
    open_page: OpenPage, language: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probe_engine, "missing_engines", dict)
    app = open_page("machine", language=language)
    folder = tmp_path / "my-model"
    app.text_input(key="probe.checkpoint").set_value(str(folder)).run()
    assert not app.exception
    assert any("my-model" in text.value for text in [*app.error, *app.warning, *app.markdown])
    assert not [b for b in app.button if b.key == "probe.start"]
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SMALL))
    (folder / "model.safetensors").write_bytes(b"")
    app.run()
    assert not app.exception
    assert any("my-model" in text.value for text in app.caption)
    assert not app.button(key="probe.start").disabled


def test_the_weights_of_a_slice_are_made_up(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_engine, "missing_engines", dict)
    app = open_page("machine")
    app.segmented_control(key="probe.kind").set_value("slice").run()
    assert not app.exception
    assert not [field for field in app.text_input if field.key == "probe.checkpoint"]


def test_fp8_is_offered_where_torch_can_multiply_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [Accelerator(i, "nvidia", "X", 2**34, f"cuda:{i}", compute_capability=c) for i, c in enumerate((8.9, 8.6))]
    here = replace(detect(), accelerators=tuple(cards))
    monkeypatch.setattr(probing, "machine", lambda: here)
    assert "fp8" not in probing.probe_formats(device="cuda:1")
    assert "fp8" in probing.probe_formats(device="cuda:0")
    assert "fp8" not in probing.probe_formats(device="cpu")
    assert "bf16" in probing.probe_formats(device="mps")
