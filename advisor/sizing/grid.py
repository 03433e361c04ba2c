"""Bytes and seconds of many plans at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.columns import OFFLOADS, LoadColumns, PlanColumns, Tuning
from advisor.sizing.costs import take_costs
from advisor.sizing.efficiency import EfficiencyTable
from advisor.sizing.estimates import Estimates, estimates
from advisor.sizing.footprint import FootprintArrays, footprint_columns
from advisor.sizing.pairings import CPU_MATRIX, GPU_STREAM, gathered
from advisor.sizing.plan import Binding, Offload
from advisor.sizing.ranges import Range
from advisor.sizing.response import Work, respond
from advisor.sizing.running import chunk_tokens, overlaps_chunks
from advisor.sizing.step import PlanCosts, plan_costs
from advisor.sizing.step_arrays import (
    HOST_PREFILL_BEST,
    HOST_PREFILL_CPU,
    HOST_PREFILL_STREAM,
    LayoutArrays,
    StepInputs,
    StepTime,
)

__all__ = [
    "BINDINGS",
    "GridResult",
    "Range",
    "StepContext",
    "evaluate",
    "evaluate_speed",
    "layout_arrays",
    "step_context",
    "work_of",
]

BINDINGS = tuple(Binding)  # codes of GridResult.binding are positions in this tuple

Floats = NDArray[np.float64]
Index = NDArray[np.intp]

CHUNK = 4_096  # plans per pass: the arrays of one pass stay in the processor's cache


@dataclass(frozen=True, slots=True)
class GridResult:
    """Answers for every plan, arrays of shape (plans,). Bytes are of the fullest device of one replica.

    `fits`: the load's sequences fit at once. Seconds and rates are those of one replica and are given whether or
    not it fits. `extrapolated`: outside what the calibration has seen. `local`: 1 calibrated, 2 measured on this
    machine. `shares`: of a decode step's time, in the order of BINDINGS (capacity is always 0).
    """

    fits: NDArray[np.bool_]
    binding: NDArray[np.intp]
    shortfall_bytes: Floats
    weights_bytes: Floats
    kv_cache_bytes: Floats
    activation_bytes: Floats
    overhead_bytes: Floats
    usable_bytes: Floats
    host_bytes: Floats
    max_concurrency: Floats
    max_context_tokens: Floats
    prefill_tok_s: Range
    decode_tok_s: Range  # per sequence
    output_tok_s: Range  # all sequences of one replica
    ttft_s: Range
    tpot_s: Range
    extrapolated: NDArray[np.bool_]
    local: NDArray[np.intp]
    shares: NDArray[np.float32]  # shape (plans, len(BINDINGS))

    def ranges(self) -> dict[str, tuple[Range, ...]]:
        """By the metric whose interval they have."""
        return {
            "prefill": (self.prefill_tok_s,),
            "decode": (self.decode_tok_s, self.tpot_s),
            "output": (self.output_tok_s,),
            "ttft": (self.ttft_s,),
        }


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a pass over the plans needs: estimates per pairing, layout per plan."""

    found: Estimates
    layout: LayoutArrays

    def costs(self, rows: slice) -> PlanCosts:
        """Costs of some plans."""
        found, index = self.found, self.found.index[rows]
        if len(found.index) == 1:
            return plan_costs(found.costs, found.host_costs, self.layout)
        layout = gathered(self.layout, rows)
        offloads = found.host_costs is not None and bool((layout.host_experts + layout.host_layers > 0).any())
        host = take_costs(found.host_costs, index) if offloads and found.host_costs is not None else None
        return plan_costs(take_costs(found.costs, index), host, layout)

    def inputs(self, rows: slice) -> StepInputs:
        """What the costs of some plans are made of."""
        index = self.found.index[rows]
        return StepInputs(
            model=gathered(self.found.model, index),
            cache=gathered(self.found.cache, index),
            machine=gathered(self.found.machine, index),
            layout=gathered(self.layout, rows),
        )


