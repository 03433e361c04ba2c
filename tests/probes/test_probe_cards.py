"""Several NVIDIA cards, unlike and partly hidden: each figure comes from the card that computes."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from probes.codec import encode
from probes.cuda_visible import visible_cards
from probes.engines import torch_engine
from probes.engines.cuda_card import card_of
from probes.kinds import session as session_module
from probes.kinds.session import Session
from probes.measure import Reporter
from probes.nvidia import find_nvidia, gpu_energy_joules, gpu_state
from tests.probes.test_probe_machine import fake_nvml

UUIDS = ("GPU-000", "GPU-111", "GPU-222")
NAMES = ("NVIDIA A100-SXM4-40GB", "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3")


@pytest.fixture
def three_cards(monkeypatch):
    """NVML's order; the second is the fastest, and so CUDA's own first. Each has its own temperature and energy."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    nvml = fake_nvml(
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetName=lambda h: NAMES[h],
        nvmlDeviceGetTemperature=lambda h, s: 30 + h,
        nvmlDeviceGetTotalEnergyConsumption=lambda h: 1000 * (h + 1),
        nvmlDeviceGetHandleByPciBusId=lambda bus: {"00000000:1A:00.0": 1}[bus],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


@pytest.mark.parametrize(
    ("variable", "seen"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("2", [2]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("1,-1,2", [1]),
        ("1,7,2", [1]),
        ("1,1", []),
        ("GPU-222,GPU-000", [2, 0]),
        ("GPU-11", [1]),
        ("GPU-", []),  # the beginning of all three
        ("GPU-222,1", [2]),
        ("MIG-0a1b", []),
    ],
)
def test_the_variable_is_read_as_the_driver_reads_it(variable, seen):
    assert visible_cards(UUIDS, variable) == seen


def test_hidden_cards_are_not_offered_and_numbers_are_those_of_cuda(three_cards, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    cards, notes = find_nvidia()
    assert [(c.torch_device, c.index, c.uuid) for c in cards] == [("cuda:0", 2, "GPU-222"), ("cuda:1", 0, "GPU-000")]
    assert notes == [("nvidia_hidden", "GPU 1")]


def test_unlike_cards_in_the_order_of_speed_go_by_uuid(three_cards, monkeypatch):
    assert [c.torch_device for c in find_nvidia()[0]] == ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert [c.torch_device for c in find_nvidia()[0]] == [f"cuda:{uuid}" for uuid in UUIDS]


def test_gauges_and_energy_come_from_the_named_card(three_cards):
    assert (gpu_state("GPU-222")["temperature_c"], gpu_energy_joules("GPU-222")) == (32.0, 3.0)
    assert (gpu_state("00000000:1A:00.0")["temperature_c"], gpu_energy_joules("00000000:1A:00.0")) == (31.0, 2.0)
    assert (gpu_state(""), gpu_energy_joules("")) == ({}, None)  # a card that torch does not name is never guessed


@pytest.mark.parametrize(
    ("facts", "card"),
    [
        ({"uuid": "222", "pci_domain_id": 0, "pci_bus_id": 1, "pci_device_id": 0}, "GPU-222"),
        ({"pci_domain_id": 0, "pci_bus_id": 26, "pci_device_id": 0}, "00000000:1A:00.0"),
        ({}, ""),
    ],
)
def test_the_child_names_its_card_as_nvml_does(monkeypatch, facts, card):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(**facts))
    assert card_of(torch.device("cuda", 0)) == card
    assert card_of(torch.device("cpu")) is None


def test_a_run_reads_the_card_that_computes_not_the_one_of_its_number(three_cards, monkeypatch, spec):
    """CUDA's first is NVML's second here."""
    monkeypatch.setattr(session_module, "card_of", lambda device: "GPU-111")
    session = Session(spec, Reporter(lambda *_: None, lambda _: None))
    before = session.energy()
    three_cards.nvmlDeviceGetTotalEnergyConsumption = lambda h: 1000 * (h + 1) + 7000 * (h == 1)
    assert (before.source, session.joules_since(before)) == ("nvml", 7.0)
    assert session.conditions().gpu["temperature_c"] == 31.0
    assert "throttled" in session.conditions().warnings
    three_cards.nvmlDeviceGetCurrentClocksThrottleReasons = lambda h: 0x4 * (h != 1)
    assert "throttled" not in session.conditions().warnings


SHOW = """
import os, sys
from probes import worker
def tell(spec, channel):
    raise ValueError([os.environ.get("CUDA_DEVICE_ORDER"), os.environ.get("CUDA_VISIBLE_DEVICES")])
worker._measure = tell
sys.exit(worker.main())
"""


@pytest.mark.parametrize(
    ("device", "own", "shown"),
    [
        ("cuda:0", {}, "['PCI_BUS_ID', None]"),
        ("cuda:0", {"CUDA_VISIBLE_DEVICES": "2,0"}, "['PCI_BUS_ID', '2,0']"),
        ("cuda:0", {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, "['FASTEST_FIRST', None]"),
        ("cuda:GPU-111", {"CUDA_VISIBLE_DEVICES": "0,1"}, "['PCI_BUS_ID', 'GPU-111']"),
    ],
)
def test_the_child_numbers_cards_as_its_parent_does(child, monkeypatch, device, own, shown):
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    assert shown in child(SHOW, device=device).result().error
    assert {name: os.environ[name] for name in own} == own


def test_a_device_by_uuid_is_the_only_one_that_the_child_sees(monkeypatch, spec):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert torch_engine.select_device("cuda:GPU-111") == torch.device("cuda", 0)
    assert torch_engine.select_device("cuda:1") == torch.device("cuda", 1)
    assert encode(replace(spec, device="cuda:GPU-111"))["device"] == "cuda:GPU-111"
