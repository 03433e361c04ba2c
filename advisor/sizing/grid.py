"""Bytes and seconds of many plans at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.columns import OFFLOADS, LoadColumns, PlanColumns, Tuning
from advisor.sizing.efficiency import EfficiencyTable
from advisor.sizing.estimates import Estimates, estimates
from advisor.sizing.footprint import FootprintArrays, footprint_columns
from advisor.sizing.pairings import CPU_MATRIX, GPU_STREAM, gathered
from advisor.sizing.plan import Binding, Offload
from advisor.sizing.response import Response, Work, respond
from advisor.sizing.running import chunk_tokens
from advisor.sizing.step import (
    HOST_PREFILL_BEST,
    HOST_PREFILL_CPU,
    HOST_PREFILL_STREAM,
    LayoutArrays,
    StepInputs,
    StepTime,
)

__all__ = ["BINDINGS", "GridResult", "Range", "StepContext", "evaluate", "layout_arrays", "step_context", "work_of"]

BINDINGS = tuple(Binding)  # codes of GridResult.binding are positions in this tuple

Floats = NDArray[np.float64]
Index = NDArray[np.intp]

CHUNK = 16_384  # plans per pass: the arrays of one pass stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Range:
    """A predicted number with its 90 % interval, arrays of shape (plans,)."""

    value: Floats
    low: Floats
    high: Floats


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
    shares: Floats  # shape (plans, len(BINDINGS))


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a pass over the plans needs: estimates per pairing, layout per plan, and tables by pairing."""

    found: Estimates
    layout: LayoutArrays
    tables: StepInputs  # by pairing; its layout is a placeholder

    def inputs(self, rows: slice) -> StepInputs:
        """Step inputs of some plans."""
        index = self.found.index[rows]
        t = self.tables
        return StepInputs(
            model=gathered(t.model, index),
            cache=gathered(t.cache, index),
            dense_bytes=t.dense_bytes[index],
            dense_params=t.dense_params[index],
            head_bytes=t.head_bytes[index],
            machine=gathered(t.machine, index),
            layout=gathered(self.layout, rows),
        )


def evaluate(
    plans: PlanColumns, loads: LoadColumns, tuning: Tuning | None = None, table: EfficiencyTable | None = None
) -> GridResult:
    """Sizes every plan under its load; about a microsecond per plan. `table`: other than the public calibration."""
    tuning = tuning or Tuning()
    context = step_context(plans, loads, tuning, table)
    passes = [_pass(plans, loads, tuning, context, slice(n, n + CHUNK)) for n in range(0, len(plans), CHUNK)]
    return _joined(passes) if len(passes) != 1 else passes[0]


def step_context(
    plans: PlanColumns, loads: LoadColumns, tuning: Tuning, table: EfficiencyTable | None = None
) -> StepContext:
    """Everything that is evaluated once per pairing."""
    found = estimates(plans, loads, tuning, table)
    model, dense, params, head = found.pairings.profiles()
    rules = found.pairings.cache_rules()
    layout = layout_arrays(plans, found, tuning)
    return StepContext(found, layout, StepInputs(model, rules, dense, params, head, found.machine, layout))


def layout_arrays(plans: PlanColumns, found: Estimates, tuning: Tuning) -> LayoutArrays:
    """Layout of each plan as numbers."""
    architectures = [m.variant.architecture for m in plans.models]
    layers = np.array([float(a.num_layers) for a in architectures])[plans.model]
    moe_layers = np.array([float(max(a.n_moe_layers, 1)) for a in architectures])[plans.model]
    split = plans.offload == OFFLOADS.index(Offload.LAYERS_SPLIT)
    experts = plans.offload == OFFLOADS.index(Offload.EXPERTS_CPU)
    missing = np.where(split, np.clip(1 - plans.gpu_layers / layers, 0, 1), 0.0)
    host_experts = np.where(experts, np.clip(1 - plans.gpu_expert_layers / moe_layers, 0, 1), missing)
    path = found.pairings.host_path
    policy = np.array([_POLICY.get(level, HOST_PREFILL_BEST) for level in path.levels])[path.codes]
    chunk = _chunk_table(plans, found, tuning)
    return LayoutArrays(
        tp=plans.tp,
        pp=plans.pp,
        dp_attention=plans.dp_attention,
        host_experts=host_experts,
        host_layers=missing,
        host_prefill=policy[found.index],
        chunk_tokens=chunk[found.index],
    )


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


def _pass(plans: PlanColumns, loads: LoadColumns, tuning: Tuning, context: StepContext, rows: slice) -> GridResult:
    found, index = context.found, context.found.index[rows]
    work = work_of(loads, rows)
    inputs = context.inputs(rows)
    response = respond(
        inputs, gathered(found.efficiency, index), work, tuning.accepted_tokens, float(tuning.draft_tokens)
    )
    bytes_ = footprint_columns(plans.take(rows).compact(), loads.take(rows), tuning)
    shares = _shares(response.decode)
    fits = bytes_.shortfall_bytes <= 0
    binding = np.where(fits, np.argmax(shares, axis=1), BINDINGS.index(Binding.CAPACITY))
    times = _times(found, index, work, response)
    return GridResult(
        fits=fits,
        binding=binding,
        extrapolated=found.extrapolated[index],
        local=found.local[index],
        shares=shares,
        **_bytes(bytes_),
        **times,
    )


def _times(found: Estimates, index: Index, work: Work, response: Response) -> dict[str, Range]:
    slow, slow_prefill = found.decode_factor[index], found.prefill_factor[index]
    tpot, ttft = response.tpot_s * slow, response.ttft_s * slow_prefill
    prefill = work.input_tokens / (response.prefill.total * slow_prefill)
    output = work.sequences * work.output_tokens / (ttft + np.maximum(work.output_tokens - 1, 1) * tpot)

    def within(value: Floats, metric: str) -> Range:
        factor = np.exp(found.widths[metric][index])
        return Range(value, value / factor, value * factor)

    return {
        "prefill_tok_s": within(prefill, "prefill"),
        "decode_tok_s": within(1 / tpot, "decode"),
        "output_tok_s": within(output, "output"),
        "ttft_s": within(ttft, "ttft"),
        "tpot_s": within(tpot, "decode"),
    }


def _bytes(f: FootprintArrays) -> dict[str, Floats]:
    return {
        "shortfall_bytes": f.shortfall_bytes,
        "weights_bytes": f.weights_bytes,
        "kv_cache_bytes": f.kv_cache_bytes,
        "activation_bytes": f.activation_bytes,
        "overhead_bytes": f.overhead_bytes,
        "usable_bytes": f.usable_bytes,
        "host_bytes": f.host_weights_bytes + f.host_kv_bytes,
        "max_concurrency": f.max_concurrency,
        "max_context_tokens": f.max_context_tokens,
    }


def _shares(step: StepTime) -> Floats:
    """Shares of a step by BINDINGS."""
    by_name = {
        Binding.CAPACITY: np.zeros_like(step.weights),
        Binding.BANDWIDTH: step.weights + step.cache,
        Binding.COMPUTE: step.compute,
        Binding.LINK: step.link,
        Binding.HOST: step.host,
    }
    return np.stack([by_name[b] for b in BINDINGS], axis=1) / step.total[:, None]


def _joined(passes: list[GridResult]) -> GridResult:
    def join(name: str) -> object:
        parts = [getattr(p, name) for p in passes]
        if isinstance(parts[0], Range):
            return Range(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("value", "low", "high")))
        return np.concatenate(parts)

    return GridResult(**{name: join(name) for name in GridResult.__slots__})  # type: ignore[arg-type]
