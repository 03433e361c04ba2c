from __future__ import annotations

import json
import stat
import sys
from collections import namedtuple
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest

from advisor.catalog import load_catalog
from advisor.cli import main
from advisor.commands import machine as machine_command
from advisor.report.gauges import gauges
from probes import accelerators as accelerators_module
from probes import cpu as cpu_module
from probes.accelerators import find_accelerators
from probes.cpu import read_cpu as detect_cpu
from probes.disk_bench import read_disk
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
        "nvmlDeviceGetHandleByUUID": lambda uuid: {f"GPU-{i}{i}{i}": i for i in range(4)}[uuid],
        "nvmlDeviceGetUUID": lambda h: f"GPU-{h}{h}{h}".encode(),
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


def test_virtual_machines_of_one_name_on_different_processors_are_told_apart():
    """Zen 1 and Zen 3 may both be called AMD EPYC, with the same instructions; a name on bare metal says it all."""
    machine = detect()
    virtual, metal = (replace(machine.cpu, model="AMD EPYC", hypervisor=name) for name in ("kvm", ""))
    old, new = (replace(virtual, generation=name) for name in ("23/1/2", "25/1/1"))
    assert fingerprint(old, machine.memory, ()) != fingerprint(new, machine.memory, ())
    assert new.title == "AMD EPYC (25/1/1)"
    same = {fingerprint(replace(metal, generation=name), machine.memory, ()) for name in ("23/1/2", "25/1/1")}
    assert len(same) == 1


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
    assert gpu_energy_joules(card.uuid) == 5.0
    assert gpu_state(card.uuid)["temperature_c"] == 33.0


def test_no_driver_is_said_plainly(monkeypatch):
    nvml = fake_nvml()

    def absent() -> None:
        raise nvml.NVMLError_LibraryNotFound("NVML Shared Library Not Found")

    nvml.nvmlInit = absent
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert find_nvidia() == ([], [("nvidia_absent", "")])
    assert gpu_energy_joules("GPU-000") is None
    assert gpu_state("GPU-000") == {}


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
    assert [(card.index, card.torch_device) for card in cards] == [(1, "cuda:GPU-111")]  # CUDA may number anew
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


def tools(folder, monkeypatch, **answers):
    """Stand-ins for vendors' tools on PATH: each answers by the words it is called with."""
    for name, cases in answers.items():
        tool = folder / name.replace("_", "-")
        lines = [f"*'{words}'*) cat <<'END'\n{text}\nEND\n;;" for words, text in cases.items()]
        tool.write_text("#!/bin/sh\ncase \"$*\" in\n" + "\n".join(lines) + "\nesac\n")
        tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return [a for a in find_accelerators(detect().cpu)[0] if a.vendor != "nvidia"]


def test_amd_tells_clocks_power_and_throttling(monkeypatch, tmp_path):
    static = """{"gpu_data": [{"gpu": 0, "asic": {"market_name": "AMD Instinct MI300X"},
      "driver": {"version": "6.12.12"}, "limit": {"max_power": {"value": 750, "unit": "W"}},
      "ras": {"ecc_block_state": {"UMC": "ENABLED"}}, "partition": {"compute_partition": "SPX"},
      "vram": {"size": {"value": 196592, "unit": "MB"}}}]}"""
    metric = """{"gpu_data": [{"gpu": 0, "power": {"socket_power": {"value": 141, "unit": "W"},
      "throttle_status": "UNTHROTTLED"}, "clock": {"gfx_0": {"clk": {"value": 132, "unit": "MHz"},
      "max_clk": {"value": 2100, "unit": "MHz"}}, "mem_0": {"clk": {"value": 900, "unit": "MHz"}}},
      "temperature": {"edge": "N/A", "hotspot": {"value": 42, "unit": "C"}}, "pcie": {"width": 16},
      "mem_usage": {"free_vram": {"value": 196309, "unit": "MB"}}}]}"""
    (card,) = tools(tmp_path, monkeypatch, amd_smi={"static": static, "metric": metric})
    assert (card.driver, card.memory_bytes, card.free_bytes) == ("6.12.12", 196592 * 2**20, 196309 * 2**20)
    assert card.state == {
        "sm_clock_hz": 132e6,
        "memory_clock_hz": 900e6,
        "max_sm_clock_hz": 2100e6,
        "power_w": 141.0,
        "power_limit_w": 750.0,
        "temperature_c": 42.0,
        "pcie_width": 16.0,
        "throttle": "none",
        "ecc": "on",
        "partition": "SPX",
    }


