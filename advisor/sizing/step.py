"""Seconds of one engine step: what a batch of decodes, or the prefill of a prompt, costs one replica.

Each resource takes its bytes or operations divided by datasheet rate times fitted efficiency, and all add up: kernels
overlap reads and arithmetic only in part, and in cross-validation sums foretell unseen devices better than any soft
maximum of the two (power means of exponent 1, 2, 3 and 4 were compared).

* Routed experts touched by M tokens: `E·(1 - (1 - k/E)^(M^r))`, the expected union of independent choices for r = 1;
  popular experts make r a little smaller.
* Matrix units pad small expert batches to tiles: each touched expert costs as if it had `padding` more rows, and
  the products run at `expert_compute` of the rate of large ones; processors multiply row by row and lose neither.
* All-reduce: two per layer, `α·(1 + log2 tp)/2 + 2·(tp-1)/tp · bytes/β` (ring; Thakur et al. 2005).
* The MLA latent and keys beyond n_kv_heads are read by every tensor-parallel rank unless attention is data-parallel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.cache import CacheRule, read_bytes
from advisor.sizing.efficiency import EfficiencyArrays

__all__ = [
    "HOST_PREFILL_BEST",
    "HOST_PREFILL_CPU",
    "HOST_PREFILL_STREAM",
    "LayoutArrays",
    "MachineArrays",
    "ModelArrays",
    "StepInputs",
    "StepTime",
    "batch_step",
    "decode_step",
    "prefill_pass",
]

Floats = NDArray[np.float64]

HOST_PREFILL_CPU, HOST_PREFILL_STREAM, HOST_PREFILL_BEST = 0.0, 1.0, 2.0
STREAM_TOKENS = 32  # llama.cpp moves a matrix product to the GPU from this many rows on
ACTIVATION_BYTES = 2.0
DISPATCH_PASSES = 6.0  # reads and writes of a hidden state around the experts: permute, gate, un-permute


@dataclass(frozen=True, slots=True)
class ModelArrays:
    """What a step reads and multiplies, of one whole replica; arrays of shape (plans,)."""

    n_layers: Floats
    n_moe_layers: Floats
    hidden_size: Floats
    n_experts: Floats  # 0: dense
    experts_per_tok: Floats
    log_unchosen: Floats  # logarithm of the chance that a token leaves out a given expert
    attention_params: Floats
    attention_split_bytes: Floats  # divided by tensor parallelism
    attention_replicated_bytes: Floats
    dense_params: Floats  # used by every token: dense feed-forward, shared experts, router, others
    dense_bytes: Floats
    expert_params: Floats  # one expert of one layer
    expert_bytes: Floats
    head_params: Floats
    head_bytes: Floats
    decode_attention_flops: Floats  # per query token and context token
    prefill_attention_flops: Floats
    window_attention_flops: Floats
    indexer_flops: Floats


@dataclass(frozen=True, slots=True)
class MachineArrays:
    """Rates of one device and its host, bytes or operations per second; arrays of shape (plans,).

    `peak` is that of the precision in which the format is multiplied on this device and back end.
    """

    bandwidth: Floats
    peak: Floats
    attention_peak: Floats
    link: Floats
    pcie: Floats
    host_bandwidth: Floats
    host_peak: Floats
    tiled: Floats  # 1: matrix units that pad rows to tiles; 0: processors


@dataclass(frozen=True, slots=True)
class LayoutArrays:
    """How one replica is spread; arrays of shape (plans,)."""

    tp: Floats
    pp: Floats
    dp_attention: Floats
    host_experts: Floats  # share of the MoE layers whose experts are on the host, 0..1
    host_layers: Floats  # share of all layers on the host, 0..1
    host_prefill: Floats  # HOST_PREFILL_*: where experts on the host are computed during prefill
    chunk_tokens: Floats  # prompt tokens per prefill step
    overlapped: Floats  # 1: chunks of one prompt run in several pipeline stages at once


@dataclass(frozen=True, slots=True)
class StepInputs:
    """Everything about the plans that the formulas need, apart from efficiency and load."""

    model: ModelArrays
    cache: CacheRule
    machine: MachineArrays
    layout: LayoutArrays


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step by what they are spent on; arrays of shape (plans,)."""

    weights: Floats  # reading the matrices
    compute: Floats  # multiplying by them, attention arithmetic, work of the host's processor
    cache: Floats
    link: Floats
    host: Floats  # launches, scheduling, sampling, synchronisation with the CPU

    @property
    def total(self) -> Floats:
        seconds: Floats = self.weights + self.compute + self.cache + self.link + self.host
        return seconds


