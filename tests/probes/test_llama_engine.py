"""llama.cpp for real, on tiny synthetic files: in process, and as a server on PATH."""

from __future__ import annotations

import sys
from dataclasses import replace

import psutil
import pytest

from advisor.catalog.errors import InputError, UnsupportedError
from advisor.catalog.load import load_catalog
from probes.engines import libllama
from probes.engines.base import EngineUnavailableError, InvalidOutputError
from probes.engines.factory import make_engine
from probes.engines.libllama import find_libllama, open_library
from probes.engines.llama_server import llama_server
from probes.gguf.synthetic import write_gguf
from probes.kinds.llama import Means, means_of
from probes.layers import LayerCount
from probes.process import Identity, ProbeProcess
from probes.result import State
from probes.spec import EngineName, Kind, LoadTarget, SweepAxis
from tests.probes.test_gguf_file import LATENT, SHAPES

pytest.importorskip("gguf", reason="the package gguf is not installed")
needs_library = pytest.mark.skipif(find_libllama() is None, reason="no libllama: xllamacpp is not installed")
CATALOG = load_catalog()

SERVER = """#!{python}
import argparse, sys, time
import xllamacpp as x
parser = argparse.ArgumentParser()
for name in ("-m", "--host", "--port", "-t", "-c", "-np", "-ngl"):
    parser.add_argument(name)
parser.add_argument("--metrics", action="store_true")
parser.add_argument("--version", action="store_true")
a = parser.parse_args()
if a.version:
    sys.exit(print("version: xllamacpp " + x.__version__))
p = x.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.cpuparams.n_threads = a.m, int(a.c), int(a.np), int(a.t)
p.hostnames = [a.host]
p.port, p.endpoint_metrics, p.warmup = int(a.port), a.metrics, False
server = x.Server(p)
while True:
    time.sleep(1)
"""


@pytest.fixture(autouse=True)
def gpus_stay_visible(monkeypatch):
    """A library opened in this process hides GPUs; the tests after these are to see theirs."""
    for name in libllama._GPU_LISTS:
        monkeypatch.setenv(name, "")


