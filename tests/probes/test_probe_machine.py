from __future__ import annotations

import stat
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from advisor.catalog import load_catalog
from probes import cpu as cpu_module
from probes.accelerators import find_accelerators
from probes.machine import detect, fingerprint, host_record, match_device
from probes.machine_records import Accelerator
from probes.nvidia import find_nvidia, gpu_energy_joules, gpu_state


def fake_nvml(**overrides: object) -> ModuleType:
    """The parts of pynvml that are used, for one H100."""
    module = ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    class NVMLError_LibraryNotFound(NVMLError):
        pass

    class NVMLError_DriverNotLoaded(NVMLError):
        pass

    def unsupported(*_: object) -> None:
        raise NVMLError("Not Supported")

    parts: dict[str, object] = {
        "NVMLError": NVMLError,
        "NVMLError_LibraryNotFound": NVMLError_LibraryNotFound,
        "NVMLError_DriverNotLoaded": NVMLError_DriverNotLoaded,
        "NVML_CLOCK_SM": 1,
        "NVML_CLOCK_MEM": 2,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: b"580.95",
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetName": lambda h: "NVIDIA H100 80GB HBM3",
        "nvmlDeviceGetMemoryInfo": lambda h: SimpleNamespace(total=85_520_809_984, free=80_000_000_000),
        "nvmlDeviceGetCudaComputeCapability": lambda h: (9, 0),
        "nvmlDeviceGetClockInfo": lambda h, c: 1980,
        "nvmlDeviceGetMaxClockInfo": lambda h, c: 1980,
        "nvmlDeviceGetPowerUsage": lambda h: 71_000,
        "nvmlDeviceGetEnforcedPowerLimit": lambda h: 700_000,
        "nvmlDeviceGetTemperature": lambda h, s: 33,
        "nvmlDeviceGetEccMode": lambda h: (1, 1),
        "nvmlDeviceGetMigMode": unsupported,
        "nvmlDeviceGetVirtualizationMode": lambda h: 0,
        "nvmlDeviceGetCurrPcieLinkGeneration": lambda h: 5,
        "nvmlDeviceGetCurrPcieLinkWidth": lambda h: 16,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda h: 0x44,
        "nvmlDeviceGetTotalEnergyConsumption": lambda h: 5_000,
    }
    for name, part in {**parts, **overrides}.items():
        setattr(module, name, part)
    return module


def test_this_machine_is_described_fast_and_completely():
    machine = detect()
    assert machine.cpu.cores >= 1
    assert machine.memory.usable_bytes > 2**28
    assert len(machine.fingerprint) == 16
    assert detect().fingerprint == machine.fingerprint


def test_fingerprint_follows_the_hardware_not_the_free_memory():
    machine = detect()
    card = Accelerator(0, "nvidia", "X", 80 * 2**30)
    less_free = replace(machine.memory, available_bytes=1)
    assert fingerprint(machine.cpu, less_free, ()) == fingerprint(machine.cpu, machine.memory, ())
    assert fingerprint(machine.cpu, machine.memory, (card,)) != fingerprint(machine.cpu, machine.memory, ())


def test_host_record_takes_the_measured_bandwidth():
    host = host_record(detect(), 123e9)
    assert host.measured_bandwidth_bytes_per_s == 123e9
    assert host_record(detect()).memory_bandwidth_bytes_per_s > 1e8


def test_a_card_is_described_and_missing_figures_are_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    (card,), notes = find_nvidia()
    assert notes == []
    assert (card.torch_device, card.compute_capability, card.driver) == ("cuda:0", 9.0, "580.95")
    assert card.state["throttle"] == "power_cap, hardware_thermal"
    assert card.state["power_limit_w"] == 700.0
    assert "mig" not in card.state
    assert gpu_energy_joules(0) == 5.0
    assert gpu_state(0)["temperature_c"] == 33.0


def test_no_driver_is_said_plainly(monkeypatch):
    nvml = fake_nvml()

    def absent() -> None:
        raise nvml.NVMLError_LibraryNotFound("NVML Shared Library Not Found")

    nvml.nvmlInit = absent
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert find_nvidia() == ([], [("nvidia_absent", "")])
    assert gpu_energy_joules(0) is None
    assert gpu_state(0) == {}


def test_nvml_present_but_failing_is_a_note_with_its_text(monkeypatch):
    nvml = fake_nvml()

    def broken() -> None:
        raise nvml.NVMLError("Driver/library version mismatch")

    nvml.nvmlInit = broken
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert find_nvidia() == ([], [("nvml_failed", "Driver/library version mismatch")])


def test_one_lost_card_does_not_hide_the_others(monkeypatch):
    nvml = fake_nvml(nvmlDeviceGetCount=lambda: 2)

    def handle(index: int) -> int:
        if index == 0:
            raise nvml.NVMLError("GPU is lost")
        return index

    nvml.nvmlDeviceGetHandleByIndex = handle
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    cards, notes = find_nvidia()
    assert [card.index for card in cards] == [1]
    assert notes == [("nvml_failed", "GPU 0: GPU is lost")]


@pytest.mark.parametrize(
    ("output", "names", "note"),
    [
        (
            '[{"gpu": 0, "asic": {"market_name": "AMD Instinct MI300X"}, "vram": {"size": {"value": 196592}}}]',
            ["AMD Instinct MI300X"],
            None,
        ),
        (
            '{"gpu_data": [{"gpu": 0, "asic": {"market_name": "MI355X"}, "vram": {"size": {"value": 294896}}}]}',
            ["MI355X"],
            None,
        ),
        ("Traceback: no amdgpu driver", [], "amd_failed"),
        ("", [], "amd_failed"),
    ],
)
def test_amd_through_its_tool(monkeypatch, tmp_path, output, names, note):
    tool = tmp_path / "amd-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\n")
    tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    accelerators, notes = find_accelerators(detect().cpu)
    assert [a.name for a in accelerators if a.vendor == "amd"] == names
    assert (note is None) == (not any(key == "amd_failed" for key, _ in notes))


def test_cards_match_the_catalogue_by_exact_name_and_memory():
    devices = load_catalog().devices
    h100 = Accelerator(0, "nvidia", "NVIDIA H100 80GB HBM3", 85_520_809_984)
    found = match_device(h100, devices)
    assert found is not None
    assert "h100" in found.id
    assert match_device(replace(h100, memory_bytes=10 * 2**30), devices) is None  # a MIG slice
    assert match_device(replace(h100, name="Voodoo 3"), devices) is None


@pytest.mark.parametrize(
    ("files", "quota", "limit"),
    [
        ({"cpu.max": "150000 100000", "memory.max": "4294967296"}, 1.5, 4 * 2**30),
        ({"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        (
            {
                "cpu/cpu.cfs_quota_us": "400000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            4.0,
            None,
        ),
    ],
)
def test_container_limits(monkeypatch, tmp_path, files, quota, limit):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(cpu_module, "CGROUP", tmp_path)
    assert cpu_module.read_cpu().quota_cores == quota
    assert cpu_module.read_memory().limit_bytes == limit
