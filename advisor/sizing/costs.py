"""What reading, multiplying, moving and launching cost a pairing, in seconds: the step formulas without layout or load.

Every cost is a size of the model divided by a datasheet rate times fitted efficiency. A grid has few pairings, so
costs are worked out once for each of them, and a plan needs only its own few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.cache import CacheRule
from advisor.sizing.efficiency import EfficiencyArrays
from advisor.sizing.step_arrays import MachineArrays, ModelArrays

__all__ = ["HostCosts", "StepCosts", "host_costs", "narrowed", "step_costs", "take_costs"]

Floats = NDArray[np.float64]
Index = NDArray[np.intp]
C = TypeVar("C", "StepCosts", "HostCosts")

ACTIVATION_BYTES = 2.0
DISPATCH_PASSES = 6.0  # reads and writes of a hidden state around the experts: permute, gate, un-permute


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Seconds on one device that nothing is split over, except as given; arrays of shape (plans,) or (pairings,)."""

    n_layers: Floats
    split_read: Floats  # attention matrices that tensor parallelism divides
    replicated_read: Floats
    dense_read: Floats
    head_read: Floats
    row_work: Floats  # attention and dense matrices, by row
    head_work: Floats  # by sampled row
    n_experts: Floats  # 0: dense
    log_unchosen: Floats
    routing: Floats
    expert_read: Floats  # one expert of every MoE layer
    padded_work: Floats  # rows that fill up the tiles of one expert of every MoE layer
    chosen_work: Floats  # the experts of one row
    dispatch: Floats  # moving one row to its experts and back
    cache_token: Floats  # keeping to itself what a token adds to the cache
    cache_capped: Floats  # reading it, by cached token up to `cap_tokens`
    cap_tokens: Floats
    cache_window: Floats
    window_tokens: Floats
    cache_scanned: Floats
    cache_fixed: Floats
    cache_shards: Floats  # ways
    decode_scores: Floats  # by query token and context token up to `cap_tokens`
    prefill_scores: Floats
    window_scores: Floats
    indexer_scores: Floats  # by query token and context token
    ring: Floats  # latency of the collectives of a step between two devices
    moved: Floats  # by row, of the collectives between very many devices
    hop: Floats  # between pipeline stages
    launches: Floats
    sequence: Floats  # by sampled row
    sync: Floats  # with the processor, if all experts are there
    interference: Floats  # share of a prefill by which it delays decodes
    first_token: Floats
    prompt_reads: Floats  # times that a chunk of a prompt takes for its weights what a decode step does
    overlap: Floats  # exponent of the power mean of reading and arithmetic in a decode step; 1: they add up


@dataclass(frozen=True, slots=True)
class HostCosts:
    """Seconds of what stays on the processor; arrays of one shape."""

    expert_read: Floats
    chosen_work: Floats
    dense_read: Floats
    row_work: Floats
    streamed_read: Floats  # one expert of every MoE layer over the bus of one device
    streamed_padded: Floats
    streamed_chosen: Floats
    pcie_scaling: Floats


def narrowed(costs: C) -> C:
    """The same costs; those that are alike everywhere are kept as one number, shape (1,)."""
    columns = [np.asarray(getattr(costs, name)) for name in type(costs).__slots__]
    return type(costs)(*[v[:1] if (v == v[:1]).all() else v for v in columns])


def take_costs(costs: C, index: Index) -> C:
    """Costs at `index`; what `narrowed` made one number stays one."""
    columns = [getattr(costs, name) for name in type(costs).__slots__]
    return type(costs)(*[v if v.size == 1 else v.take(index, mode="clip") for v in columns])


def step_costs(m: ModelArrays, c: CacheRule, k: MachineArrays, e: EfficiencyArrays) -> StepCosts:
    """Costs of every pairing; all arrays have one shape."""
    bandwidth, peak = k.bandwidth * e.bandwidth, k.peak * e.compute
    expert_peak = peak * np.where(k.tiled > 0, e.expert_compute, 1.0)
    one_expert = 2 * m.expert_params * m.n_moe_layers / expert_peak
    state = m.hidden_size * ACTIVATION_BYTES
    kept, scores = k.bandwidth * e.cache, k.attention_peak * e.attention
    return StepCosts(
        n_layers=m.n_layers,
        split_read=m.attention_split_bytes / bandwidth,
        replicated_read=m.attention_replicated_bytes / bandwidth,
        dense_read=m.dense_bytes / bandwidth,
        head_read=m.head_bytes / bandwidth,
        row_work=2 * (m.attention_params + m.dense_params) / peak,
        head_work=2 * m.head_params / peak,
        n_experts=m.n_experts,
        log_unchosen=m.log_unchosen,
        routing=e.routing,
        expert_read=m.expert_bytes * m.n_moe_layers / (bandwidth * e.expert_bandwidth),
        padded_work=one_expert * e.padding * k.tiled,
        chosen_work=one_expert * m.experts_per_tok,
        dispatch=e.dispatch * m.experts_per_tok * m.n_moe_layers * state * DISPATCH_PASSES / k.bandwidth,
        cache_token=c.token_bytes / kept,
        cache_capped=c.capped_token_bytes / kept,
        cap_tokens=np.asarray(c.cap_tokens),
        cache_window=c.window_token_bytes / kept,
        window_tokens=np.asarray(c.window_tokens),
        cache_scanned=c.scanned_token_bytes / kept,
        cache_fixed=c.fixed_bytes / kept,
        cache_shards=np.maximum(c.shards, 1.0),
        decode_scores=m.decode_attention_flops / scores,
        prefill_scores=m.prefill_attention_flops / scores,
        window_scores=m.window_attention_flops / scores,
        indexer_scores=m.indexer_flops / scores,
        ring=2 * m.n_layers * e.collective_s,
        moved=2 * m.n_layers * 2 * state / (k.link * e.link),
        hop=e.hop_s,
        launches=m.n_layers * e.layer_s + m.n_moe_layers * e.moe_layer_s + e.step_s,
        sequence=e.sequence_s,
        sync=m.n_moe_layers * e.sync_s,
        interference=e.interference,
        first_token=e.first_token_s,
        prompt_reads=e.prompt_reads,
        overlap=k.overlap,
    )


def host_costs(m: ModelArrays, k: MachineArrays, e: EfficiencyArrays) -> HostCosts:
    """Costs of experts or layers in host memory; all arrays have one shape."""
    bandwidth, peak = k.host_bandwidth * e.host_bandwidth, k.host_peak * e.host_compute
    bus, streamed_peak = k.pcie * e.pcie, k.peak * e.compute * e.expert_compute
    size, one_expert = m.expert_bytes * m.n_moe_layers, 2 * m.expert_params * m.n_moe_layers
    dense = m.attention_split_bytes + m.attention_replicated_bytes + m.dense_bytes
    return HostCosts(
        expert_read=size / bandwidth,
        chosen_work=one_expert * m.experts_per_tok / peak,
        dense_read=dense / bandwidth,
        row_work=2 * (m.attention_params + m.dense_params) / peak,
        streamed_read=size / bus,
        streamed_padded=one_expert * e.padding / streamed_peak,
        streamed_chosen=one_expert * m.experts_per_tok / streamed_peak,
        pcie_scaling=e.pcie_scaling,
    )
