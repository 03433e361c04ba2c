"""Records of this machine: processor, memory, disk, accelerators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Accelerator", "CardPart", "Cpu", "Disk", "Machine", "Memory"]


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
    steal_share: float | None = None  # of all processor time since start, given to other machines; None: not told
    generation: str = ""  # family/model/stepping, where the processor tells

    @property
    def title(self) -> str:
        """A virtual machine's host chooses the name, which may hide what the processor is."""
        return f"{self.model} ({self.generation})" if self.hypervisor and self.generation else self.model


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
    kind: str = ""  # ssd | hdd | ""


@dataclass(frozen=True, slots=True)
class CardPart:
    """What MIG cut a device out of."""

    card_name: str
    card_memory_bytes: int
    multiprocessors: int | None = None  # of the part; None: not told


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU or NPU as its own tool describes it. `state`: clocks, power, temperature, throttle reasons, ECC, MIG,
    vGPU.
    """

    index: int
    vendor: str  # nvidia | amd | intel | apple | huawei
    name: str
    memory_bytes: int
    torch_device: str = ""  # cuda:0, cuda:<uuid>, mps, ...; empty: the probes' torch cannot use it
    free_bytes: int | None = None
    compute_capability: float | None = None
    driver: str = ""
    state: Mapping[str, float | str] = field(default_factory=dict)
    uuid: str = ""  # NVIDIA only: GPU-..., MIG-...
    part: CardPart | None = None  # None: a whole card


@dataclass(frozen=True, slots=True)
class Machine:
    """`fingerprint` stays equal over reboots and free memory; it changes with processor, memory size, accelerators or
    limits.

    `notes`: what was looked for and not found, or found and failing: (key of a text under `probes.note`, detail).
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
