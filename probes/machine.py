"""What this machine is: processor, memory, disk, accelerators, and which catalogue records describe it. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from advisor.catalog.records import Device, Host

__all__ = ["Accelerator", "Cpu", "Disk", "Machine", "Memory", "detect", "host_record", "match_device"]


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processors of this machine."""

    model: str
    vendor: str
    sockets: int
    cores: int  # physical, usable by this process
    threads: int  # logical, usable by this process
    numa_nodes: int
    isa: tuple[str, ...]  # avx2, avx512f, avx512_bf16, amx_bf16, neon, ...
    cache_bytes: Mapping[str, int]  # l1d, l2, l3: totals
    max_hz: float | None = None
    hypervisor: str = ""
    quota_cores: float | None = None  # container limit


@dataclass(frozen=True, slots=True)
class Memory:
    total_bytes: int
    available_bytes: int
    swap_bytes: int
    limit_bytes: int | None = None  # container limit

    @property
    def usable_bytes(self) -> int:
        return min(self.total_bytes, self.limit_bytes or self.total_bytes)


@dataclass(frozen=True, slots=True)
class Disk:
    path: str
    total_bytes: int
    free_bytes: int
    kind: str = ""  # ssd | hdd | nvme | network | ""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU or NPU as its own tool describes it. `state`: clocks, power, temperature, throttle reasons, ECC, MIG, vGPU."""

    index: int
    vendor: str  # nvidia | amd | intel | apple | ascend | jetson
    name: str
    memory_bytes: int
    torch_device: str = ""  # cuda:0, mps, ...; empty: torch cannot use it
    free_bytes: int | None = None
    compute_capability: float | None = None
    driver: str = ""
    state: Mapping[str, float | str] = field(default_factory=dict)
    catalog_id: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """`fingerprint` stays equal over reboots and free memory; it changes with processor, memory size, accelerators or limits.

    `notes`: keys of texts: what was looked for and not found, or found and failing (no_nvidia, nvml_failed, ...), with values.
    """

    name: str
    os: str
    python: str
    cpu: Cpu
    memory: Memory
    disk: Disk
    accelerators: tuple[Accelerator, ...]
    notes: tuple[tuple[str, str], ...]
    fingerprint: str


def detect() -> Machine:
    """Look at this machine; takes well under a second and never raises for missing tools."""
    raise NotImplementedError  # being written


def host_record(machine: Machine, bandwidth_bytes_per_s: float | None = None) -> Host:
    """This machine as a catalogue host, so that CPU-only plans can be sized on it."""
    raise NotImplementedError  # being written


def match_device(accelerator: Accelerator, devices: Mapping[str, Device]) -> Device | None:
    """The catalogue device with exactly this name or alias and about this memory, else None."""
    raise NotImplementedError  # being written
