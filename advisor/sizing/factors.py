"""What the fitted effects may depend on: factors with levels, and covariates, of the distinct pairings in a grid.

A *pairing* is one combination of model key, runtime, machine and way of running (offload, load mode, …). All levels
are looked up on the small tables and carried as integer codes, so a hundred thousand pairings cost milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.records import AttentionKind, Device, DeviceClass, Host
from advisor.sizing.columns import Hardware, ModelKey, Runtime

__all__ = [
    "COVARIATES",
    "FACTORS",
    "Factor",
    "FactorColumns",
    "hardware_factors",
    "model_factors",
    "runtime_factors",
]

Floats = NDArray[np.float64]
Index = NDArray[np.intp]

FACTORS = (
    "architecture",
    "family",
    "model",
    "engine",
    "backend",
    "maker_class",
    "generation",
    "device",
    "host",
    "processor",
    "cache_kind",
    "flash",
    "host_path",
    "load_mode",
    "dataset",
    "phase",
    "place",
)
COVARIATES = (
    "log_bandwidth",
    "log_peak",
    "vector_ratio",
    "intensity",
    "watts_ratio",
    "log_cores",
    "year",
    "log_hidden",
    "no_peak",
    "host_cores",
    "host_sockets",
    "host_measured",
)
REFERENCE_YEAR = 2025.5
_WATTS_PER_TERAFLOP = 6.0  # centre of the covariate, near a desktop card of 2022


@dataclass(frozen=True, slots=True)
class Factor:
    """Levels, and the level of each pairing."""

    levels: tuple[str, ...]
    codes: Index

    @classmethod
    def of(cls, values: Sequence[str]) -> Factor:
        """From one value per pairing."""
        levels, codes = np.unique(np.asarray(values, dtype=str), return_inverse=True)
        return cls(tuple(map(str, levels)), codes)

    def spread(self, index: Index) -> Factor:
        """The same levels for pairings that refer to this table by `index`."""
        return Factor(self.levels, self.codes[index])


@dataclass(frozen=True, slots=True)
class FactorColumns:
    """Factors and covariates of `size` pairings."""

    size: int
    factors: Mapping[str, Factor]
    numbers: Mapping[str, Floats]

    def pick(self, names: Sequence[str], coefficients: Mapping[str, float]) -> Floats:
        """The coefficient of each pairing's combination of levels; 0 for combinations without one."""
        if not names:
            return np.full(self.size, coefficients.get("", 0.0))
        parts = [self.factors[name] for name in names]
        table = np.zeros([len(part.levels) for part in parts])
        places = [{level: n for n, level in enumerate(part.levels)} for part in parts]
        for key, value in coefficients.items():
            found = [place.get(level) for place, level in zip(places, key.split("|"), strict=True)]
            if None not in found:
                table[tuple(found)] = value
        if not table.any():
            return np.zeros(self.size)
        place = np.ravel_multi_index(tuple(part.codes for part in parts), table.shape)
        picked: Floats = table.ravel().take(place)
        return picked

    def keys(self, names: Sequence[str]) -> tuple[str, ...]:
        """Combined level of each pairing, joined with "|"."""
        columns = [np.array(self.factors[name].levels)[self.factors[name].codes] for name in names]
        return tuple("|".join(row) for row in zip(*columns, strict=True)) if columns else ("",) * self.size


def model_factors(models: Sequence[ModelKey]) -> dict[str, Factor]:
    """Factors of the model table."""
    return {
        "architecture": Factor.of([_architecture(m) for m in models]),
        "family": Factor.of([m.format.family for m in models]),
        "model": Factor.of([m.variant.model_id for m in models]),
    }


def runtime_factors(runtimes: Sequence[Runtime]) -> dict[str, Factor]:
    """Factors of the runtime table. Ollama runs llama.cpp."""
    return {"engine": Factor.of(["llama.cpp" if r.engine.id == "ollama" else r.engine.id for r in runtimes])}


