"""GPUs and NPUs, each found through its vendor's own tool. A tool that is missing or fails becomes a note, not an
error.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from probes.machine_records import Accelerator, Cpu
from probes.nvidia import find_nvidia

__all__ = ["find_accelerators"]

Found = tuple[list[Accelerator], list[tuple[str, str]]]
Row = Mapping[str, object]
Listing = dict[str, object] | list[object] | str  # parsed JSON, or why there is none
BOARD = Path("/proc/device-tree/model")


def find_accelerators(cpu: Cpu) -> tuple[tuple[Accelerator, ...], tuple[tuple[str, str], ...]]:
    """All accelerators, and notes on what was looked for in vain."""
    found: list[Accelerator] = []
    notes: list[tuple[str, str]] = []
    for accelerators, remarks in (find_nvidia(), _amd(), _intel(), _apple(cpu), _ascend(), _jetson()):
        found += accelerators
        notes += remarks
        notes += [("no_engine", item.name) for item in accelerators if not item.torch_device]
    return tuple(found), tuple(notes)


def _amd() -> Found:
    listing = _tool_json(["amd-smi", "static", "--json"])
    if isinstance(listing, str):
        return [], [("amd_absent", "")] if listing == "absent" else [("amd_failed", listing)]
    gauges = {_index(row): row for row in _rows(_tool_json(["amd-smi", "metric", "--json"]))}
    return [a for row in _rows(listing) if (a := _amd_row(row, gauges.get(_index(row), {})))], []


def _amd_row(row: Row, now: Row) -> Accelerator | None:
    """One GPU of `amd-smi static`, with what `amd-smi metric` says of it at this moment."""
    memory = _figure(row, "vram", "size")
    if memory is None:
        return None
    index, free = _index(row), _figure(now, "mem_usage", "free_vram")
    return Accelerator(
        index,
        "amd",
        str(_at(row, "asic", "market_name") or "AMD GPU"),
        int(memory * 2**20),
        torch_device=f"cuda:{index}",
        free_bytes=None if free is None else int(free * 2**20),
        driver=str(_at(row, "driver", "version") or ""),
        state=_amd_state(row, now),
    )


def _amd_state(row: Row, now: Row) -> dict[str, float | str]:
    figures = {
        "sm_clock_hz": _scaled(_figure(now, "clock", "gfx_0", "clk"), 1e6),
        "memory_clock_hz": _scaled(_figure(now, "clock", "mem_0", "clk"), 1e6),
        "max_sm_clock_hz": _scaled(_figure(now, "clock", "gfx_0", "max_clk"), 1e6),
        "power_w": _figure(now, "power", "socket_power"),
        "power_limit_w": _figure(row, "limit", "max_power"),
        "temperature_c": _first(_figure(now, "temperature", name) for name in ("hotspot", "edge")),
        "pcie_width": _figure(now, "pcie", "width"),
    }
    throttle = str(_at(now, "power", "throttle_status") or "").upper()
    words = {
        "throttle": {"THROTTLED": "throttled", "UNTHROTTLED": "none"}.get(throttle),
        "ecc": _on_off(_at(row, "ras", "ecc_block_state", "UMC") or _at(row, "ras", "ecc_block_state", "umc")),
        "partition": _at(row, "partition", "compute_partition"),
    }
    known = {name: value for name, value in words.items() if isinstance(value, str) and value != "N/A"}
    return {name: value for name, value in figures.items() if value is not None} | known


def _intel() -> Found:
    listing = _tool_json(["xpu-smi", "discovery", "-j"])
    if isinstance(listing, str):
        return [], [("intel_absent", "")] if listing == "absent" else [("intel_failed", listing)]
    rows = listing.get("device_list", []) if isinstance(listing, dict) else []
    found = rows if isinstance(rows, list) else []
    return [_intel_row(row) for row in found if isinstance(row, dict) and row.get("device_type", "GPU") == "GPU"], []


def _intel_row(row: Row) -> Accelerator:
    """The listing names the devices; size, driver and clocks are told for each on its own."""
    number = str(row.get("device_id", 0))
    more = _tool_json(["xpu-smi", "discovery", "-d", number, "-j"])
    full = {**row, **(more if isinstance(more, dict) else {})}
    stats = _tool_json(["xpu-smi", "stats", "-d", number, "-j"])
    levels = stats.get("device_level", []) if isinstance(stats, dict) else []
    seen = {str(m.get("metrics_type")): _number(m.get("value")) for m in levels if isinstance(m, dict)}  # type: ignore[attr-defined]
    figures = {
        "sm_clock_hz": _scaled(seen.get("XPUM_STATS_GPU_FREQUENCY"), 1e6),
        "max_sm_clock_hz": _scaled(_number(full.get("core_clock_rate_mhz")), 1e6),
        "power_w": seen.get("XPUM_STATS_POWER"),
        "temperature_c": seen.get("XPUM_STATS_GPU_CORE_TEMPERATURE"),
    }
    return Accelerator(
        index=int(_number(number) or 0),
        vendor="intel",
        name=str(full.get("device_name", "Intel GPU")),
        memory_bytes=int(_number(full.get("memory_physical_size_byte")) or 0),
        driver=str(full.get("driver_version", "")),
        state={name: value for name, value in figures.items() if value is not None},
    )


def _apple(cpu: Cpu) -> Found:
    """Apple silicon: the GPU shares the memory, of which macOS lets it wire about three quarters by default."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return [], [("apple_absent", "")]
    memory_bytes = int(psutil.virtual_memory().total)
    return [Accelerator(0, "apple", cpu.model, memory_bytes, torch_device="mps", free_bytes=memory_bytes * 3 // 4)], []


def _ascend() -> Found:
    if not shutil.which("npu-smi"):
        return [], [("ascend_absent", "")]
    text = _run(["npu-smi", "info", "-m"])
    rows = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()]
    chips = [row for row in rows if len(row) >= 4 and row[-1] not in ("-", "Mcu")]
    if not chips:
        return [], [("ascend_failed", text.strip().splitlines()[0][:120] if text.strip() else "no output")]
    return [_ascend_chip(index, row) for index, row in enumerate(chips)], []


def _ascend_chip(index: int, row: list[str]) -> Accelerator:
    """A line of `npu-smi info -m` (card, chip, logical number, name), and the figures of its card."""
    facts: dict[str, float] = {}
    for topic in ("memory", "temp", "power"):
        for line in _run(["npu-smi", "info", "-t", topic, "-i", row[0], "-c", row[1]]).splitlines():
            name, _, value = line.partition(":")
            if (figure := _number(value.strip())) is not None:
                facts[name.strip()] = figure
    figures = {
        "temperature_c": facts.get("NPU Temperature (C)"),
        "power_w": _first(facts.get(name) for name in ("NPU Real-time Power(W)", "Power Dissipation(W)")),
        "memory_clock_hz": _scaled(facts.get("HBM Clock Speed(MHz)"), 1e6),
    }
    memory = max(facts.get(name, 0.0) for name in ("HBM Capacity(MB)", "DDR Capacity(MB)"))
    state = {name: value for name, value in figures.items() if value is not None}
    return Accelerator(index, "huawei", row[-1], int(memory * 2**20), state=state)


def _jetson() -> Found:
    """Jetson boards have no NVML for the integrated GPU; the device tree names the board."""
    try:
        model = BOARD.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return [], [("jetson_absent", "")]
    if "jetson" not in model.lower() and "orin" not in model.lower():
        return [], [("jetson_absent", "")]
    mode = _run(["nvpmodel", "-q"]) if shutil.which("nvpmodel") else ""
    named = [line.partition(":")[2].strip() for line in mode.splitlines() if line.startswith("NV Power Mode")]
    memory, state = psutil.virtual_memory(), {"power_mode": named[0]} if named else {}
    return [
        Accelerator(0, "nvidia", model, int(memory.total), "cuda:0", free_bytes=int(memory.available), state=state)
    ], []


def _rows(listing: Listing) -> list[Row]:
    """GPUs of an answer of amd-smi: a list, or since version 25.4 a list under `gpu_data`."""
    found = listing.get("gpu_data", []) if isinstance(listing, dict) else listing
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _index(row: Row) -> int:
    return int(_number(row.get("gpu")) or 0)


def _at(row: object, *path: str) -> object:
    """What lies under these names, or None."""
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row


def _figure(row: Row, *path: str) -> float | None:
    """A figure with or without its unit beside it: `{"value": 750, "unit": "W"}` or 750; None for "N/A"."""
    found = _at(row, *path)
    return _number(found.get("value") if isinstance(found, dict) else found)


def _number(found: object) -> float | None:
    try:
        return float(str(found))
    except ValueError:
        return None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _on_off(found: object) -> str | None:
    return {"ENABLED": "on", "DISABLED": "off"}.get(str(found).upper())


def _tool_json(command: Iterable[str]) -> Listing:
    """Parsed output, or "absent", or one line on what failed."""
    words = list(command)
    if not shutil.which(words[0]):
        return "absent"
    text = _run(words)
    try:
        parsed = json.loads(text)
    except ValueError:
        return f"{words[0]}: {text.strip().splitlines()[0][:120] if text.strip() else 'no output'}"
    return parsed if isinstance(parsed, (dict, list)) else f"{words[0]}: unexpected output"


def _run(words: list[str]) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError) as problem:
        return str(problem)
