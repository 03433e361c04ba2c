"""NVIDIA GPUs through NVML: what they are, and how they are doing."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import psutil

from probes.machine_records import Accelerator

__all__ = ["find_nvidia", "gpu_energy_joules", "gpu_state"]

THROTTLE_NAMES = {
    0x4: "power_cap", 0x8: "hardware_slowdown", 0x20: "software_thermal", 0x40: "hardware_thermal", 0x80: "power_brake",
}  # fmt: skip  # bits of nvmlDeviceGetCurrentClocksEventReasons


def find_nvidia() -> tuple[list[Accelerator], list[tuple[str, str]]]:
    """GPUs and notes. No driver is the plain note `nvidia_absent`; anything else that fails is `nvml_failed` with its
    text.
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
    for index in range(count):
        try:
            found.append(_describe(nvml, index, driver))
        except nvml.NVMLError as problem:  # one broken card must not hide the others
            notes.append(("nvml_failed", f"GPU {index}: {problem}"))
    return found, notes


def _describe(nvml: ModuleType, index: int, driver: str) -> Accelerator:
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
        torch_device=f"cuda:{index}",
        compute_capability=None if capability is None else capability[0] + capability[1] / 10,
        driver=driver,
        state=_state(nvml, handle),
    )


def _shared_memory() -> tuple[int, int]:
    """Total and free bytes of a GPU without memory of its own (GB10): NVML has no figure, the system's memory is it."""
    memory = psutil.virtual_memory()
    return int(memory.total), int(memory.available)


def gpu_state(index: int) -> dict[str, float | str]:
    """Clocks, power, temperature and throttling now; empty where NVML cannot say."""
    return _with_handle(index, _state) or {}


def gpu_energy_joules(index: int) -> float | None:
    """Energy counter since the driver was loaded (Volta and later), or None."""
    return _with_handle(
        index, lambda nvml, handle: _scaled(_try(nvml, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)), 1e-3)
    )


def _with_handle(index: int, read: Callable[[ModuleType, object], object]) -> object:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return read(pynvml, pynvml.nvmlDeviceGetHandleByIndex(index))
    except pynvml.NVMLError:
        return None


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