def decode_step(
    i: StepInputs, e: EfficiencyArrays, sequences: Floats, context: Floats, draft_tokens: float = 0.0
) -> StepTime:
    """One token for each of `sequences` on one replica, at `context` cached tokens each.

    Pipeline stages hold sequences/pp of them at a time, so all of them advance in one round of the pipeline.
    `draft_tokens` more rows per sequence are verified in the same step; proposing each costs about one layer.
    """
    held = np.maximum(sequences / i.layout.pp, 1.0)
    rows = held * (1 + draft_tokens)
    weights, compute = _matrices(i, e, rows, rows)
    cache, scores = _decode_attention(i, e, held, context)
    drafting = 1 + draft_tokens / i.model.n_layers
    return StepTime(
        weights * drafting,
        compute * drafting + scores * (1 + draft_tokens),
        cache,
        _links(i, e, rows),
        _host(i, e, rows),
    )


def batch_step(i: StepInputs, e: EfficiencyArrays, tokens: Floats, sampled: Floats) -> StepTime:
    """One step over `tokens` rows of which `sampled` yield a token, without reading any cache."""
    weights, compute = _matrices(i, e, tokens, sampled)
    return StepTime(weights, compute, np.zeros_like(tokens), _links(i, e, tokens), _host(i, e, sampled))


def prefill_pass(
    i: StepInputs, e: EfficiencyArrays, tokens: Floats, depth: Floats, *, pipelined: bool = False
) -> StepTime:
    """All chunks of one prompt of `tokens` on top of `depth` cached tokens.

    `pipelined`: chunks of many prompts keep every pipeline stage busy (throughput); else one prompt alone.
    """
    chunks = np.ceil(tokens / i.layout.chunk_tokens)
    rows = tokens / chunks
    weights, compute = _matrices(i, e, rows, np.ones_like(rows))
    cache, scores = _prefill_attention(i, e, tokens, depth, chunks)
    filled = (chunks + i.layout.pp - 1) / (chunks * i.layout.pp)
    share = 1.0 / i.layout.pp if pipelined else np.where(i.layout.overlapped > 0, filled, 1.0)
    return StepTime(
        weights * chunks * share,
        (compute * chunks + scores) * share,
        cache * share,
        _links(i, e, rows) * chunks * share,
        _host(i, e, np.ones_like(rows)) * chunks * share,
    )


def _matrices(i: StepInputs, e: EfficiencyArrays, rows: Floats, sampled: Floats) -> tuple[Floats, Floats]:
    """(reading, arithmetic) seconds of all matrix products of `rows` tokens."""
    m, layout = i.model, i.layout
    bandwidth, peak = i.machine.bandwidth * e.bandwidth, i.machine.peak * e.compute
    attention_tp = layout.tp / layout.dp_attention
    attention = (m.attention_split_bytes / attention_tp + m.attention_replicated_bytes) / bandwidth
    dense = m.dense_bytes / layout.tp / bandwidth
    head = m.head_bytes / layout.tp / bandwidth
    per_row = 2 * rows / layout.tp / peak
    on_device = 1 - layout.host_layers
    read = [attention * on_device, dense * on_device, head]
    work = [
        m.attention_params * per_row * on_device,
        m.dense_params * per_row * on_device,
        2 * m.head_params * sampled / layout.tp / peak,
    ]
    expert_read, expert_work, expert_extra = _experts(i, e, rows)
    memory = read[0] + read[1] + read[2] + expert_read
    return memory, work[0] + work[1] + work[2] + expert_work + expert_extra + _host_side(i, e, rows)


def _experts(i: StepInputs, e: EfficiencyArrays, rows: Floats) -> tuple[Floats, Floats, Floats]:
    """(weight reads, arithmetic, dispatch) of the routed experts on the devices."""
    m, tp = i.model, i.layout.tp
    touched = _touched(m, rows**e.routing)
    part = (1 - i.layout.host_experts) / tp
    padding = e.padding * i.machine.tiled
    read = touched * m.expert_bytes * m.n_moe_layers * part
    work = 2 * m.expert_params * m.n_moe_layers * (m.experts_per_tok * rows + touched * padding) * part
    moved = rows * m.experts_per_tok * m.hidden_size * m.n_moe_layers * ACTIVATION_BYTES * DISPATCH_PASSES / tp
    bandwidth = i.machine.bandwidth * e.bandwidth * e.expert_bandwidth
    peak = i.machine.peak * e.compute * np.where(i.machine.tiled > 0, e.expert_compute, 1.0)
    return read / bandwidth, work / peak, e.dispatch * moved / i.machine.bandwidth


