"""Datasheet rates of a machine for a format: bandwidth, the peak of the right compute path, links, host.

The compute path follows the format and back end: quantised GGUF multiplies in INT8 on CUDA and in 16 bit elsewhere,
FP8 and FP4 use their units where they exist and where the engine has products for them, weight-only paths run at the
16-bit rate, processors use their dot-product or matrix instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.engines import expands_weights
from advisor.catalog.formats import Format
from advisor.catalog.records import Device, Engine, Host
from advisor.sizing.columns import Hardware, ModelKey, Runtime
from advisor.sizing.identity_cache import cached_by_identity

__all__ = ["MachineRates", "expanded", "machine_rates", "paths"]

Floats = NDArray[np.float64]
Index = NDArray[np.intp]

PATHS: tuple[tuple[str, ...], ...] = (
    ("bf16",),
    ("int8", "bf16"),
    ("fp8", "bf16"),
    ("fp4", "bf16"),
    ("fp32",),
)
_SIXTEEN, _INT8, _FP8, _FP4, _VECTOR = range(len(PATHS))
# Operations per byte of bandwidth assumed where no peak is known; `no_peak` marks them for the fit.
_UNKNOWN_INTENSITY = {"npu": 600.0, "cpu": 30.0, "other": 150.0}
_DEFAULT_PCIE = 16e9


@dataclass(frozen=True, slots=True)
class MachineRates:
    """Tables by machine (rows) and compute path (columns), for runs on the accelerator or on the processor."""

    bandwidth: Floats  # (machines,)
    peaks: Floats  # (machines, paths)
    vector_peak: Floats  # fp32 without matrix units; 0: unknown
    known: NDArray[np.bool_]  # some peak is known
    link: Floats
    pcie: Floats
    host_bandwidth: Floats
    host_vector_peak: Floats
    host_matrix_peak: Floats


def paths(models: Sequence[ModelKey], runtimes: Sequence[Runtime], *, on_cpu: bool) -> NDArray[np.intp]:
    """Compute path by model and runtime, shape (models, runtimes)."""
    formats = {m.format.id: m.format for m in models}
    backends = dict.fromkeys(r.backend for r in runtimes)
    known = {f: {b: _path(fmt, b, on_cpu=on_cpu) for b in backends} for f, fmt in formats.items()}
    table = [[known[m.format.id][r.backend] for r in runtimes] for m in models]
    return np.array(table, dtype=np.intp).reshape(len(models), len(runtimes))


def expanded(
    models: Sequence[ModelKey],
    runtimes: Sequence[Runtime],
    hardware: tuple[Hardware, ...],
    at: tuple[Index, Index, Index],
) -> NDArray[np.bool_]:
    """Whether the engine expands the weights before each product, so that the 16-bit rate bounds it.

    `at`: positions of the model, runtime and machine of every pairing; shape (pairings,).
    """
    formats = {m.format.id: m.format for m in models}
    row = {name: at for at, name in enumerate(formats)}
    devices, column = _devices(hardware)
    table = [[_expanded_on(r.engine, fmt, r.backend, devices) for r in runtimes] for fmt in formats.values()]
    found = np.array(table, dtype=bool).reshape(len(formats), len(runtimes), len(devices))
    model, runtime, machine = at
    answer: NDArray[np.bool_] = found[np.array([row[m.format.id] for m in models])[model], runtime, column[machine]]
    return answer


@cached_by_identity(4096)
def _expanded_on(engine: Engine, fmt: Format, backend: str, devices: tuple[Device | None, ...]) -> tuple[bool, ...]:
    return expands_weights(engine, fmt, backend, devices)


@cached_by_identity(16)
def _devices(hardware: tuple[Hardware, ...]) -> tuple[tuple[Device | None, ...], Index]:
    """Distinct devices, and which of them each machine has."""
    distinct = {id(h.device): h.device for h in hardware}
    place = {key: at for at, key in enumerate(distinct)}
    return tuple(distinct.values()), np.array([place[id(h.device)] for h in hardware], dtype=np.intp)


def machine_rates(hardware: Sequence[Hardware], backend: str, *, on_cpu: bool) -> MachineRates:
    """Rates of each machine through `backend`."""
    rows = [_host_row(h.host) if on_cpu and h.host else _device_row(h.device, backend, on_cpu=on_cpu) for h in hardware]
    hosts = [_host_row(h.host) if h.host else _device_row(None, "cpu", on_cpu=True) for h in hardware]
    return MachineRates(
        bandwidth=np.array([row.bandwidth for row in rows]),
        peaks=np.array([[row.peak(path) for path in PATHS] for row in rows]),
        vector_peak=np.array([row.vector for row in rows]),
        known=np.array([row.known for row in rows]),
        link=np.array([_link(h.device) for h in hardware]),
        pcie=np.array([(h.device.pcie_bytes_per_s if h.device else None) or _DEFAULT_PCIE for h in hardware]),
        host_bandwidth=np.array([row.bandwidth for row in hosts]),
        host_vector_peak=np.array([row.peak(("int8",)) for row in hosts]),
        host_matrix_peak=np.array([row.matrix or row.peak(("int8",)) for row in hosts]),
    )


@dataclass(frozen=True, slots=True)
class _Rates:
    bandwidth: float
    peaks: dict[str, float]
    vector: float
    known: bool
    matrix: float = 0.0  # AMX or the like, on processors

    def peak(self, path: Sequence[str]) -> float:
        for name in path:
            if self.peaks.get(name):
                return self.peaks[name]
        return self.peaks["bf16"]


def _path(fmt: Format, backend: str, *, on_cpu: bool) -> int:
    quantised_gguf = fmt.family.startswith("gguf") and fmt.family != "gguf-16"
    if on_cpu:
        return _VECTOR if fmt.family in ("16bit", "gguf-16") else _INT8
    if backend == "npu" or (quantised_gguf and backend == "cuda"):
        return _INT8
    if fmt.family == "int8" and not fmt.weight_only:
        return _INT8
    if fmt.family == "fp8":
        return _FP8
    if fmt.family == "fp4":
        return _FP4
    return _SIXTEEN


def _device_row(device: Device | None, backend: str, *, on_cpu: bool) -> _Rates:
    if device is None:
        return _Rates(1e11, {"bf16": 1e12}, 0.0, known=False)
    given = {k: v for k, v in device.peak_ops_per_s.items() if v}
    if on_cpu and set(given) - {"fp32"}:
        given = {}  # the record describes the GPU or NPU of the chip
    vector = given.get("fp32", 0.0)
    sixteen = max(given.get("bf16", 0.0), given.get("fp16", 0.0), vector)
    if on_cpu and vector:
        given = {"fp32": vector, "int8": vector * _dot_gain(device.isa)}
        sixteen = vector
    kind = "npu" if backend == "npu" else "cpu" if on_cpu else "other"
    known = bool(sixteen or vector or (backend == "npu" and given.get("int8")))
    sixteen = sixteen or device.bandwidth_bytes_per_s * _UNKNOWN_INTENSITY[kind]
    return _Rates(device.bandwidth_bytes_per_s, {**given, "bf16": sixteen}, vector, known)


def _host_row(host: Host) -> _Rates:
    bandwidth = host.measured_bandwidth_bytes_per_s or host.memory_bandwidth_bytes_per_s
    vector = host.peak_fp32_ops_per_s or 0.0
    base = vector or bandwidth * _UNKNOWN_INTENSITY["cpu"]
    peaks = {"bf16": base, "fp32": base, "int8": base * _dot_gain(host.isa)}
    return _Rates(bandwidth, peaks, vector, known=vector > 0, matrix=host.peak_bf16_ops_per_s or 0.0)


def _dot_gain(isa: Sequence[str]) -> float:
    """8-bit products per fp32 product: four with dot-product instructions, two with plain AVX2 or NEON."""
    return 4.0 if any(name.split("_")[-1] in ("vnni", "dotprod", "i8mm", "amx") for name in isa) else 2.0


def _link(device: Device | None) -> float:
    if device is None:
        return _DEFAULT_PCIE
    if device.link is not None and device.link.topology != "none":
        return device.link.bytes_per_s
    return device.pcie_bytes_per_s or _DEFAULT_PCIE
