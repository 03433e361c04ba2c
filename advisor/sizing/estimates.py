"""Fitted effects and interval widths of the distinct pairings of a grid, with local measurements applied."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.cache import CacheRule
from advisor.sizing.columns import OFFLOADS, Hardware, LoadColumns, ModelKey, PlanColumns, Runtime, Tuning
from advisor.sizing.costs import HostCosts, StepCosts, host_costs, narrowed, step_costs
from advisor.sizing.distance import drifts
from advisor.sizing.efficiency import (
    EfficiencyArrays,
    EfficiencyTable,
    apply_link,
    efficiency_table,
    on_processors,
)
from advisor.sizing.factors import Factor, FactorColumns
from advisor.sizing.identity_cache import cached_by_identity
from advisor.sizing.intervals import Intervals, half_widths, is_new
from advisor.sizing.measured_at import MeasuredAt
from advisor.sizing.own_measurements import own_measurements
from advisor.sizing.pairings import Pairings
from advisor.sizing.plan import Offload
from advisor.sizing.running import default_host_path
from advisor.sizing.step_arrays import MachineArrays, ModelArrays

__all__ = ["METRICS", "Estimates", "estimates", "pairing_rows"]

Floats = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

METRICS = ("decode", "prefill", "ttft", "output")
_SINGLE = {"decode": "decode_tok_s", "prefill": "prefill_tok_s", "ttft": "ttft_ms", "output": "decode_tok_s"}
_LOADED = {"decode": "tpot_ms", "prefill": "prefill_tok_s", "ttft": "ttft_ms", "output": "output_tok_s"}


@dataclass(frozen=True, slots=True)
class Estimates:
    """Per pairing, shape (pairings,); `index` maps plans to them. `*_factor` multiply seconds."""

    pairings: Pairings
    index: Index
    model: ModelArrays
    cache: CacheRule
    machine: MachineArrays
    efficiency: EfficiencyArrays
    costs: StepCosts
    host_costs: HostCosts | None  # None: nothing is in host memory while an accelerator works
    decode_factor: Floats
    prefill_factor: Floats
    factors_90: dict[str, Floats]  # half-width of the 90 % interval of each of METRICS, as a factor
    extrapolated: Mask
    local: Index  # 0 none, 1 calibrated by own measurements, 2 measured
    measured_at: MeasuredAt  # where, and what distance from there costs


def estimates(
    plans: PlanColumns, loads: LoadColumns, tuning: Tuning, table: EfficiencyTable | None = None
) -> Estimates:
    """Estimates for every distinct pairing among the plans; those of a single plan are remembered."""
    table = table or efficiency_table()
    if len(plans) != 1:
        return _estimates(plans, loads, tuning, table)
    offload, loaded = float(plans.offload[0]), bool(loads.concurrency[0] > 1)
    several = bool(plans.tp[0] * plans.pp[0] > 1)
    where = plans.hardware[plans.machine[0]]
    key, runtime = plans.models[plans.model[0]], plans.runtimes[plans.runtime[0]]
    return _single(key, runtime, where, offload, loaded, several, tuning.engine_date, tuning.flash_attention, table)


@cached_by_identity(2048)
def _single(
    model: ModelKey,
    runtime: Runtime,
    hardware: Hardware,
    offload: float,
    loaded: bool,
    several: bool,
    engine_date: float | None,
    flash_attention: bool | None,
    table: EfficiencyTable,
) -> Estimates:
    one, zero = np.ones(1), np.zeros(1, dtype=np.intp)
    tp, at = one + float(several), zero + int(offload)
    plans = PlanColumns((model,), (runtime,), (hardware,), zero, zero, zero, tp, one, one, one, one, at, one, one)
    loads = LoadColumns(one, one, one, one + float(loaded), one)
    return _estimates(plans, loads, Tuning(engine_date=engine_date, flash_attention=flash_attention), table)


def _estimates(plans: PlanColumns, loads: LoadColumns, tuning: Tuning, table: EfficiencyTable) -> Estimates:
    pairings, index = pairing_rows(plans, loads, tuning, table)
    machine, numbers = pairings.machine_arrays()
    columns = pairings.factor_columns(numbers)
    effects = table.effects(columns)
    prefill_columns = replace(columns, factors={**columns.factors, "phase": _all("prefill", columns.size)})
    prefill_bias = table.effects(prefill_columns, frozenset({"bias"}))["bias"]
    decode_factor, prefill_factor = np.exp(effects["bias"]), np.exp(prefill_bias)
    public_widths, drift = _widths(table, columns, pairings), drifts(table.intervals)
    own = own_measurements(table.local, pairings, public_widths, drift)
    loaded = pairings.load_mode.codes == 1
    public = on_processors(apply_link({**effects, "bias": np.zeros(len(pairings))}), pairings.on_cpu)
    efficiency = replace(public, **{name: getattr(public, name) * f for name, f in own.effects.items()})
    model, cache = pairings.model_arrays(), pairings.cache_rules()
    return Estimates(
        pairings=pairings,
        index=index,
        model=model,
        cache=cache,
        machine=machine,
        efficiency=efficiency,
        costs=narrowed(step_costs(model, cache, machine, efficiency)),
        host_costs=narrowed(host_costs(model, machine, efficiency)) if pairings.hybrid.any() else None,
        decode_factor=decode_factor * own.decode_factor,
        prefill_factor=prefill_factor * own.prefill_factor,
        factors_90={name: np.exp(width) for name, width in own.widths.items()},
        extrapolated=_extrapolated(table, columns) & (own.known == 0),
        local=own.known,
        measured_at=MeasuredAt(table.local, own.by, loaded, own.widths, public_widths, drift),
    )


def pairing_rows(
    plans: PlanColumns, loads: LoadColumns, tuning: Tuning, table: EfficiencyTable
) -> tuple[Pairings, Index]:
    """Distinct (model, runtime, machine, offload kind, alone or loaded), and the one of each plan."""
    kind = np.array([_KIND[offload] for offload in OFFLOADS])[plans.offload]
    kind = np.where((kind == 0) & (plans.tp * plans.pp > 1), _SEVERAL, kind)
    sizes = (len(plans.models), len(plans.runtimes), len(plans.hardware), _SEVERAL + 1, 2)
    loaded = (loads.concurrency > 1).astype(np.intp)
    code = np.ravel_multi_index((plans.model, plans.runtime, plans.machine, kind, loaded), sizes)
    used, index = _distinct(code, int(np.prod(sizes)))
    model, runtime, machine, kind, loaded = np.unravel_index(used, sizes)
    flash = {None: "?", True: "on", False: "off"}[tuning.flash_attention]
    years = np.array([tuning.engine_date or _newest(table, r.engine.id) for r in plans.runtimes])
    hosts = [[default_host_path(r.engine.id, h.host) for h in plans.hardware] for r in plans.runtimes]
    path = Factor.of([hosts[r][h] if k else "" for r, h, k in zip(runtime, machine, kind, strict=True)])
    pairings = Pairings(
        models=plans.models,
        runtimes=plans.runtimes,
        hardware=plans.hardware,
        model=model,
        runtime=runtime,
        machine=machine,
        on_cpu=kind == 1,
        hybrid=kind == 2,
        expanded=np.array([r.engine.expands_mla for r in plans.runtimes])[runtime],
        year=years[runtime],
        flash=_all(flash, len(used)),
        host_path=path,
        load_mode=Factor(("single", "closed_loop"), loaded),
        dataset=_all("", len(used)),
        phase=_all("decode", len(used)),
        several=kind == _SEVERAL,
    )
    return pairings, index


_KIND = {Offload.NONE: 0, Offload.CPU_ONLY: 1, Offload.EXPERTS_CPU: 2, Offload.LAYERS_SPLIT: 2}
_SEVERAL = 3


def _distinct(code: Index, size: int) -> tuple[Index, Index]:
    """Distinct codes and positions in them; by a table where that is smaller than sorting."""
    if not len(code):
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    if size > 8 * len(code) + 1_000_000:
        used, index = np.unique(code, return_inverse=True)
        return used, index
    present = np.zeros(size, dtype=bool)
    present[code] = True
    used = np.flatnonzero(present)
    place = np.zeros(size, dtype=np.intp)
    place[used] = np.arange(len(used))
    return used, place[code]


def _all(level: str, size: int) -> Factor:
    return Factor((level,), np.zeros(size, dtype=np.intp))


def _newest(table: EfficiencyTable, engine_id: str) -> float:
    return table.newest.get(engine_id, table.newest.get("", 2026.0))


def _widths(table: EfficiencyTable, columns: FactorColumns, pairings: Pairings) -> dict[str, Floats]:
    new = is_new(columns, "device", table.seen.get("device", frozenset()))
    if not table.intervals:
        return {name: np.full(columns.size, np.log(2.0)) for name in METRICS}
    loaded = pairings.load_mode.codes == 1
    intervals = _intervals(table)
    return {
        name: np.where(
            loaded,
            half_widths(intervals, columns, _LOADED[name], new),
            half_widths(intervals, columns, _SINGLE[name], new),
        )
        for name in METRICS
    }


def _intervals(table: EfficiencyTable) -> Intervals:
    return Intervals.from_mapping(table.intervals)


def _extrapolated(table: EfficiencyTable, columns: FactorColumns) -> Mask:
    """An engine, back end or device generation that no measured row has."""
    out = np.zeros(columns.size, dtype=bool)
    for name in ("engine", "backend", "generation", "family"):
        out |= is_new(columns, name, table.seen.get(name, frozenset()))
    return out