def test_amd_without_metrics_is_still_found(monkeypatch, tmp_path):
    static = '[{"gpu": 1, "asic": {"market_name": "MI250"}, "vram": {"size": {"value": 65520}}}]'
    (card,) = tools(tmp_path, monkeypatch, amd_smi={"static": static})
    assert (card.index, card.torch_device, card.free_bytes, card.state) == (1, "cuda:1", None, {})


def test_intel_through_its_tool(monkeypatch, tmp_path):
    listing = '{"device_list": [{"device_id": 0, "device_name": "Intel Arc Pro B60", "device_type": "GPU"}]}'
    one = '{"driver_version": "I915_25.2", "memory_physical_size_byte": "25669140480", "core_clock_rate_mhz": "2400"}'
    stats = """{"device_level": [{"metrics_type": "XPUM_STATS_POWER", "value": 35.5},
      {"metrics_type": "XPUM_STATS_GPU_CORE_TEMPERATURE", "value": 44}]}"""
    answers = {"discovery -d 0 -j": one, "discovery -j": listing, "stats -d 0 -j": stats}
    (card,) = tools(tmp_path, monkeypatch, xpu_smi=answers)
    assert (card.name, card.memory_bytes, card.driver) == ("Intel Arc Pro B60", 25669140480, "I915_25.2")
    assert card.state == {"max_sm_clock_hz": 2400e6, "power_w": 35.5, "temperature_c": 44.0}
    assert card.torch_device == ""


def test_what_no_engine_computes_on_is_said_and_not_benchmarked(monkeypatch, tmp_path, capsys):
    listing = '{"device_list": [{"device_id": 0, "device_name": "Intel Arc Pro B60", "device_type": "GPU"}]}'
    tools(tmp_path, monkeypatch, xpu_smi={"discovery -j": listing}, npu_smi={"-m": "0 0 0 Ascend 910B"})
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    benched = []

    def bench(machine: object, device: str, repeats: int) -> SimpleNamespace:
        benched.append(device)
        return SimpleNamespace(is_valid=True)

    monkeypatch.setattr(machine_command, "_bench", bench)
    monkeypatch.setattr(machine_command, "_as_json", lambda machine, results: {"notes": machine.notes})
    assert main(["machine", "--bench", "--json"]) == 0
    assert benched == ["cpu"]
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert ["no_engine", "Intel Arc Pro B60"] in notes
    assert ["no_engine", "910B"] in notes
    assert main(["probe", "--device", "xpu:0"]) == 2
    assert "xpu:0" in capsys.readouterr().err


def test_ascend_through_its_tool(monkeypatch, tmp_path):
    mapping = """\tNPU ID      Chip ID     Chip Logic ID    Chip Name
\t0           0           0                Ascend 910B
\t0           1           -                Mcu"""
    memory = "\tHBM Capacity(MB)       : 65536\n\tHBM Clock Speed(MHz)   : 1600"
    answers = {"-t memory": memory, "-t temp": "\tNPU Temperature (C)   : 38", "-m": mapping}
    (card,) = tools(tmp_path, monkeypatch, npu_smi=answers)
    assert (card.name, card.memory_bytes, card.torch_device) == ("910B", 64 * 2**30, "")
    assert card.state == {"temperature_c": 38.0, "memory_clock_hz": 1600e6}


