"""NVIDIA GPUs through NVML: what they are, and how they are doing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TypeVar

import psutil

from probes.cuda_visible import BUS_ORDER, ORDER, VISIBLE, visible_cards
from probes.machine_records import Accelerator

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
    uuids = [_uuid(nvml, index) for index in range(count)]
    seen = visible_cards(uuids, os.environ.get(VISIBLE))
    for index in seen:
        try:
            found.append(_describe(nvml, index, driver, uuids[index]))
        except nvml.NVMLError as problem:  # one broken card must not hide the others
            notes.append(("nvml_failed", f"GPU {index}: {problem}"))
    hidden = [index for index in range(count) if index not in seen]
    if hidden:
        notes.append(("nvidia_hidden", ", ".join(f"GPU {index}" for index in hidden)))
    return _named(found, seen), notes


def _uuid(nvml: ModuleType, index: int) -> str:
    """Empty for a card that does not answer: it keeps its place in the order."""
    return _text(_try(nvml, lambda: nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))) or "")


def _named(cards: Sequence[Accelerator], seen: Sequence[int]) -> list[Accelerator]:
    """With the device that a probe asks for: CUDA's number, which is the place among those that are visible. With a
    card lost, or under another order than NVML's with unlike cards, the numbers are not known here: UUIDs then.
    """
    unlike = len({card.name for card in cards}) > 1
    sure = len(cards) == len(seen) and (not unlike or os.environ.get(ORDER, BUS_ORDER) == BUS_ORDER)
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
    return _with_handle(card, _state) or {}


def gpu_energy_joules(card: str) -> float | None:
    """Energy counter since the driver was loaded (Volta and later), or None. `card` as above."""
    return _with_handle(
        card, lambda nvml, handle: _scaled(_try(nvml, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)), 1e-3)
    )


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
