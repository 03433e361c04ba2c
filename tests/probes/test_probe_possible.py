"""What this machine cannot compute is answered before anything is started."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import InputError, NotHereError
from advisor.cli import main
from advisor.commands import probe as probe_command
from probes import fleet
from probes.codec import encode
from probes.foresee import foresee
from probes.machine import detect
from probes.machine_records import Accelerator
from probes.possible import computes, refuse_impossible
from probes.spec import EngineName, Kind, ProbeSpec, SweepAxis

SMALL = "deepseek-r1-distill-qwen-1.5b"


@pytest.fixture
def machine():
    cards = (
        Accelerator(0, "nvidia", "NVIDIA H100 80GB HBM3", 85_520_809_984, "cuda:0", compute_capability=9.0),
        Accelerator(1, "nvidia", "NVIDIA A100-SXM4-80GB", 85_520_809_984, "cuda:1", compute_capability=8.0),
        Accelerator(2, "amd", "AMD Instinct MI355X", 300 * 10**9, "cuda:2"),
        Accelerator(3, "intel", "Intel Arc Pro B60", 24 * 2**30),
    )
    return replace(detect(), accelerators=cards)


@pytest.fixture(autouse=True)
def _store(monkeypatch, tmp_path):
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    monkeypatch.setenv("LC_ALL", "C")


@pytest.mark.parametrize(
    ("format_id", "device", "possible"),
    [
        ("fp8", "cuda:0", True),
        ("fp8", "cuda:1", False),
        ("fp8", "cuda:2", True),  # does not tell: the probe will see
        ("fp8", "cpu", False),
        ("bf16", "cpu", True),
        ("int8", "cuda:1", True),
    ],
)
def test_formats_by_device(machine, format_id, device, possible):
    assert computes(format_id, device, machine) is possible
    spec = ProbeSpec("x", format_id, device=device)
    if possible:
        refuse_impossible(spec, machine)
        return
    with pytest.raises(NotHereError, match=r"compute capability 8\.9"):
        refuse_impossible(spec, machine)


def test_a_format_in_a_sweep_counts(machine):
    spec = ProbeSpec("x", "bf16", kind=Kind.SWEEP, sweep_axis=SweepAxis.FORMAT, sweep_formats=("bf16", "fp8"))
    with pytest.raises(NotHereError, match="fp8"):
        refuse_impossible(spec, machine)
    refuse_impossible(replace(spec, device="cuda:0"), machine)


@pytest.mark.parametrize("device", ["xpu:0", "npu:0", "cuda:7", "cuda", "mps"])
def test_a_device_that_is_not_here_is_named(machine, device):
    """It must not be foreseen as if the processors computed."""
    spec = ProbeSpec(SMALL, "bf16", load_catalog().variant(SMALL).architecture, device=device)
    with pytest.raises(InputError, match="cpu, cuda:0, cuda:1, cuda:2"):
        foresee(spec, machine, load_catalog())


def test_engines_of_processors_refuse_an_accelerator(machine):
    for engine in (EngineName.OPENVINO, EngineName.ORT):
        with pytest.raises(NotHereError, match="processors only"):
            refuse_impossible(ProbeSpec("x", "bf16", device="cuda:0", engine=engine), machine)


@pytest.mark.parametrize(("language", "words"), [("C", "compute capability 8.9"), ("zh_CN.UTF-8", "计算能力 8.9")])
def test_the_command_answers_and_starts_nothing(capsys, monkeypatch, language, words):
    monkeypatch.setenv("LC_ALL", language)
    monkeypatch.setattr(probe_command, "ProbeProcess", None)
    assert main(["probe", SMALL, "--format", "fp8", "--json"]) == 3
    body = json.loads(capsys.readouterr().out)
    assert (body["state"], body["predicted"], body["remark"]) == ("refused", {}, "")
    assert words in body["error"]
    assert main(["probe", SMALL, "--format", "fp8"]) == 3
    assert words in capsys.readouterr().out


def test_a_node_of_a_fleet_answers_too(monkeypatch):
    monkeypatch.setattr(fleet, "ProbeProcess", None)
    spec = ProbeSpec(SMALL, "fp8", load_catalog().variant(SMALL).architecture)
    answer = json.loads(fleet.measure_here(json.dumps(encode(spec))))
    assert answer["state"] == "refused"
    assert "compute capability 8.9" in answer["error"]