def test_a_failing_ascend_tool_is_a_note(monkeypatch, tmp_path):
    assert tools(tmp_path, monkeypatch, npu_smi={"-m": "dcmi module initialize failed"}) == []
    assert ("ascend_failed", "dcmi module initialize failed") in find_accelerators(detect().cpu)[1]


def test_jetson_names_its_board_and_power_mode(monkeypatch, tmp_path):
    board = tmp_path / "model"
    board.write_text("NVIDIA Jetson AGX Orin Developer Kit\0")
    monkeypatch.setattr(accelerators_module, "BOARD", board)
    tools(tmp_path, monkeypatch, nvpmodel={"-q": "NV Power Mode: MAXN\n0"})
    (card,) = [a for a in find_accelerators(detect().cpu)[0] if "Jetson" in a.name]
    assert (card.name, card.state) == ("NVIDIA Jetson AGX Orin Developer Kit", {"power_mode": "MAXN"})


def test_apple_shares_its_memory(monkeypatch):
    monkeypatch.setattr(accelerators_module.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(accelerators_module.platform, "machine", lambda: "arm64")
    cards = find_accelerators(replace(detect_cpu(), model="Apple M4 Max"))[0]
    assert [(a.name, a.torch_device) for a in cards if a.vendor == "apple"] == [("Apple M4 Max", "mps")]


def test_every_vendor_that_is_not_here_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(accelerators_module, "BOARD", tmp_path / "none")
    notes = {key for key, _ in find_accelerators(detect_cpu())[1]}
    assert {"amd_absent", "intel_absent", "apple_absent", "ascend_absent", "jetson_absent"} <= notes


def test_a_card_without_memory_of_its_own_has_that_of_the_system(monkeypatch):
    nvml = fake_nvml(nvmlDeviceGetName=lambda h: "NVIDIA GB10")

    def unsupported(_: object) -> None:
        raise nvml.NVMLError("Not Supported")

    nvml.nvmlDeviceGetMemoryInfo = unsupported
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    (card,), notes = find_nvidia()
    assert notes == []
    assert card.memory_bytes == detect().memory.total_bytes


def test_steal_since_start_is_a_share(monkeypatch):
    times = SimpleNamespace(user=60.0, nice=0.0, system=20.0, idle=10.0, steal=10.0, guest=5.0)
    counted = namedtuple("times", vars(times))(**vars(times))
    monkeypatch.setattr(cpu_module.psutil, "cpu_times", lambda: counted)
    assert cpu_module.read_cpu().steal_share == 0.1


def test_disk_is_read_cold_and_warm_several_times(tmp_path):
    cold, warm = read_disk(tmp_path, size=32 * 2**20, repeats=2)
    assert warm is not None
    assert len(warm.bytes_per_s) == 2
    assert cold is None or (len(cold.bytes_per_s) == 2 and (cold.cached_share or 0.0) < 0.5)
    assert not list(tmp_path.iterdir())


def test_the_report_says_what_there_is_and_what_not(capsys):
    assert main(["machine"]) == 0
    shown = capsys.readouterr().out
    for words in ("container core limit", "container memory limit", "instruction sets", "available"):
        assert words in shown


def test_a_benchmark_of_a_device_that_is_not_here_is_refused(capsys):
    assert main(["machine", "--bench", "--device", "cuda:99"]) == 2
    assert "cuda:99" in capsys.readouterr().err


def test_gauges_are_read_by_people():
    state = {"sm_clock_hz": 1.98e9, "power_w": 71.0, "throttle": "power_cap, hardware_thermal", "mig": "off"}
    assert gauges(state, "en") == {
        "Core clock": "1.98 GHz",
        "Power now": "71 W",
        "Throttled by": "power limit, temperature (hardware)",
        "MIG": "off",
    }
    assert gauges(state, "zh")["降频原因"] == "功率上限, 温度（硬件）"


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
