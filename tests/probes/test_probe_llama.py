"""llama.cpp's benchmark, played by a script on PATH, with a file that is given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from probes.engines import llama_bench
from probes.engines.base import EngineUnavailableError, InvalidOutputError
from probes.kinds import llama
from probes.process import Identity, ProbeProcess
from probes.result import State
from probes.spec import EngineName, Kind, SweepAxis

ROWS = [
    {"build_commit": "abc", "build_number": 7000, "model_size": 4_000_000, "model_n_params": 7_000_000, "n_prompt": 16,
     "n_gen": 0, "avg_ts": 100.0, "samples_ts": [99.0, 100.0, 101.0]},
    {"build_commit": "abc", "build_number": 7000, "model_size": 4_000_000, "model_n_params": 7_000_000, "n_prompt": 0,
     "n_gen": 8, "avg_ts": 20.0, "samples_ts": [19.0, 20.0, 21.0]},
]  # fmt: skip


@pytest.fixture
def tool(tmp_path, monkeypatch, spec):
    """Installs a llama-bench that prints what it is given; returns a spec for it."""

    def install(output: str, code: int = 0):
        script = tmp_path / "llama-bench"
        script.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\necho 'error: bad model' >&2\nexit {code}\n")
        script.chmod(0o755)
        model = tmp_path / "model.gguf"
        model.write_bytes(b"GGUF")
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return replace(spec, engine=EngineName.LLAMACPP, format_id="gguf-q4_0", checkpoint=str(model))

    return install


def test_rows_are_read(tool):
    rows, _ = _bench(tool(json.dumps(ROWS)))
    assert [(r.prompt_tokens, r.output_tokens) for r in rows] == [(16, 0), (0, 8)]
    assert rows[1].tok_s == (19.0, 20.0, 21.0)
    assert rows[0].version == "abc 7000"


@pytest.mark.parametrize(
    "output", ["", "not json", "{}", "[1]", '[{"n_prompt": 1}]', '[{"n_prompt": "x", "n_gen": 1}]']
)
def test_garbage_is_explained(tool, output):
    with pytest.raises(InvalidOutputError, match="result table"):
        _bench(tool(output))


def test_a_failing_tool_gives_its_last_line(tool):
    with pytest.raises(InvalidOutputError, match=r"code 1: error: bad model"):
        _bench(tool("", code=1))


def test_a_missing_tool_is_said(tool, monkeypatch):
    spec = tool("[]")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EngineUnavailableError, match="not on PATH"):
        _bench(spec)


def test_a_missing_file_is_said(tool, tmp_path):
    spec = replace(tool(json.dumps(ROWS)), checkpoint=str(tmp_path / "none.gguf"))
    result = ProbeProcess(spec, Identity("p", "f", "m")).result()
    assert result.state is State.FAILED
    assert "no GGUF file at" in result.error


def _bench(spec):
    return llama_bench.bench(spec, Path(spec.checkpoint), threads=1)


@pytest.mark.probe
def test_a_probe_through_the_tool(tool):
    result = ProbeProcess(tool(json.dumps(ROWS)), Identity("p", "f", "m")).result()
    assert result.state is State.DONE, result.error
    assert result.decode_tok_s is not None
    assert result.ttft_ms is not None
    assert (result.decode_tok_s.value, result.ttft_ms.value) == (20.0, 160.0)
    assert result.versions == {"llama.cpp": "abc 7000, llama-bench"}
    assert result.tensor_bytes == 4_000_000
    seen = result.conditions
    assert result.mbu is not None
    assert seen.canary_before_bytes_per_s
    assert seen.canary_after_bytes_per_s
    beside = (seen.canary_before_bytes_per_s + seen.canary_after_bytes_per_s) / 2
    assert result.mbu.value == pytest.approx(20.0 * 4_000_000 / beside)


@pytest.mark.probe
def test_a_tool_that_reads_faster_than_memory_is_not_believed(tool):
    rows = [ROWS[0], {**ROWS[1], "avg_ts": 5e6, "samples_ts": [5e6, 5e6, 5e6]}]  # 20 TB/s
    result = ProbeProcess(tool(json.dumps(rows)), Identity("p", "f", "m")).result()
    assert result.state is State.INVALID
    assert "invalid_faster_than_memory" in result.flags


def test_sequences_together_are_measured_together_or_refused(tool, monkeypatch):
    """llama-bench is on PATH and would answer for one sequence."""
    several = replace(tool(json.dumps(ROWS)), batch=4)
    monkeypatch.setattr(llama, "find_libllama", lambda: "libllama.so")
    assert llama.means_of(several) is llama.Means.LIBRARY
    assert llama.means_of(replace(several, batch=1)) is llama.Means.BENCH
    monkeypatch.setattr(llama, "find_libllama", lambda: None)
    with pytest.raises(EngineUnavailableError, match="a batch of 4 needs libllama"):
        llama.means_of(several)


def test_a_server_is_not_asked_for_sequences_together(tool, monkeypatch, tmp_path):
    """It would be sent one request at a time; a sweep over batches and a load send as many as they say."""
    several = replace(tool("[]"), batch=2, kind=Kind.SWEEP, sweep_axis=SweepAxis.CONTEXT, sweep_values=(16, 32))
    (tmp_path / "llama-bench").rename(tmp_path / "llama-server")
    monkeypatch.setattr(llama, "find_libllama", lambda: None)
    with pytest.raises(EngineUnavailableError, match="one request at a time"):
        llama.means_of(several)
    with pytest.raises(EngineUnavailableError, match="one request at a time"):
        llama.means_of(replace(several, kind=Kind.FULL, sweep_axis=None, sweep_values=()))
    assert llama.means_of(replace(several, sweep_axis=SweepAxis.BATCH)) is llama.Means.SERVER
