"""A card cut up by MIG: two slices of an A100 with 40 GB (`nvidia-smi mig -lgip`), and a whole H100 beside."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from advisor.catalog import load_catalog
from advisor.decision.offers import offers
from advisor.decision.recommend import recommend
from advisor.evidence.in_force import with_measurements
from advisor.sizing.size import size
from probes.card_part import device_here
from probes.cuda_visible import cuda_environment
from probes.engines.cuda_card import card_of
from probes.foresee import foresee, load_of
from probes.machine import detect, match_device
from probes.nvidia import find_nvidia, gpu_energy_joules, gpu_state
from probes.place import place_of, plan_at
from probes.result import Measured, ProbeResult, State
from probes.spec import ProbeSpec
from tests.decision.conftest import make_scenario
from tests.probes.test_probe_machine import fake_nvml

SMALL, LARGE = "deepseek-r1-distill-qwen-1.5b", "deepseek-r1-distill-qwen-7b"
CARD_MIB = 40_536
SLICES = {  # handle: memory in MiB, multiprocessors, slices of the GPU
    "slice-a": (4_864, 14, 1),
    "slice-b": (20_096, 42, 3),
}


@pytest.fixture
def nvml(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    module = fake_nvml(nvmlDeviceGetCount=lambda: 2)

    def slice_of(card: object, index: int) -> str:
        if card != 0 or index not in (0, 2):  # the second was destroyed
            raise module.NVMLError("Not Found")
        return "slice-a" if index == 0 else "slice-b"

    def attributes(handle: object) -> SimpleNamespace:
        mib, units, cut = SLICES[str(handle)]
        return SimpleNamespace(
            multiprocessorCount=units, gpuInstanceSliceCount=cut, computeInstanceSliceCount=cut, memorySizeMB=mib
        )

    def memory(handle: object) -> SimpleNamespace:
        mib = {**{name: row[0] for name, row in SLICES.items()}, 0: CARD_MIB, 1: 81_559}[handle]
        return SimpleNamespace(total=mib * 2**20, free=(mib - 100) * 2**20)

    module.nvmlDeviceGetMigMode = lambda h: [int(h == 0), int(h == 0)]
    module.nvmlDeviceGetMaxMigDeviceCount = lambda h: 7
    module.nvmlDeviceGetMigDeviceHandleByIndex = slice_of
    module.nvmlDeviceGetAttributes = attributes
    module.nvmlDeviceGetMemoryInfo = memory
    module.nvmlDeviceGetName = lambda h: "NVIDIA H100 80GB HBM3" if h == 1 else "NVIDIA A100-SXM4-40GB"
    module.nvmlDeviceGetUUID = lambda h: f"MIG-{h}" if h in SLICES else f"GPU-{h}{h}{h}"
    module.nvmlDeviceGetHandleByUUID = lambda uuid: {
        "MIG-slice-a": "slice-a", "MIG-slice-b": "slice-b", "GPU-000": 0, "GPU-111": 1
    }[uuid]  # fmt: skip
    module.nvmlDeviceGetDeviceHandleFromMigDeviceHandle = lambda h: {"slice-a": 0, "slice-b": 0}[h]
    module.nvmlDeviceGetTemperature = lambda h, s: 30 + h
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


def spec_on(catalog, device: str, variant_id: str = SMALL) -> ProbeSpec:
    return ProbeSpec(variant_id, "bf16", catalog.variant(variant_id).architecture, device=device)


def machine_here():
    return replace(detect(), accelerators=tuple(find_nvidia()[0]), fingerprint="mig")


def test_slices_are_devices_and_their_card_is_none(nvml):
    found, notes = find_nvidia()
    assert notes == []
    assert [(a.name, a.torch_device, a.memory_bytes // 2**20) for a in found] == [
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "cuda:MIG-slice-a", 4_864),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", "cuda:MIG-slice-b", 20_096),
        ("NVIDIA H100 80GB HBM3", "cuda:GPU-111", 81_559),  # beside slices, CUDA's numbers are not known
    ]
    assert found[0].free_bytes == 4_764 * 2**20
    assert found[0].part.multiprocessors == 14
    assert (found[0].state["mig"], found[0].state["temperature_c"]) == ("on", 30.0)
    assert "power_w" not in found[0].state  # that of all slices together
    assert found[2].state["power_w"] == 71.0


@pytest.mark.parametrize(
    ("variable", "devices"),
    [
        ("MIG-slice-b", ["cuda:MIG-slice-b"]),
        ("0", ["cuda:MIG-slice-a", "cuda:MIG-slice-b"]),
        ("1", ["cuda:0"]),
        ("GPU-111", ["cuda:0"]),
        ("", []),
    ],
)
def test_slices_can_be_hidden(nvml, monkeypatch, variable, devices):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert [a.torch_device for a in find_nvidia()[0]] == devices


def test_a_card_without_slices_offers_nothing(nvml):
    nvml.nvmlDeviceGetMaxMigDeviceCount = lambda h: 0
    found, notes = find_nvidia()
    assert [a.uuid for a in found] == ["GPU-111"]
    assert notes == [("mig_empty", "GPU 0")]


def test_the_child_sees_its_slice_alone_and_reads_its_card(nvml, monkeypatch):
    assert cuda_environment("cuda:MIG-slice-b")["CUDA_VISIBLE_DEVICES"] == "MIG-slice-b"
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "MIG-slice-b")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="000"))
    card = card_of(torch.device("cuda", 0))
    assert card == "MIG-slice-b"
    assert gpu_state(card)["temperature_c"] == 30.0
    assert "power_w" not in gpu_state(card)
    assert gpu_energy_joules(card) is None  # the counter is that of all slices
    assert gpu_energy_joules("GPU-000") is None
    assert gpu_energy_joules("GPU-111") == 5.0


def test_a_slice_is_its_share_of_the_card(nvml, catalog):
    """A100 40 GB: 108 multiprocessors and eight memory slices of 194 GB/s; 3g.20gb has 42 and four of them."""
    card = catalog.device("a100-sxm-40")
    _, part, whole = (device_here(a, catalog.devices) for a in find_nvidia()[0])
    assert card.units == 108
    assert part.bandwidth_bytes_per_s == card.bandwidth_bytes_per_s / 2
    assert part.peak_ops_per_s["bf16"] == pytest.approx(card.peak_ops_per_s["bf16"] * 42 / 108)
    assert (part.memory_bytes, part.units, part.link) == (20_096 * 2**20, 42, None)
    assert part.id not in catalog.devices
    assert whole is catalog.device("h100-sxm")
    assert [match_device(a, catalog.devices) for a in find_nvidia()[0][:2]] == [None, None]


def test_what_does_not_fit_the_slice_is_refused_though_the_card_would_hold_it(nvml, catalog):
    machine = machine_here()
    small, large = (foresee(spec_on(catalog, "cuda:MIG-slice-a", v), machine, catalog) for v in (SMALL, LARGE))
    assert large.refused is not None
    assert large.refused[1] < 4_764 * 2**20
    assert foresee(spec_on(catalog, "cuda:MIG-slice-b", LARGE), machine, catalog).refused is None
    assert small.prediction.bandwidth_bytes_per_s.value == catalog.device("a100-sxm-40").bandwidth_bytes_per_s / 8
    half = foresee(spec_on(catalog, "cuda:MIG-slice-b"), machine, catalog).prediction
    assert 1.5 < half.decode_tok_s.value / small.prediction.decode_tok_s.value < 4.5  # four times the memory slices


def test_the_speed_of_a_slice_of_an_unknown_card_is_not_known(nvml, catalog):
    nvml.nvmlDeviceGetName = lambda h: "NVIDIA Z900"
    said = foresee(spec_on(catalog, "cuda:MIG-slice-b"), machine_here(), catalog)
    assert said.refused is None  # its memory is
    assert said.prediction.decode_tok_s is None
    assert said.prediction.bandwidth_bytes_per_s is None
    assert "MIG slice" in said.unknown


def test_without_its_multiprocessors_the_speed_is_not_guessed(nvml, catalog):
    def unsupported(_: object) -> None:
        raise nvml.NVMLError("Not Supported")

    nvml.nvmlDeviceGetAttributes = unsupported
    found = find_nvidia()[0][0]
    assert found.name.endswith("MIG ?g.5gb")
    assert device_here(found, catalog.devices) is None


def test_a_measured_slice_teaches_about_that_slice_only(nvml, catalog):
    machine = machine_here()
    spec = spec_on(catalog, "cuda:MIG-slice-b")
    place = place_of(spec, machine, catalog)
    plan = plan_at(spec, place, catalog)
    public = size(plan, load_of(spec), catalog).decode_tok_s.value
    run = ProbeResult(
        "a", spec, State.DONE, "mig", "2026-11-26T00:00:00+00:00", 1.0, place=place,
        decode_tok_s=Measured.of([public / 1.5]), bandwidth_bytes_per_s=Measured.of([7e11]),
    )  # fmt: skip
    taught = with_measurements(catalog, [run], machine)
    assert size(plan, load_of(spec), taught).decode_tok_s.value == pytest.approx(public / 1.5, rel=1e-6)
    card = replace(plan, device=catalog.device("a100-sxm-40"))
    assert size(card, load_of(spec), taught) == size(card, load_of(spec), catalog)


def test_plans_for_this_machine_hold_one_slice_each(nvml, catalog):
    found = offers(make_scenario(this_machine=True), catalog, machine_here())
    rows = {offer.hardware.device.id: offer.available for offer in found if offer.hardware.device}
    assert rows == {"a100-sxm-40-1g.5gb": 1, "a100-sxm-40-3g.20gb": 1, "h100-sxm": 1}


def test_an_answer_for_this_machine_may_take_a_slice(nvml, catalog, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-slice-b")
    answer = recommend(make_scenario(this_machine=True), catalog, machine_here())
    plans = [candidate.plan for candidate in answer.candidates if candidate.plan.device is not None]
    assert {(plan.device.id, plan.n_devices) for plan in plans} == {("a100-sxm-40-3g.20gb", 1)}
    assert all(c.sizing.per_device.usable_bytes <= 20_096 * 2**20 for c in answer.candidates if c.plan in plans)