def hardware_factors(hardware: Sequence[Hardware], *, on_cpu: bool) -> tuple[dict[str, Factor], dict[str, Floats]]:
    """Factors and covariates of the machine table, for plans that run on the processor or on the accelerator."""
    rows = [_machine_row(h, on_cpu=on_cpu) for h in hardware]
    factors = {
        "maker_class": Factor.of([row[0] for row in rows]),
        "generation": Factor.of([row[1] for row in rows]),
        "device": Factor.of([row[2] for row in rows]),
        "host": Factor.of([row[2] for row in rows] if on_cpu else [h.host.id if h.host else "" for h in hardware]),
        "processor": Factor.of([_processor(h) for h in hardware]),
        "place": Factor.of([_place(h, on_cpu=on_cpu) for h in hardware]),
    }
    numbers = {
        "watts_ratio": np.array([row[3] for row in rows]),
        "log_cores": np.array([row[4] for row in rows]),
        "host_cores": np.array([_host_cores(h) for h in hardware]),
        "host_sockets": np.array([float(h.host.sockets) if h.host else 1.0 for h in hardware]),
        "host_measured": np.array([float(_measured(h.host)) for h in hardware]),
    }
    return factors, numbers


def _architecture(m: ModelKey) -> str:
    a = m.variant.architecture
    if a.attention in (AttentionKind.MLA, AttentionKind.MLA_DSA):
        return "mla"
    return "moe" if a.is_moe else "dense"


def _processor(h: Hardware) -> str:
    if h.host is not None:
        return _isa(h.host.isa)
    return _isa(h.device.isa) if h.device is not None else ""


def _host_cores(h: Hardware) -> float:
    """Cores of the processor as log2 of 16."""
    cores = h.host.cores if h.host is not None else None
    if h.device is not None and h.device.device_class == DeviceClass.CPU:
        cores = cores or h.device.units
    return float(np.log2(max(cores, 1) / 16)) if cores else 0.0


def _measured(host: Host | None) -> bool:
    return host is not None and host.measured_bandwidth_bytes_per_s is not None


def _machine_row(h: Hardware, *, on_cpu: bool) -> tuple[str, str, str, float, float]:
    """(maker and class, generation, id, watts per vector TFLOP as log2, cores as log2 of 16)."""
    if on_cpu and h.host is not None:
        cores = float(np.log2(max(h.host.cores, 1) / 16))
        return "cpu/cpu", f"cpu-{_isa(h.host.isa)}", h.host.id, 0.0, cores
    device = h.device
    if device is None:
        return "cpu/cpu", "cpu", "", 0.0, 0.0
    name = f"{device.vendor}/{device.device_class}"
    cores = float(np.log2(device.units / 16)) if on_cpu and device.units and device.device_class == "cpu" else 0.0
    return name, device.architecture or "?", device.id, 0.0 if on_cpu else _watts(device), cores


def _place(h: Hardware, *, on_cpu: bool) -> str:
    """Kind of machine, as far as the spread of errors depends on it."""
    kind = h.device.device_class if h.device is not None and not (on_cpu and h.host) else DeviceClass.CPU
    return _PLACES.get(kind, str(kind))


_PLACES = {
    DeviceClass.PHONE: "edge",
    DeviceClass.LAPTOP_GPU: "consumer_gpu",
    DeviceClass.NPU: "accelerator",
    DeviceClass.TPU: "accelerator",
}


def _isa(isa: Sequence[str]) -> str:
    return next((name for name in ("amx", "avx512", "avx2", "neon") if name in isa), "other")


def _watts(device: Device) -> float:
    vector = device.peak_ops_per_s.get("fp32")
    if not vector or not device.tdp_w:
        return 0.0
    return float(np.clip(np.log2(device.tdp_w / (vector / 1e12) / _WATTS_PER_TERAFLOP), -3, 3))
