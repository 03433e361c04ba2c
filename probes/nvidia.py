"""NVIDIA GPUs through NVML: what they are, and how they are doing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TypeVar

import psutil

from probes.cuda_visible import BUS_ORDER, ORDER, VISIBLE, is_visible_slice, visible_cards
from probes.machine_records import Accelerator
from probes.nvidia_mig import has_mig_on, slices_of_card, without_power

__all__ = ["find_nvidia", "gpu_energy_joules", "gpu_state"]

T = TypeVar("T")

THROTTLE_NAMES = {
    0x4: "power_cap", 0x8: "hardware_slowdown", 0x20: "software_thermal", 0x40: "hardware_thermal", 0x80: "power_brake",
}  # fmt: skip  # bits of nvmlDeviceGetCurrentClocksEventReasons


def find_nvidia() -> tuple[list[Accelerator], list[tuple[str, str]]]:
    """GPUs that CUDA_VISIBLE_DEVICES leaves to this process, and notes. No driver is the plain note `nvidia_absent`;
    anything else that fails is `nvml_failed` with its text.
    """
    try:
        import pynvml
    except ImportError:
        return [], [("nvml_missing", "")]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as problem:
        absent = isinstance(problem, (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded))
        return [], [("nvidia_absent", "")] if absent else [("nvml_failed", str(problem))]
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as problem:
        return [], [("nvml_failed", str(problem))]
    return _each(pynvml, count, driver)


def _each(nvml: ModuleType, count: int, driver: str) -> tuple[list[Accelerator], list[tuple[str, str]]]:
    found: list[Accelerator] = []
    notes: list[tuple[str, str]] = [] if count else [("nvidia_absent", "")]
    uuids, variable = [_uuid(nvml, index) for index in range(count)], os.environ.get(VISIBLE)
    seen = _seen(uuids, variable)
    for index in seen:
        try:
            mine = _devices(nvml, index, driver, uuids[index])
        except nvml.NVMLError as problem:  # one broken card must not hide the others
            notes.append(("nvml_failed", f"GPU {index}: {problem}"))
            continue
        found += [device for device in mine if _is_offered(device, variable)]
        notes += [] if mine else [("mig_empty", f"GPU {index}")]
    hidden = [index for index in range(count) if index not in seen]
    if hidden:
        notes.append(("nvidia_hidden", ", ".join(f"GPU {index}" for index in hidden)))
    return _named(found, seen), notes


def _seen(uuids: Sequence[str], variable: str | None) -> list[int]:
    """Cards that may hold something visible: any may hold a slice that is named."""
    names_slices = variable is not None and variable.startswith("MIG-")
    return list(range(len(uuids))) if names_slices else visible_cards(uuids, variable)


def _is_offered(device: Accelerator, variable: str | None) -> bool:
    if device.part is not None:
        return is_visible_slice(device.uuid, variable)
    return variable is None or not variable.startswith("MIG-")


def _devices(nvml: ModuleType, index: int, driver: str, uuid: str) -> list[Accelerator]:
    """The card, or with MIG on its slices, of which there may be none."""
    card, handle = _describe(nvml, index, driver, uuid), nvml.nvmlDeviceGetHandleByIndex(index)
    return slices_of_card(nvml, handle, card) if has_mig_on(nvml, handle) else [card]


def _uuid(nvml: ModuleType, index: int) -> str:
    """Empty for a card that does not answer: it keeps its place in the order."""
    return _text(_try(nvml, lambda: nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))) or "")


def _named(cards: Sequence[Accelerator], seen: Sequence[int]) -> list[Accelerator]:
    """With the device that a probe asks for: CUDA's number, which is the place among those that are visible. With a
    card lost or cut up, or under another order than NVML's with unlike cards, the numbers are not known here: UUIDs
    then.
    """
    unlike = len({card.name for card in cards}) > 1
    ordered = not unlike or os.environ.get(ORDER, BUS_ORDER) == BUS_ORDER
    sure = ordered and [card.index for card in cards if card.part is None] == list(seen)
    return [
        replace(card, torch_device=f"cuda:{seen.index(card.index) if sure or not card.uuid else card.uuid}")
        for card in cards
    ]


def _describe(nvml: ModuleType, index: int, driver: str, uuid: str) -> Accelerator:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = _try(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    total, free = _shared_memory() if memory is None else (int(memory.total), int(memory.free))  # type: ignore[attr-defined]
    capability = _try(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    return Accelerator(
        index=index,
        vendor="nvidia",
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=total,
        free_bytes=free,
        compute_capability=None if capability is None else capability[0] + capability[1] / 10,
        driver=driver,
        state=_state(nvml, handle),
        uuid=uuid,
    )


def _shared_memory() -> tuple[int, int]:
    """Total and free bytes of a GPU without memory of its own (GB10): NVML has no figure, the system's memory is it."""
    memory = psutil.virtual_memory()
    return int(memory.total), int(memory.available)