def _host_side(i: StepInputs, e: EfficiencyArrays, rows: Floats) -> Floats:
    """Seconds of what stays on the CPU: routed experts, or whole layers."""
    layout = i.layout
    if not (np.any(layout.host_experts > 0) or np.any(layout.host_layers > 0)):
        return np.zeros_like(rows)
    m, peak = i.model, i.machine.host_peak * e.host_compute
    bandwidth = i.machine.host_bandwidth * e.host_bandwidth
    touched = _touched(m, rows**e.routing)
    read = touched * m.expert_bytes * m.n_moe_layers
    useful = 2 * m.expert_params * m.n_moe_layers * m.experts_per_tok * rows
    work = useful + 2 * m.expert_params * m.n_moe_layers * touched * e.padding
    on_cpu = read / bandwidth + useful / peak
    pcie = i.machine.pcie * e.pcie * (layout.tp * layout.pp) ** e.pcie_scaling
    streamed = read / pcie + work / (i.machine.peak * e.compute * e.expert_compute * layout.tp)
    chosen = np.where(layout.host_prefill == HOST_PREFILL_STREAM, streamed, np.minimum(streamed, on_cpu))
    chosen = np.where((layout.host_prefill == HOST_PREFILL_CPU) | (rows < STREAM_TOKENS), on_cpu, chosen)
    dense_read = (m.attention_split_bytes + m.attention_replicated_bytes + m.dense_bytes) / bandwidth
    dense = dense_read + 2 * rows * (m.attention_params + m.dense_params) / peak
    seconds: Floats = layout.host_experts * chosen + layout.host_layers * dense
    return seconds


def _touched(m: ModelArrays, rows: Floats) -> Floats:
    """Experts of one layer that at least one of `rows` tokens chooses; 0 for dense models."""
    touched: Floats = m.n_experts * -np.expm1(np.maximum(rows, 1) * m.log_unchosen)
    return touched


def _decode_attention(i: StepInputs, e: EfficiencyArrays, rows: Floats, context: Floats) -> tuple[Floats, Floats]:
    """(cache reads, score arithmetic beyond them)."""
    m, layout = i.model, i.layout
    attention_tp = layout.tp / layout.dp_attention
    ways = np.minimum(attention_tp, np.maximum(i.cache.shards, 1))
    read = read_bytes(i.cache, context) * rows / layout.dp_attention / ways
    capped = m.decode_attention_flops * np.minimum(context, i.cache.cap_tokens)
    window = m.window_attention_flops * np.minimum(context, i.cache.window_tokens)
    flops = (capped + window + m.indexer_flops * context) * rows / layout.tp
    return read / (i.machine.bandwidth * e.cache), flops / (i.machine.attention_peak * e.attention)


def _prefill_attention(
    i: StepInputs, e: EfficiencyArrays, tokens: Floats, depth: Floats, chunks: Floats
) -> tuple[Floats, Floats]:
    """(cache reads, score arithmetic beyond them) of a whole prompt."""
    m, layout = i.model, i.layout
    context = depth + tokens / 2
    capped = m.prefill_attention_flops * np.minimum(context, i.cache.cap_tokens)
    window = m.window_attention_flops * np.minimum(context, i.cache.window_tokens)
    flops = (capped + window + m.indexer_flops * context) * tokens / layout.tp
    attention_tp = layout.tp / layout.dp_attention
    ways = np.minimum(attention_tp, np.maximum(i.cache.shards, 1))
    reads = i.cache.token_bytes * context / ways * chunks / (i.machine.bandwidth * e.cache)
    return reads, flops / (i.machine.attention_peak * e.attention)


def _links(i: StepInputs, e: EfficiencyArrays, rows: Floats) -> Floats:
    m, layout = i.model, i.layout
    moved = 2 * (layout.tp - 1) / layout.tp * rows * m.hidden_size * ACTIVATION_BYTES
    each = e.collective_s * (1 + np.log2(np.maximum(layout.tp, 1))) / 2 + moved / (i.machine.link * e.link)
    return np.where(layout.tp > 1, 2 * m.n_layers * each, 0.0) + (layout.pp - 1) * e.hop_s


def _host(i: StepInputs, e: EfficiencyArrays, rows: Floats) -> Floats:
    m = i.model
    launches = m.n_layers * e.layer_s + m.n_moe_layers * e.moe_layer_s
    seconds: Floats = launches + e.step_s + rows * e.sequence_s + i.layout.host_experts * m.n_moe_layers * e.sync_s
    return seconds


