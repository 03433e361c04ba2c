"""From plans to the inputs of the step formulas: every distinct pairing once, then gathered to the plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.cache import CacheRule, MlaCache, cache_rule, gather_rules
from advisor.sizing.columns import Hardware, ModelKey, Runtime
from advisor.sizing.efficiency import EfficiencyArrays
from advisor.sizing.factors import (
    REFERENCE_YEAR,
    Factor,
    FactorColumns,
    hardware_factors,
    model_factors,
    runtime_factors,
)
from advisor.sizing.identity_cache import cached_by_identity
from advisor.sizing.profile import ModelProfile, gather, profile
from advisor.sizing.rates import MachineRates, expanded, machine_rates, paths
from advisor.sizing.response import Work
from advisor.sizing.step_arrays import LayoutArrays, MachineArrays, ModelArrays, StepInputs

__all__ = ["CPU_MATRIX", "GPU_STREAM", "Pairings", "gathered", "step_inputs", "taken_inputs"]

Floats = NDArray[np.float64]
Index = NDArray[np.intp]
R = TypeVar("R", ModelArrays, CacheRule, MachineArrays, LayoutArrays, EfficiencyArrays, Work)

CPU_MATRIX, GPU_STREAM = "cpu_amx", "gpu_stream"  # levels of the factor host_path
# These convert the whole graph, so the output head has the bits of the other matrices.
_QUANTISES_HEAD = frozenset({"rkllm", "qnn-genie", "cactus", "mnn", "litert-lm", "mlc-llm"})


@dataclass(frozen=True, slots=True)
class Pairings:
    """Distinct combinations that share all fitted effects; arrays of shape (pairings,).

    `host_path`: how a processor multiplies during prefill ("", CPU_MATRIX, GPU_STREAM). `expanded`: the engine keeps
    full keys and values of MLA. `hybrid`: something stays on the host while an accelerator works. `several`: a replica
    spans more than one device.
    """

    models: tuple[ModelKey, ...]
    runtimes: tuple[Runtime, ...]
    hardware: tuple[Hardware, ...]
    model: Index
    runtime: Index
    machine: Index
    on_cpu: NDArray[np.bool_]
    hybrid: NDArray[np.bool_]
    expanded: NDArray[np.bool_]
    year: Floats
    flash: Factor
    host_path: Factor
    load_mode: Factor
    dataset: Factor
    phase: Factor  # decode | prefill: which bias applies
    several: NDArray[np.bool_] | None = None  # None: none does

    def __len__(self) -> int:
        return len(self.model)

    def machine_arrays(self) -> tuple[MachineArrays, dict[str, Floats]]:
        """Rates, and the covariates that follow from them."""
        rates = _rates_by_kind(self.hardware)
        kind = np.where(self.on_cpu, 2, np.where(self._is_backend("npu"), 1, 0))
        path = np.where(
            self.on_cpu,
            paths(self.models, self.runtimes, on_cpu=True)[self.model, self.runtime],
            paths(self.models, self.runtimes, on_cpu=False)[self.model, self.runtime],
        )
        peak = np.stack([r.peaks for r in rates])[kind, self.machine, path]
        sixteen = np.stack([r.peaks[:, 0] for r in rates])[kind, self.machine]
        weight_only = expanded(self.models, self.runtimes, self.hardware, (self.model, self.runtime, self.machine))
        peak = np.where(weight_only, np.minimum(peak, sixteen), peak)
        vector = np.stack([r.vector_peak for r in rates])[kind, self.machine]
        matrix = rates[2].host_matrix_peak[self.machine]
        amx = self._level(self.host_path, CPU_MATRIX)
        peak = np.where(self.on_cpu & amx, matrix, peak)
        ratio = np.log2(peak / np.where(vector > 0, 8 * vector, peak))
        bandwidth = np.stack([r.bandwidth for r in rates])[kind, self.machine]
        arrays = MachineArrays(
            bandwidth=bandwidth,
            peak=peak,
            attention_peak=sixteen,
            link=rates[0].link[self.machine],
            pcie=rates[0].pcie[self.machine],
            host_bandwidth=rates[0].host_bandwidth[self.machine],
            host_peak=np.where(amx, matrix, rates[0].host_vector_peak[self.machine]),
            tiled=(~self.on_cpu).astype(float),
            overlap=np.where(self.on_cpu, self._cpu_overlap(), 1.0),
        )
        known = np.stack([r.known for r in rates])[kind, self.machine]
        numbers = {
            "log_bandwidth": np.log2(bandwidth / 5e11),
            "log_peak": np.log2(peak / 2e14),
            "vector_ratio": np.clip(ratio, -3, 4),
            "intensity": np.where(vector > 0, np.clip(np.log2(np.maximum(vector, 1) / bandwidth / 40), -3, 3), 0.0)
            * ~self.on_cpu,
            "no_peak": (~known).astype(float),
        }
        return arrays, numbers

    def factor_columns(self, numbers: dict[str, Floats]) -> FactorColumns:
        """Factors and covariates; `numbers` come from `machine_arrays`."""
        factors = {name: f.spread(self.model) for name, f in model_factors(self.models).items()}
        factors |= {name: f.spread(self.runtime) for name, f in runtime_factors(self.runtimes).items()}
        n = len(self.runtimes)
        backends = Factor.of([*(r.backend for r in self.runtimes), *(f"{r.backend}+cpu" for r in self.runtimes), "cpu"])
        factors["backend"] = backends.spread(np.where(self.on_cpu, 2 * n, self.runtime + n * self.hybrid))
        for name, (device, processor) in _both(self.hardware).items():
            together = Factor.of([*_values(device), *_values(processor)])
            factors[name] = together.spread(self.machine + len(self.hardware) * self.on_cpu)
        factors["host"] = _set_level(factors["host"], ~(self.hybrid | self.on_cpu), "")
        factors["processor"] = _set_level(factors["processor"], ~(self.hybrid | self.on_cpu), "")
        factors["place"] = _set_level(factors["place"], self.hybrid, "hybrid")
        is_mla = self._level(factors["architecture"], "mla")
        kind = np.where(is_mla, np.where(self.expanded, 1, 0), 2)
        factors["cache_kind"] = Factor(("latent", "expanded", "plain"), kind)
        names = ("flash", "host_path", "load_mode", "dataset", "phase")
        given = {name: getattr(self, name) for name in names}
        hidden = np.array([float(m.variant.architecture.hidden_size) for m in self.models])[self.model]
        own = {"year": self.year - REFERENCE_YEAR, "log_hidden": np.log2(hidden / 4096)}
        return FactorColumns(len(self), factors | given, numbers | self._host_numbers() | own)

    def model_arrays(self) -> ModelArrays:
        """Bytes, parameters and operations of the models, as their engine stores them."""
        m = gather([_profile(key) for key in self.models], self.model)
        active = np.asarray(m.other_active_params)
        touched = active / np.maximum(m.other_params, 1)
        quantised = np.array([r.engine.id in _QUANTISES_HEAD for r in self.runtimes])[self.runtime]
        bits = np.array([key.format.bits_per_weight for key in self.models])[self.model]
        head = np.where(quantised, np.minimum(m.head_bytes, m.head_params * bits / 8), m.head_bytes)
        given = {f.name: np.asarray(getattr(m, f.name)) for f in fields(ModelArrays) if hasattr(m, f.name)}
        own = {
            "attention_split_bytes": m.attention_bytes - m.attention_replicated_bytes,
            "dense_bytes": m.dense_ffn_bytes + m.shared_expert_bytes + m.router_bytes + m.other_bytes * touched,
            "dense_params": m.dense_ffn_params + m.shared_expert_params + m.router_params + active,
            "head_bytes": head,
            "log_unchosen": np.log1p(-np.minimum(m.experts_per_tok / np.maximum(m.n_experts, 1), 1 - 1e-9)),
            "decode_attention_flops": np.where(self.expanded, m.prefill_attention_flops, m.decode_attention_flops),
        }
        return ModelArrays(**(given | {name: np.asarray(value) for name, value in own.items()}))

    def cache_rules(self) -> CacheRule:
        """Cache rules by pairing."""
        rules = [_rule(key, mla) for mla in (MlaCache.LATENT, MlaCache.EXPANDED) for key in self.models]
        return gather_rules(rules, self.model + len(self.models) * self.expanded)

    def _host_numbers(self) -> dict[str, Floats]:
        own = _machine_factors(self.hardware, "device")[1], _machine_factors(self.hardware, "cpu")[1]
        return {n: np.where(self.on_cpu, own[1][n][self.machine], own[0][n][self.machine]) for n in own[0]}

    def _cpu_overlap(self) -> Floats:
        found: Floats = np.array([r.engine.cpu_overlap for r in self.runtimes])[self.runtime]
        return found

    def _is_backend(self, name: str) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.array([r.backend == name for r in self.runtimes])[self.runtime]
        return found

    @staticmethod
    def _level(factor: Factor, level: str) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.array([name == level for name in factor.levels])[factor.codes]
        return found


def step_inputs(pairings: Pairings, machine: MachineArrays, layout: LayoutArrays, index: Index) -> StepInputs:
    """Inputs of the plans that refer to `pairings` by `index`; `layout` is per plan, `machine` per pairing."""
    return StepInputs(
        model=gathered(pairings.model_arrays(), index),
        cache=gathered(pairings.cache_rules(), index),
        machine=gathered(machine, index),
        layout=layout,
    )


def taken_inputs(inputs: StepInputs, index: Index | slice) -> StepInputs:
    """The inputs of some plans."""
    return StepInputs(
        gathered(inputs.model, index),
        gathered(inputs.cache, index),
        gathered(inputs.machine, index),
        gathered(inputs.layout, index),
    )


def gathered(record: R, index: Index | slice) -> R:
    """A record of arrays with every field taken at `index`."""
    columns = [np.asarray(getattr(record, name)) for name in type(record).__slots__]
    if isinstance(index, slice):
        return type(record)(*[values[index] for values in columns])
    return type(record)(*[values.take(index, mode="clip") for values in columns])


@lru_cache(maxsize=4096)
def _profile(key: ModelKey) -> ModelProfile:
    return profile(key.variant.architecture, key.format)


@lru_cache(maxsize=4096)
def _rule(key: ModelKey, mla: MlaCache) -> CacheRule:
    return cache_rule(key.variant.architecture, key.kv_format, mla=mla)


def _rates_by_kind(hardware: Sequence[Hardware]) -> tuple[MachineRates, MachineRates, MachineRates]:
    """On the accelerator, through an NPU back end, on the processor."""
    return (
        machine_rates(hardware, "", on_cpu=False),
        machine_rates(hardware, "npu", on_cpu=False),
        machine_rates(hardware, "cpu", on_cpu=True),
    )


@cached_by_identity(16)
def _machine_factors(hardware: tuple[Hardware, ...], where: str) -> tuple[dict[str, Factor], dict[str, Floats]]:
    """Asked several times of the same machines in one answer."""
    return hardware_factors(hardware, on_cpu=where == "cpu")


def _both(hardware: tuple[Hardware, ...]) -> dict[str, tuple[Factor, Factor]]:
    device, processor = _machine_factors(hardware, "device")[0], _machine_factors(hardware, "cpu")[0]
    return {name: (device[name], processor[name]) for name in device}


def _values(factor: Factor) -> list[str]:
    return [factor.levels[code] for code in factor.codes]


def _set_level(factor: Factor, rows: NDArray[np.bool_], level: str) -> Factor:
    """The factor with `level` in `rows`."""
    return Factor((*factor.levels, level), np.where(rows, len(factor.levels), factor.codes))