@pytest.fixture
def gguf_spec(tmp_path, monkeypatch, spec):
    """A spec whose synthetic files live in this test's folder, with no program of llama.cpp on PATH."""
    monkeypatch.setenv("FATHOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return replace(spec, engine=EngineName.LLAMACPP, format_id="gguf-q4_0", threads=1)


@needs_library
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mix", ["gguf-f16", "gguf-q4_k_m", "gguf-q2_k", "gguf-iq3_xxs", "gguf-mxfp4"])
def test_every_shape_and_mix_computes(gguf_spec, shape, mix):
    """Loads, gives finite logits (the engine checks), keeps one cache per slot."""
    engine = make_engine(replace(gguf_spec, architecture=SHAPES[shape], format_id=mix), slots=2, tokens=64)
    engine.load()
    try:
        assert engine.prefill(20) > 0
        assert len(engine.decode(24, 2, 3)) == 3
        assert engine.step({0: 24, 1: 30}) > 0
        assert engine.read_bytes(24, 1) < engine.read_bytes(24, 2)
        assert engine.peak_device_bytes() is None
        assert "in process" in engine.versions()["llama.cpp"]
    finally:
        engine.close()


@needs_library
def test_a_prompt_longer_than_one_call_and_than_the_cache(gguf_spec):
    engine = make_engine(gguf_spec, slots=1, tokens=2300)
    engine.load()
    engine.prefill(2200)
    engine.prefill(2048)
    with pytest.raises(InputError, match="at most 2304"):
        engine.prefill(2400)
    engine.close()


@needs_library
def test_a_file_that_llama_cpp_cannot_load_is_explained(gguf_spec, tmp_path):
    """An MLA file without query latent is refused by llama.cpp unless it has V2-Lite's 27 layers."""
    path = tmp_path / "broken.gguf"
    write_gguf(path, replace(LATENT, q_lora_rank=None), CATALOG.format("gguf-q4_0"))
    engine = make_engine(replace(gguf_spec, checkpoint=str(path)), slots=1, tokens=64)
    with pytest.raises(InvalidOutputError, match=r"cannot load broken\.gguf: .*q_lora_rank"):
        engine.load()


def test_slices_and_missing_libraries_are_refused(gguf_spec, monkeypatch):
    if find_libllama():
        with pytest.raises(UnsupportedError, match="not single layers"):
            make_engine(gguf_spec, slots=1, tokens=64, layers=LayerCount(1, 0))
    with pytest.raises(UnsupportedError, match="not a slice probe"):
        means_of(replace(gguf_spec, kind=Kind.SLICE))
    monkeypatch.setattr(libllama, "_CARRIERS", ())
    monkeypatch.setattr(libllama, "find_library", lambda _: None)
    with pytest.raises(EngineUnavailableError, match="pip install xllamacpp"):
        open_library()
    monkeypatch.setenv("LLAMA_CPP_LIB", sys.executable)
    with pytest.raises(EngineUnavailableError, match="LLAMA_CPP_LIB cannot be used here"):
        open_library()


@needs_library
@pytest.mark.probe
def test_a_whole_probe_in_process(gguf_spec):
    result = ProbeProcess(gguf_spec, Identity("p", "f", "m")).result()
    assert result.state is State.DONE, result.error
    assert result.decode_tok_s is not None
    assert result.prefill_tok_s is not None
    assert result.peak_bytes > result.tensor_bytes > 1_000_000
    assert result.bandwidth_bytes_per_s is not None
    assert "fits_in_cache" in result.flags


@needs_library
@pytest.mark.probe
@pytest.mark.parametrize(
    ("axis", "values", "points"),
    [(SweepAxis.CONTEXT, (16, 300), 2), (SweepAxis.FORMAT, (), 2)],
)
def test_sweeps_in_process(gguf_spec, axis, values, points):
    swept = replace(
        gguf_spec, kind=Kind.SWEEP, sweep_axis=axis, sweep_values=values, sweep_formats=("gguf-q4_0", "gguf-q8_0"),
        output_tokens=4,
    )  # fmt: skip
    result = ProbeProcess(swept, Identity("p", "f", "m")).result()
    assert result.state is State.DONE, result.error
    assert len([p for p in result.points if p.name == "decode"]) == points


@needs_library
@pytest.mark.probe
def test_sequences_together_in_process(gguf_spec):
    """With llama-bench on PATH or without: all of them are decoded, and the point says how many."""
    result = ProbeProcess(replace(gguf_spec, batch=3), Identity("p", "f", "m")).result()
    assert result.state is State.DONE, result.error
    (point,) = [p for p in result.points if p.name == "decode"]
    assert point.at["batch"] == 3
    assert point.values["output_tok_s"].value == pytest.approx(3 * point.values["decode_tok_s"].value)


@needs_library
@pytest.mark.probe
def test_sustained_load_in_process(gguf_spec):
    load = LoadTarget(requests_per_s=20.0, duration_s=1.0, slots=2)
    result = ProbeProcess(replace(gguf_spec, kind=Kind.SUSTAINED, load=load), Identity("p", "f", "m")).result()
    assert result.state is State.DONE, result.error
    assert result.figures["finished_requests"].value > 5


@pytest.fixture
def server_on_path(gguf_spec, tmp_path, monkeypatch):
    """A `llama-server` that is one: the server inside xllamacpp, with llama-server's options."""
    pytest.importorskip("xllamacpp", reason="the package xllamacpp is not installed")
    script = tmp_path / "bin" / "llama-server"
    script.parent.mkdir()
    script.write_text(SERVER.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    return gguf_spec


@pytest.mark.probe
def test_a_whole_probe_through_the_server(server_on_path):
    assert means_of(server_on_path) is Means.SERVER
    result = ProbeProcess(server_on_path, Identity("p", "f", "m")).result()
    assert result.state is State.DONE, result.error
    assert result.decode_tok_s is not None
    assert result.load_s is not None
    assert result.peak_bytes > result.tensor_bytes
    assert "llama-server" in result.versions["llama.cpp"]
    assert result.figures["server.llamacpp:tokens_predicted_total"].value >= 16
    assert _servers() == []


@pytest.mark.probe
def test_the_server_ends_with_the_probe(server_on_path):
    """Killed in the middle, from outside: nothing is left running."""
    load = LoadTarget(requests_per_s=2.0, duration_s=60.0, slots=1)
    process = ProbeProcess(replace(server_on_path, kind=Kind.SUSTAINED, load=load), Identity("p", "f", "m"))
    for event in process.events():
        if event.phase == "sustained" or event.phase == "connect":
            break
    assert len(_servers()) == 1
    psutil.Process(process.pid).kill()
    result = process.result()
    assert result.state is State.FAILED
    psutil.wait_procs(_servers(), timeout=5)
    assert _servers() == []


def test_a_server_that_dies_at_once_is_explained(server_on_path, tmp_path):
    (tmp_path / "bin" / "llama-server").write_text("#!/bin/sh\necho 'error: unknown model' >&2\nexit 3\n")
    expected = pytest.raises(InvalidOutputError, match=r"llama-server ended with code 3: error: unknown model")
    with expected, llama_server(server_on_path, tmp_path / "model.gguf", 1):
        pass


def _servers() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("/llama-server") for word in words) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