def evaluate(
    plans: PlanColumns, loads: LoadColumns, tuning: Tuning | None = None, table: EfficiencyTable | None = None
) -> GridResult:
    """Sizes every plan under its load; below a microsecond per plan. `table`: other than the public calibration."""
    tuning = tuning or Tuning()
    context = step_context(plans, loads, tuning, table)
    out = _empty(context.found)
    for start in range(0, len(plans), CHUNK):
        speeds_into(out, slice(start, start + CHUNK), loads, tuning, context)
    tables = (len(plans.models) + len(plans.hardware)) * len(plans.runtimes)
    step = max(CHUNK, 128 * tables)  # the footprint looks up its tables in every pass
    for start in range(0, len(plans), step):
        rows = slice(start, start + step)
        _bytes_into(out, rows, footprint_columns(plans.take(rows), loads.take(rows), tuning))
    return out


def evaluate_speed(
    plans: PlanColumns, loads: LoadColumns, tuning: Tuning, table: EfficiencyTable | None, *, alone: bool = False
) -> GridResult:
    """Seconds only: no bytes, everything is said to fit. `alone`: no prompts of other sequences come in between."""
    context = step_context(plans, loads, tuning, table)
    out = _empty(context.found)
    speeds_into(out, slice(0, len(plans)), loads, tuning, context, alone=alone)
    return out


def step_context(plans: PlanColumns, loads: LoadColumns, tuning: Tuning, table: EfficiencyTable | None) -> StepContext:
    """Everything that is evaluated once per pairing."""
    found = estimates(plans, loads, tuning, table)
    return StepContext(found, layout_arrays(plans, found, tuning))


def layout_arrays(plans: PlanColumns, found: Estimates, tuning: Tuning) -> LayoutArrays:
    """Layout of each plan as numbers."""
    none = np.broadcast_to(0.0, len(plans))
    host = _host_layout(plans, found) if found.pairings.hybrid.any() else (none, none, none)
    overlapped = none
    if (plans.pp > 1).any():
        table = np.array([float(overlaps_chunks(r.engine.id, r.backend)) for r in plans.runtimes])
        overlapped = table[plans.runtime]
    chunk = _chunk_table(plans, found, tuning)[found.index]
    experts, layers, prefill = host
    return LayoutArrays(plans.tp, plans.pp, plans.dp_attention, experts, layers, prefill, chunk, overlapped)


def _host_layout(plans: PlanColumns, found: Estimates) -> tuple[Floats, Floats, Floats]:
    """Shares of experts and of layers in host memory, and where such experts prefill."""
    architectures = [m.variant.architecture for m in plans.models]
    layers = np.array([float(a.num_layers) for a in architectures])[plans.model]
    moe_layers = np.array([float(max(a.n_moe_layers, 1)) for a in architectures])[plans.model]
    split = plans.offload == OFFLOADS.index(Offload.LAYERS_SPLIT)
    experts = plans.offload == OFFLOADS.index(Offload.EXPERTS_CPU)
    missing = np.where(split, np.clip(1 - plans.gpu_layers / layers, 0, 1), 0.0)
    host_experts = np.where(experts, np.clip(1 - plans.gpu_expert_layers / moe_layers, 0, 1), missing)
    path = found.pairings.host_path
    policy = np.array([_POLICY.get(level, HOST_PREFILL_BEST) for level in path.levels])[path.codes]
    return host_experts, missing, policy[found.index]


def work_of(loads: LoadColumns, rows: slice) -> Work:
    """The load of some plans as work on one replica."""
    prompt = np.maximum(loads.input_tokens[rows] - loads.cached_input_tokens[rows], 1.0)
    output = np.maximum(loads.output_tokens[rows], 1.0)
    sequences = np.maximum(loads.concurrency[rows], 1.0)
    context = loads.input_tokens[rows] + output / 2
    return Work(prompt, output, loads.cached_input_tokens[rows], sequences, context, sequences > 1)


_POLICY = {CPU_MATRIX: HOST_PREFILL_CPU, GPU_STREAM: HOST_PREFILL_STREAM}


def _chunk_table(plans: PlanColumns, found: Estimates, tuning: Tuning) -> Floats:
    p = found.pairings
    if tuning.ubatch_tokens:
        return np.full(len(p), float(tuning.ubatch_tokens))
    paths = p.host_path.levels
    table = np.array([[chunk_tokens(r.engine.id, r.backend, path) for path in paths] for r in plans.runtimes])
    return table[p.runtime, p.host_path.codes]


