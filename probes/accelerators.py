"""GPUs and NPUs, each found through its vendor's own tool. A tool that is missing or fails becomes a note, not an
error.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil

from probes.machine_records import Accelerator, Cpu
from probes.nvidia import find_nvidia

__all__ = ["find_accelerators"]

Found = tuple[list[Accelerator], list[tuple[str, str]]]


def find_accelerators(cpu: Cpu) -> tuple[tuple[Accelerator, ...], tuple[tuple[str, str], ...]]:
    """All accelerators, and notes on what was looked for in vain."""
    found: list[Accelerator] = []
    notes: list[tuple[str, str]] = []
    for accelerators, remarks in (find_nvidia(), _amd(), _intel(), _apple(cpu), _ascend(), _jetson()):
        found += accelerators
        notes += remarks
    return tuple(found), tuple(notes)


def _amd() -> Found:
    listing = _tool_json(["amd-smi", "static", "--json"])
    if isinstance(listing, str):
        return [], [("amd_absent", "")] if listing == "absent" else [("amd_failed", listing)]
    rows = listing.get("gpu_data", []) if isinstance(listing, dict) else listing
    return [a for row in rows if isinstance(row, dict) and (a := _amd_row(row))], []


def _amd_row(row: dict[str, object]) -> Accelerator | None:
    asic, vram, driver = (
        row.get(name) if isinstance(row.get(name), dict) else {} for name in ("asic", "vram", "driver")
    )
    size = vram.get("size", {})  # type: ignore[union-attr]
    megabytes = size.get("value", 0) if isinstance(size, dict) else size
    try:
        index, memory_bytes = int(str(row.get("gpu", 0))), int(float(str(megabytes)) * 2**20)
    except ValueError:
        return None
    name = str(asic.get("market_name", "AMD GPU"))  # type: ignore[union-attr]
    version = str(driver.get("version", ""))  # type: ignore[union-attr]
    return Accelerator(index, "amd", name, memory_bytes, torch_device=f"cuda:{index}", driver=version)


def _intel() -> Found:
    listing = _tool_json(["xpu-smi", "discovery", "-j"])
    if isinstance(listing, str):
        return [], [("intel_absent", "")] if listing == "absent" else [("intel_failed", listing)]
    rows = listing.get("device_list", []) if isinstance(listing, dict) else []
    return [
        Accelerator(
            index=int(row.get("device_id", 0)),
            vendor="intel",
            name=str(row.get("device_name", "Intel GPU")),
            memory_bytes=int(row.get("memory_physical_size_byte", 0) or 0),
            torch_device=f"xpu:{row.get('device_id', 0)}",
        )
        for row in rows
        if isinstance(row, dict) and str(row.get("device_type", "GPU")) == "GPU"
    ], []


def _apple(cpu: Cpu) -> Found:
    """Apple silicon: the GPU shares the memory, of which macOS lets it wire about three quarters by default."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return [], []
    memory_bytes = int(psutil.virtual_memory().total)
    return [Accelerator(0, "apple", cpu.model, memory_bytes, torch_device="mps", free_bytes=memory_bytes * 3 // 4)], []


def _ascend() -> Found:
    if not shutil.which("npu-smi"):
        return [], []
    text = _run(["npu-smi", "info", "-m"])
    rows = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()]
    chips = [row for row in rows if len(row) >= 4 and row[-1] not in ("-", "Mcu")]
    return [Accelerator(i, "huawei", row[-1], 0, torch_device=f"npu:{i}") for i, row in enumerate(chips)], []


def _jetson() -> Found:
    """Jetson boards have no NVML for the integrated GPU; the device tree names the board."""
    try:
        model = Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return [], []
    if "jetson" not in model.lower() and "orin" not in model.lower():
        return [], []
    return [Accelerator(0, "nvidia", model, int(psutil.virtual_memory().total), torch_device="cuda:0")], []


def _tool_json(command: Iterable[str]) -> dict[str, object] | list[object] | str:
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