def gpu_state(card: str) -> dict[str, float | str]:
    """Clocks, power, temperature and throttling now; empty where NVML cannot say. `card`: its UUID or PCI bus id, as
    CUDA tells them, because CUDA's numbers are not NVML's.
    """
    found = _with_handle(card, _state_and_driver) or {}
    return without_power(found) if found.get("mig") == "on" else found


def gpu_energy_joules(card: str) -> float | None:
    """Energy counter since the driver was loaded (Volta and later), or None. `card` as above. A slice has no counter:
    that of its card counts all slices.
    """
    return _with_handle(card, _energy)


def _state_and_driver(nvml: ModuleType, handle: object) -> dict[str, float | str]:
    driver = _try(nvml, lambda: _text(nvml.nvmlSystemGetDriverVersion()))
    return _state(nvml, handle) | ({"driver": str(driver)} if driver else {})


def own_gpu_bytes(card: str) -> int | None:
    """Memory of the card that this process holds now, with CUDA's own; None where the driver does not tell (WSL, a
    container that numbers its processes anew).
    """
    return _with_handle(card, _own_bytes)


def _own_bytes(nvml: ModuleType, handle: object) -> int | None:
    own = [p for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid == os.getpid()]
    return int(own[0].usedGpuMemory) if own and own[0].usedGpuMemory else None


def _energy(nvml: ModuleType, handle: object) -> float | None:
    if has_mig_on(nvml, handle):
        return None
    return _scaled(_try(nvml, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)), 1e-3)


def _with_handle(card: str, read: Callable[[ModuleType, object], T]) -> T | None:
    if not card:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return read(pynvml, _handle(pynvml, card))
    except pynvml.NVMLError:
        return None


def _handle(nvml: ModuleType, card: str) -> object:
    """Of the whole card, also for a slice."""
    if card.startswith("MIG-"):
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvml.nvmlDeviceGetHandleByUUID(card))
    is_uuid = card.startswith("GPU-")
    return nvml.nvmlDeviceGetHandleByUUID(card) if is_uuid else nvml.nvmlDeviceGetHandleByPciBusId(card)


def _state(nvml: ModuleType, handle: object) -> dict[str, float | str]:
    """Each figure on its own: cards differ in what they report."""
    reads: dict[str, Callable[[], object]] = {
        "sm_clock_hz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6,
        "memory_clock_hz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM) * 1e6,
        "max_sm_clock_hz": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6,
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
        "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3,
        "temperature_c": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        "ecc": lambda: "on" if nvml.nvmlDeviceGetEccMode(handle)[0] else "off",
        "mig": lambda: "on" if nvml.nvmlDeviceGetMigMode(handle)[0] else "off",
        "virtualization": lambda: {0: "none", 1: "passthrough", 2: "vgpu"}.get(
            nvml.nvmlDeviceGetVirtualizationMode(handle), "host"
        ),
        "pcie_generation": lambda: float(nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle)),
        "pcie_width": lambda: float(nvml.nvmlDeviceGetCurrPcieLinkWidth(handle)),
        "throttle": lambda: _throttle(nvml, handle),
    }
    values = {name: _try(nvml, read) for name, read in reads.items()}
    return {name: value for name, value in values.items() if isinstance(value, (int, float, str))}


def _throttle(nvml: ModuleType, handle: object) -> str:
    bits = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    return ", ".join(name for bit, name in THROTTLE_NAMES.items() if bits & bit) or "none"


def _try(nvml: ModuleType, read: Callable[[], object]) -> object:
    """None where this card or driver does not support the call."""
    try:
        return read()
    except (nvml.NVMLError, AttributeError, TypeError, IndexError):
        return None


def _scaled(value: object, factor: float) -> float | None:
    return float(value) * factor if isinstance(value, (int, float)) else None


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