def speeds_into(
    out: GridResult, rows: slice, loads: LoadColumns, tuning: Tuning, context: StepContext, *, alone: bool = False
) -> None:
    """Writes the seconds of some plans into `out`."""
    found, index = context.found, context.found.index[rows]
    work = work_of(loads, rows)
    work = replace(work, serving=np.zeros_like(work.serving)) if alone else work
    response = respond(context.costs(rows), work, tuning.accepted_tokens, float(tuning.draft_tokens))
    slow, slow_prefill = found.decode_factor.take(index), found.prefill_factor.take(index)
    tpot, ttft = response.tpot_s * slow, response.ttft_s * slow_prefill
    last = np.maximum(work.output_tokens - 1, 1)
    np.divide(work.input_tokens, response.prefill.total * slow_prefill, out=out.prefill_tok_s.value[rows])
    np.divide(1.0, tpot, out=out.decode_tok_s.value[rows])
    np.divide(work.sequences * work.output_tokens, ttft + last * tpot, out=out.output_tok_s.value[rows])
    out.tpot_s.value[rows] = tpot
    out.ttft_s.value[rows] = ttft
    _basis_into(out, rows, found, index, work)
    _shares_into(out, rows, response.decode)


def _basis_into(out: GridResult, rows: slice, found: Estimates, index: Index, work: Work) -> None:
    if found.extrapolated.any():
        out.extrapolated[rows] = found.extrapolated[index]
    if found.local.any():
        away = found.measured_at.away(index, work)
        out.local[rows] = np.where(away.is_there, found.local[index], np.minimum(found.local[index], 1))
        for metric, ranges in out.ranges().items():
            factor = found.measured_at.factors_90(metric, index, away)
            for values in ranges:
                values.factor[rows] = factor


def _shares_into(out: GridResult, rows: slice, step: StepTime) -> None:
    """Shares of a step by BINDINGS, and the largest of them; capacity has none."""
    bandwidth = step.weights + step.cache
    device, beside = np.maximum(bandwidth, step.compute), np.maximum(step.link, step.host)
    own, other = 1 + (step.compute > bandwidth), 3 + (step.host > step.link)  # in the order of BINDINGS
    out.binding[rows] = own + (beside > device) * (other - own)
    scale, shares = 1 / step.total, out.shares[rows]
    for place, seconds in enumerate((bandwidth, step.compute, step.link, step.host), 1):
        shares[:, place] = seconds * scale


def _bytes_into(out: GridResult, rows: slice, f: FootprintArrays) -> None:
    for name in _BYTES:
        getattr(out, name)[rows] = getattr(f, name)
    np.add(f.host_weights_bytes, f.host_kv_bytes, out=out.host_bytes[rows])
    out.fits[rows] = f.shortfall_bytes <= 0
    out.binding[rows][~out.fits[rows]] = BINDINGS.index(Binding.CAPACITY)


_BYTES = (
    "shortfall_bytes",
    "weights_bytes",
    "kv_cache_bytes",
    "activation_bytes",
    "overhead_bytes",
    "usable_bytes",
    "max_concurrency",
    "max_context_tokens",
)


def _empty(found: Estimates) -> GridResult:
    plans = len(found.index)

    def ranges(metric: str) -> Range:
        if found.local.any():
            return Range(np.empty(plans), np.empty(plans), np.arange(plans))
        return Range(np.empty(plans), found.factors_90[metric], found.index)

    return GridResult(
        fits=np.ones(plans, dtype=bool),
        binding=np.zeros(plans, dtype=np.intp),
        shortfall_bytes=np.zeros(plans),
        weights_bytes=np.zeros(plans),
        kv_cache_bytes=np.zeros(plans),
        activation_bytes=np.zeros(plans),
        overhead_bytes=np.zeros(plans),
        usable_bytes=np.zeros(plans),
        host_bytes=np.zeros(plans),
        max_concurrency=np.zeros(plans),
        max_context_tokens=np.zeros(plans),
        prefill_tok_s=ranges("prefill"),
        decode_tok_s=ranges("decode"),
        output_tok_s=ranges("output"),
        ttft_s=ranges("ttft"),
        tpot_s=ranges("decode"),
        extrapolated=np.zeros(plans, dtype=bool),
        local=np.zeros(plans, dtype=np.intp),
        shares=np.zeros((len(BINDINGS), plans), dtype=np.float32).T,
    )
