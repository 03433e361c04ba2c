"""What this machine is: processor, memory, disk, accelerators, and which catalogue records describe it. Needs no
torch.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

import psutil

from advisor.catalog.records import Confidence, Device, Host
from probes.accelerators import find_accelerators
from probes.cpu import read_cpu, read_memory
from probes.machine_records import Accelerator, Cpu, Disk, Machine, Memory
from probes.quick import quick_bandwidth, quick_gemm

__all__ = [
    "THIS_MACHINE",
    "Accelerator",
    "Cpu",
    "Disk",
    "Machine",
    "Memory",
    "detect",
    "host_record",
    "match_device",
    "match_processor",
]

THIS_MACHINE = "this-machine"


def detect() -> Machine:
    """Look at this machine; takes well under a second and never raises for missing tools."""
    cpu, memory = read_cpu(), read_memory()
    accelerators, notes = find_accelerators(cpu)
    return Machine(
        name=platform.node(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        cpu=cpu,
        memory=memory,
        disk=_disk(Path.cwd()),
        accelerators=accelerators,
        notes=notes,
        fingerprint=fingerprint(cpu, memory, accelerators),
    )


def fingerprint(cpu: Cpu, memory: Memory, accelerators: tuple[Accelerator, ...]) -> str:
    """16 hexadecimal digits over what decides speed; memory is rounded to GiB because firmware reserves some."""
    parts = [cpu.title, cpu.cores, cpu.threads, cpu.sockets, cpu.quota_cores, sorted(cpu.isa), cpu.hypervisor]
    parts += [round(memory.usable_bytes / 2**30)]
    parts += [[a.vendor, a.name, round(a.memory_bytes / 2**30), a.state.get("mig", "")] for a in accelerators]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def host_record(
    machine: Machine, bandwidth_bytes_per_s: float | None = None, bf16_ops_per_s: float | None = None
) -> Host:
    """This machine as a catalogue host, so that CPU-only plans can be sized on it.

    Rates as a probe measured them; where None, reading is timed now, and no bf16 rate is given.
    """
    cpu = machine.cpu
    bandwidth = bandwidth_bytes_per_s or quick_bandwidth(cpu.cores)
    return Host(
        id=THIS_MACHINE,
        name=cpu.model,
        sockets=cpu.sockets,
        cores=cpu.cores,
        memory_bandwidth_bytes_per_s=bandwidth,
        measured_bandwidth_bytes_per_s=bandwidth,
        memory_bytes=machine.memory.usable_bytes,
        numa_nodes=cpu.numa_nodes,
        isa=cpu.isa,
        peak_fp32_ops_per_s=quick_gemm(),
        peak_bf16_ops_per_s=bf16_ops_per_s,
        reference=False,
        source=("detected on this machine",),
        confidence=Confidence.HIGH if bandwidth_bytes_per_s else Confidence.MEDIUM,
    )


def match_device(accelerator: Accelerator, devices: Mapping[str, Device]) -> Device | None:
    """The catalogue device with exactly this name or alias and, among several, the nearest memory; else None.

    Memory must agree within 15 %, so a vGPU is never taken for the whole card; a MIG slice is none by its kind.
    """
    if accelerator.part is not None:
        return None
    wanted = _plain(accelerator.name)
    named = [d for d in devices.values() if wanted in {_plain(text) for text in (d.id, d.name, *d.aliases)}]
    if not named:
        return None
    best = min(named, key=lambda d: abs(d.memory_bytes - accelerator.memory_bytes))
    return best if abs(best.memory_bytes - accelerator.memory_bytes) <= 0.15 * best.memory_bytes else None


def match_processor(cpu: Cpu, devices: Mapping[str, Device]) -> Device | None:
    """The catalogue processor of this name, if this machine has all of its cores; else None.

    A virtual machine or container with a few of the cores is no such processor, as a MIG slice is no whole card.
    """
    wanted = _processor_name(cpu.model)
    named = [d for d in devices.values() if wanted in {_processor_name(text) for text in (d.name, *d.aliases)}]
    whole = [d for d in named if d.units and cpu.cores >= _WHOLE * d.units * max(1, cpu.sockets)]
    return whole[0] if wanted and whole else None


_WHOLE = 0.85  # of the cores: some are kept for the system
_NOT_NAMES = ("nvidia", "amd", "intel", "apple", "geforce", "graphics")
_NOT_PROCESSOR_NAMES = (*_NOT_NAMES, "processor", "cpu", "core")


def _plain(name: str) -> str:
    words = name.lower().replace("-", " ").replace("_", " ").replace("(r)", "").replace("(tm)", "").split()
    return " ".join(word for word in words if word not in _NOT_NAMES)


def _processor_name(name: str) -> str:
    """ "AMD EPYC 9654 96-Core Processor" and "EPYC 9654 (Genoa)" alike: epyc 9654."""
    words = name.partition("@")[0].replace("(R)", "").replace("(TM)", "").partition("(")[0].lower().split()
    return " ".join(word for word in words if word not in _NOT_PROCESSOR_NAMES and not word.endswith("-core"))


def _disk(path: Path) -> Disk:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return Disk(str(path), 0, 0)
    return Disk(str(path), usage.total, usage.free, _disk_kind(path))


def _disk_kind(path: Path) -> str:
    """Rotational flag of the block device behind the longest matching mount point (Linux)."""
    mounts = [m for m in psutil.disk_partitions(all=False) if str(path.resolve()).startswith(m.mountpoint)]
    if not mounts:
        return ""
    device = Path(max(mounts, key=lambda m: len(m.mountpoint)).device).name
    if device.startswith("vd"):  # virtual disks always call themselves rotational
        return ""
    for name in (device, device.rstrip("0123456789"), device.rstrip("0123456789").removesuffix("p")):
        try:
            return "hdd" if Path(f"/sys/block/{name}/queue/rotational").read_text().strip() == "1" else "ssd"
        except OSError:
            continue
    return ""
