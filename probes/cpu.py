"""Processor and memory as the operating system shows them, with the limits of a container."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import psutil

from probes.machine_records import Cpu, Memory

__all__ = ["available_bytes", "read_cpu", "read_memory"]

CGROUP = Path("/sys/fs/cgroup")
UNLIMITED = 2**60  # cgroup v1 writes a number near 2^63 for "no limit"
FLAGS = {
    "avx2": "avx2", "fma": "fma", "f16c": "f16c", "avx512f": "avx512f", "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16", "avx512_fp16": "avx512_fp16", "avx_vnni": "avx_vnni", "amx_tile": "amx_tile",
    "amx_bf16": "amx_bf16", "amx_int8": "amx_int8", "amx_fp16": "amx_fp16", "sse4_2": "sse4_2",
    "asimd": "neon", "asimddp": "dotprod", "i8mm": "i8mm", "bf16": "bf16", "sve": "sve", "sve2": "sve2", "sme": "sme",
}  # fmt: skip


def read_cpu() -> Cpu:
    fields = _cpuinfo()
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(psutil.cpu_count(logical=False) or threads, threads)
    quota = _quota_cores()
    if quota is not None:
        cores = max(1, min(cores, int(quota)))
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return Cpu(
        model=fields.get("model name")
        or _apple("machdep.cpu.brand_string")
        or platform.processor()
        or platform.machine(),
        vendor=fields.get("vendor_id", "Apple" if platform.system() == "Darwin" else ""),
        sockets=_sockets(),
        cores=cores,
        threads=threads,
        numa_nodes=max(1, len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))),
        isa=tuple(sorted(FLAGS[flag] for flag in flags if flag in FLAGS)),
        cache_bytes=_caches(),
        max_hz=(frequency.max or frequency.current) * 1e6
        if frequency and (frequency.max or frequency.current)
        else None,
        hypervisor=_hypervisor(flags),
        quota_cores=quota,
        steal_share=_steal_share(),
        generation="/".join(fields[name] for name in ("cpu family", "model", "stepping") if fields.get(name)),
    )


def read_memory() -> Memory:
    memory = psutil.virtual_memory()
    return Memory(memory.total, available_bytes(), psutil.swap_memory().total, _memory_limit())


def available_bytes() -> int:
    """What a new process may take: free and reclaimable memory, and no more than the container leaves."""
    free = int(psutil.virtual_memory().available)
    limit, used = _memory_limit(), _memory_used()
    return free if limit is None or used is None else max(0, min(free, limit - used))


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _sockets() -> int:
    paths = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/physical_package_id")
    return max(1, len({text for path in paths if (text := _read(path))}))


def _caches() -> dict[str, int]:
    """Total bytes by level; a cache that several cores share counts once."""
    seen: dict[tuple[str, str], int] = {}
    for folder in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cache/index[0-9]*"):
        level, kind, size, shared = (_read(folder / name) for name in ("level", "type", "size", "shared_cpu_list"))
        if kind in ("Data", "Unified") and size.endswith("K"):
            seen[f"l{level}d" if level == "1" else f"l{level}", shared] = int(size[:-1]) * 1024
    totals: dict[str, int] = {}
    for (name, _), size_bytes in sorted(seen.items()):
        totals[name] = totals.get(name, 0) + size_bytes
    return totals


def _hypervisor(flags: set[str]) -> str:
    name = _read(Path("/sys/class/dmi/id/sys_vendor"))
    if "hypervisor" in flags:
        return name or "unknown"
    return ""


def _steal_share() -> float | None:
    """Since the start of the system, by the kernel's own count (Linux)."""
    times = psutil.cpu_times()
    steal = getattr(times, "steal", None)
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # guests count as user time
    return None if steal is None or total <= 0 else steal / total


def _quota_cores() -> float | None:
    words = _read(CGROUP / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    quota, period = _read(CGROUP / "cpu/cpu.cfs_quota_us"), _read(CGROUP / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):
        return int(quota) / int(period)
    return None


def _memory_limit() -> int | None:
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(CGROUP / name)
        if text.isdigit() and int(text) < UNLIMITED:
            return int(text)
    return None


def _memory_used() -> int | None:
    for name in ("memory.current", "memory/memory.usage_in_bytes"):
        text = _read(CGROUP / name)
        if text.isdigit():
            return int(text)
    return None


def _apple(key: str) -> str:
    if platform.system() != "Darwin":
        return ""
    try:
        return subprocess.run(
            ["sysctl", "-n", key], capture_output=True, text=True, timeout=5, check=False
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
