from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.text import texts
from advisor.cli import main
from advisor.commands import machine, probe, probe_fleet
from probes.engines.precision import RUNNABLE_FORMATS
from probes.fleet import NodeOutcome
from probes.result import State
from probes.spec import Kind
from probes.store import Store


@pytest.fixture(autouse=True)
def _store(monkeypatch, tmp_path):
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    monkeypatch.setenv("LC_ALL", "C")


def test_machine_as_json_says_what_is_missing(capsys):
    assert main(["machine", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["cpu"]["cores"] >= 1
    assert body["fingerprint"]
    assert all(note["text"] for note in body["notes"])


def test_machine_as_text_in_both_languages(capsys, monkeypatch):
    main(["machine"])
    assert "processor:" in capsys.readouterr().out
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    main(["machine"])
    assert "处理器" in capsys.readouterr().out


def test_a_model_that_cannot_fit_is_answered_not_started(capsys):
    assert main(["probe", "deepseek-v3", "--prompt", "16", "--json"]) == 3
    body = json.loads(capsys.readouterr().out)
    assert (body["state"], body["decode_tok_s"]) == ("refused", None)
    assert "TB" in body["error"]
    assert body["predicted"]["peak_bytes"]["value"] > 1.3e12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-model"], "no-such-model"),
        (["--format", "gguf-q4_k_m"], "no kernels for format"),
        (["--prompt", "0"], "prompt tokens"),
        (["--repeats", "-1"], "repeats"),
        (["--resume", "nothing", "--rate", "1"], "stored sustained run"),
        (["--import", "no-such-file.json"], "no-such-file.json"),
        (["--engine", "magic"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(capsys, words, message):
    try:
        code = main(["probe", *words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    error = capsys.readouterr().err.strip()
    assert code == 2
    assert message in error
    assert "\n" not in error


def test_export_and_import(tmp_path, capsys, result):
    Store().add(result("mine"))
    out = tmp_path / "out.json"
    assert main(["probe", "--export", str(out)]) == 0
    assert main(["probe", "--import", str(out)]) == 0
    assert "0 new" in capsys.readouterr().out


class _Measured:
    """A probe that has ended."""

    elapsed_s = 1.0

    def __init__(self, outcome):
        self._outcome = outcome

    def events(self):
        return ()

    def result(self):
        return self._outcome


@pytest.fixture
def no_store(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "probes.sqlite"
    monkeypatch.setenv("FATHOM_STORE", str(place))
    return Store(place)


def test_a_benchmark_is_shown_though_it_cannot_be_stored(monkeypatch, capsys, result, no_store):
    monkeypatch.setattr(machine, "ProbeProcess", lambda *_: _Measured(result("bench")))
    assert main(["machine", "--bench", "--device", "cpu", "--json"]) == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["bench"]["state"] == "done"
    assert "folder that can be written" in error


def test_a_fleet_is_gathered_though_it_cannot_be_stored(monkeypatch, capsys, result, spec, no_store):
    rows = [NodeOutcome(name, "cpu", result(name)) for name in ("a", "b")]
    monkeypatch.setattr(probe_fleet, "probe_fleet", lambda *_: iter(rows))
    assert probe_fleet.run_fleet(spec, "auto", as_json=True, store=no_store) == 0
    out, error = capsys.readouterr()
    assert [row["node"] for row in json.loads(out)["nodes"]] == ["a", "b"]
    assert error.count("folder that can be written") == 2


@pytest.mark.probe
def test_a_probe_from_end_to_end(capsys, monkeypatch, tiny):
    catalog = load_catalog()
    small = replace(catalog.variant("deepseek-r1-distill-qwen-1.5b"), id="tiny", architecture=tiny)
    monkeypatch.setattr(probe, "load_catalog", lambda: replace(catalog, variants={"tiny": small}))
    words = ["probe", "tiny", "--prompt", "8", "16", "--output", "4", "--repeats", "1", "--json"]
    code = main(words)
    body = json.loads(capsys.readouterr().out)
    assert code == 0, body["error"]
    for name in ("load_s", "peak_bytes", "prefill_tok_s", "ttft_ms", "decode_tok_s", "mbu", "bandwidth_bytes_per_s"):
        assert body[name] > 0
        assert {"value", "low", "high", "basis"} == set(body["predicted"][name])
    assert body["conditions"]["load_average"] is not None
    assert [p["at"]["prompt_tokens"] for p in body["points"] if p["name"] == "prefill"] == [8, 16]
    assert Store().get(body["id"]) is not None


def test_every_state_phase_and_flag_has_a_text():
    keys = set(texts("en"))
    source = "\n".join(p.read_text() for p in Path(__file__).parents[2].glob("probes/**/*.py"))
    phases = set(re.findall(r'\.phase\(\s*"(\w+)"', source))
    flags = set(re.findall(r'flags(?:\.append\(|\s*\+?=\s*[\[(])"(\w+)"', source)) | {"invalid_faster_than_memory"}
    assert len(phases) > 8
    assert len(flags) > 4
    wanted = (
        {f"probes.state.{s}" for s in State}
        | {f"probes.phase.{p}" for p in phases}
        | {f"probes.flag.{f}" for f in flags}
    )
    wanted |= {f"probes.kind.{k}" for k in Kind}
    assert wanted - keys == set()
    assert {k for k in texts("zh") if k.startswith("probes.")} == {k for k in keys if k.startswith("probes.")}


def test_runnable_formats_are_in_the_catalogue():
    assert set(RUNNABLE_FORMATS) <= set(load_catalog().formats)
