"""Measured rows as inputs of the speed model: what was run, in which layout, under which load.

Rows that do not state their layout (MLPerf) are spread over every number of replicas that holds the model; the best
of them is the prediction, as the submitter's choice was. An unknown batch is what memory or the engine's cap allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.evidence.truth import TruthRow, history
from advisor.sizing.columns import OFFLOADS, Hardware, LoadColumns, ModelKey, PlanColumns, Runtime
from advisor.sizing.factors import Factor, FactorColumns
from advisor.sizing.footprint import footprint_columns
from advisor.sizing.pairings import CPU_MATRIX, GPU_STREAM, Pairings, step_inputs
from advisor.sizing.plan import Offload
from advisor.sizing.profile import profile
from advisor.sizing.response import Work
from advisor.sizing.running import chunk_tokens, default_host_path, overlaps_chunks, sequence_cap, static_window
from advisor.sizing.step_arrays import (
    HOST_PREFILL_BEST,
    HOST_PREFILL_CPU,
    HOST_PREFILL_STREAM,
    LayoutArrays,
    StepInputs,
)

__all__ = ["Cases", "build_cases"]

Floats = NDArray[np.float64]

GIB = 2.0**30
MEMORY_SHARE = 0.9  # of a device that serving engines fill
SATURATED_MODES = ("burst", "offline_max", "server_slo")
SERVING_MODES = ("closed_loop", "open_loop", *SATURATED_MODES)
SATURATED_CONCURRENCY = 1500.0  # a closed loop this wide is limited by memory
DECODE_TOKENS, PROMPT_TOKENS = 128.0, 64.0  # where a source states neither
REPLICA_SIZES = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Cases:
    """Arrays of shape (cases,): one or more layouts for each of `rows` measured rows."""

    row: NDArray[np.intp]  # which measured row
    metric: NDArray[np.str_]
    inputs: StepInputs
    columns: FactorColumns
    work: Work
    saturated: NDArray[np.bool_]
    replicas: Floats

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class _Case:
    row: int
    truth: TruthRow
    tp: int
    pp: int
    dp_attention: int
    replicas: int


def build_cases(rows: Sequence[TruthRow]) -> Cases:
    """Cases of all rows, in row order."""
    cases = [case for n, row in enumerate(rows) for case in _layouts(n, row)]
    pairings = _pairings(cases)
    machine, numbers = pairings.machine_arrays()
    layout = _layout_arrays(cases, pairings)
    inputs = step_inputs(pairings, machine, layout, np.arange(len(cases)))
    return Cases(
        row=np.array([c.row for c in cases]),
        metric=np.array([c.truth.metric for c in cases]),
        inputs=inputs,
        columns=pairings.factor_columns(numbers),
        work=_work(cases, pairings, inputs),
        saturated=np.array([_saturated(c.truth) for c in cases]),
        replicas=np.array([float(c.replicas) if _serving(c.truth) else 1.0 for c in cases]),
    )


def _layouts(n: int, row: TruthRow) -> list[_Case]:
    devices = row.n_devices
    if row.number("tp") is not None or row.offload != "none" or devices == 1:
        tp = int(row.number("tp") or 1) if row.runtime.backend != "cpu" else 1  # on CPUs tp counts NUMA nodes
        pp = int(row.number("pp") or 1)
        attention = tp if row.number("dp_attention") else 1
        return [_Case(n, row, tp, pp, attention, max(devices // (tp * pp), 1))]
    need, each = _resident_bytes(row), _memory_bytes(row)
    sizes = [tp for tp in REPLICA_SIZES if devices % tp == 0]
    fitting = [tp for tp in sizes if need / tp < MEMORY_SHARE * each] or sizes[-1:]
    return [_Case(n, row, tp, 1, 1, devices // tp) for tp in fitting]


def _resident_bytes(row: TruthRow) -> float:
    return float(profile(row.key.variant.architecture, row.key.format).file_bytes)


def _memory_bytes(row: TruthRow) -> float:
    device, host = row.hardware.device, row.hardware.host
    if device is None:
        return float(host.memory_bytes or 512 * GIB) if host else 512 * GIB
    return float(device.usable_memory_bytes or 0.97 * device.memory_bytes)


def _serving(row: TruthRow) -> bool:
    return row.load_mode in SERVING_MODES and not (row.load_mode == "closed_loop" and row.number("concurrency") == 1)


def _saturated(row: TruthRow) -> bool:
    wide = row.load_mode == "closed_loop" and (row.number("concurrency") or 0) > SATURATED_CONCURRENCY
    return row.load_mode in SATURATED_MODES or wide


def _pairings(cases: Sequence[_Case]) -> Pairings:
    known = history()
    truth = [c.truth for c in cases]
    models, model = _distinct([t.key for t in truth])
    runtimes, runtime = _distinct([t.runtime for t in truth])
    hardware, machine = _distinct([t.hardware for t in truth])
    flash = [{None: "?", 0.0: "off", 1.0: "on"}[t.number("flash_attention")] for t in truth]
    return Pairings(
        models=models,
        runtimes=runtimes,
        hardware=hardware,
        model=model,
        runtime=runtime,
        machine=machine,
        on_cpu=np.array([t.runtime.backend == "cpu" for t in truth]),
        hybrid=np.array([_hybrid(t) for t in truth]),
        expanded=np.array([known.expands(t) for t in truth]),
        year=np.array([t.year for t in truth]),
        flash=Factor.of(flash),
        host_path=Factor.of([_host_path(t) for t in truth]),
        load_mode=Factor.of([t.load_mode for t in truth]),
        dataset=Factor.of([t.dataset for t in truth]),
        phase=Factor.of(["prefill" if t.metric in ("prefill_tok_s", "ttft_ms") else "decode" for t in truth]),
    )


def _hybrid(row: TruthRow) -> bool:
    return row.offload in ("experts_cpu", "experts_split", "layers_split")


def _host_path(row: TruthRow) -> str:
    if row.host_path or row.runtime.backend != "cpu":
        return row.host_path
    return default_host_path(row.runtime.engine.id, row.hardware.host)


def _layout_arrays(cases: Sequence[_Case], pairings: Pairings) -> LayoutArrays:
    m = pairings.model_arrays()
    fixed = m.attention_split_bytes + m.attention_replicated_bytes + m.dense_bytes + m.head_bytes
    experts = m.expert_bytes * m.n_experts * m.n_moe_layers
    layers = np.maximum(m.n_moe_layers, 1.0)
    on_host = [_host_share(c.truth, fixed[n], experts[n], layers[n]) for n, c in enumerate(cases)]
    return LayoutArrays(
        tp=np.array([float(c.tp) for c in cases]),
        pp=np.array([float(c.pp) for c in cases]),
        dp_attention=np.array([float(c.dp_attention) for c in cases]),
        host_experts=np.array([share[0] for share in on_host]),
        host_layers=np.array([share[1] for share in on_host]),
        host_prefill=np.array([_host_prefill(c.truth) for c in cases]),
        chunk_tokens=np.array([_chunk(c.truth) for c in cases]),
        overlapped=np.array([float(_overlaps(c.truth)) for c in cases]),
    )


def _host_share(row: TruthRow, fixed_bytes: float, expert_bytes: float, moe_layers: float) -> tuple[float, float]:
    """(share of the MoE layers whose experts, share of the layers that) stay on the host."""
    if not _hybrid(row):
        return 0.0, 0.0
    if row.offload == "layers_split":
        missing = max(1 - _memory_bytes(row) * row.n_devices / (fixed_bytes + expert_bytes), 0.0)
        return (missing if expert_bytes else 0.0), missing
    layers, stated = row.number("gpu_expert_layers"), row.number("gpu_weights_gib")
    if layers is None and stated is not None:
        on_gpu = max(stated * GIB - fixed_bytes, 0.0)
        return min(max(1 - on_gpu / max(expert_bytes, 1), 0.0), 1.0), 0.0
    return min(max(1 - (layers or 0.0) / moe_layers, 0.0), 1.0), 0.0


def _host_prefill(row: TruthRow) -> float:
    if row.host_path == GPU_STREAM:
        return HOST_PREFILL_STREAM
    if row.host_path == CPU_MATRIX or row.runtime.engine.id == "ktransformers":
        return HOST_PREFILL_CPU
    return HOST_PREFILL_BEST


def _overlaps(row: TruthRow) -> bool:
    return row.offload == "none" and overlaps_chunks(row.runtime.engine.id, row.runtime.backend)


def _chunk(row: TruthRow) -> float:
    stated = row.number("ubatch")
    return stated or chunk_tokens(row.runtime.engine.id, row.runtime.backend, row.host_path)


def _work(cases: Sequence[_Case], pairings: Pairings, inputs: StepInputs) -> Work:
    lengths = np.array([_lengths(c.truth) for c in cases])
    prompt, output, depth = lengths.T
    serving = np.array([_serving(c.truth) for c in cases])
    sequences = _sequences(cases, pairings, inputs, prompt, output, serving)
    context = np.where(serving, prompt + output / 2, depth + output / 2)
    before = np.array([_prefill_depth(c.truth) for c in cases])
    return Work(np.maximum(prompt, 1.0), output, np.where(serving, 0.0, before), sequences, context, serving)


def _lengths(row: TruthRow) -> tuple[float, float, float]:
    """(prompt tokens, output tokens, tokens cached while decoding)."""
    dataset = history().datasets.get(row.dataset)
    prompt = row.number("input_tokens") or (dataset.input_tokens if dataset else None)
    output = row.number("output_tokens") or (dataset.output_tokens if dataset else None)
    window = static_window(row.runtime.engine.id)
    depth = window or row.number("depth") or 0.0
    if row.metric in ("decode_tok_s", "tpot_ms") and not depth and not _serving(row):
        depth = prompt or 0.0
    if row.load_mode == "batch" and row.metric == "ttft_ms":
        prompt = (prompt or PROMPT_TOKENS) * (row.number("concurrency") or 1.0)
    usual = 0.0 if row.metric in ("prefill_tok_s", "ttft_ms") else DECODE_TOKENS
    return prompt or PROMPT_TOKENS, output or usual, depth


def _prefill_depth(row: TruthRow) -> float:
    return 0.0 if row.metric == "ttft_ms" else row.number("depth") or 0.0


def _sequences(
    cases: Sequence[_Case],
    pairings: Pairings,
    inputs: StepInputs,
    prompt: Floats,
    output: Floats,
    serving: NDArray[np.bool_],
) -> Floats:
    """Sequences in flight on one replica."""
    held = _held(cases, pairings, inputs.layout, prompt + output / 2)
    cap = np.array([sequence_cap(c.truth.runtime.engine.id, c.truth.runtime.backend, _many(c.truth)) for c in cases])
    stated = np.array([c.truth.number("max_num_seqs") or np.nan for c in cases])
    cap = np.where(np.isnan(stated), cap * inputs.layout.dp_attention, stated)
    prompts = np.array([c.truth.number("n_prompts") or np.inf for c in cases])
    replicas = np.array([float(c.replicas) for c in cases])
    unknown = np.minimum(np.minimum(held, cap), prompts / replicas)
    given = np.array([c.truth.number("concurrency") or np.nan for c in cases])
    each = np.where(serving, np.minimum(given / np.where(serving, replicas, 1), np.maximum(held, 1)), given)
    sequences: Floats = np.maximum(np.where(np.isnan(given), np.where(serving, unknown, 1.0), each), 1.0)
    return sequences


def _held(cases: Sequence[_Case], pairings: Pairings, layout: LayoutArrays, context: Floats) -> Floats:
    """Sequences of a mean length that fit beside the weights of one replica, at least one."""
    plans = PlanColumns(
        models=pairings.models,
        runtimes=pairings.runtimes,
        hardware=pairings.hardware,
        model=pairings.model,
        runtime=pairings.runtime,
        machine=pairings.machine,
        tp=layout.tp,
        pp=layout.pp,
        ep=np.ones(len(cases)),
        dp_attention=layout.dp_attention,
        replicas=np.ones(len(cases)),
        offload=np.array([OFFLOADS.index(_OFFLOAD[c.truth.offload]) for c in cases]),
        gpu_expert_layers=np.array([c.truth.number("gpu_expert_layers") or 0.0 for c in cases]),
        gpu_layers=np.zeros(len(cases)),
    )
    loads = LoadColumns.from_arrays(input_tokens=context, output_tokens=1, context_tokens=context, concurrency=1)
    found = footprint_columns(plans, loads)
    room_unknown = pairings.on_cpu & (found.host_usable_bytes <= 0)
    return np.where(room_unknown, np.inf, np.maximum(found.max_concurrency, 1.0))


_OFFLOAD = {
    "none": Offload.NONE,
    "cpu_only": Offload.CPU_ONLY,
    "experts_cpu": Offload.EXPERTS_CPU,
    "experts_split": Offload.EXPERTS_CPU,
    "layers_split": Offload.LAYERS_SPLIT,
}


def _many(row: TruthRow) -> bool:
    return row.load_mode != "burst"


def _distinct(items: Sequence[ModelKey] | Sequence[Runtime] | Sequence[Hardware]):  # type: ignore[no-untyped-def]
    seen: dict[object, int] = {}
    index = [seen.setdefault(item, len(seen)) for item in items]
    return tuple(seen), np.array(index, dtype=np.intp)
