"""Seconds of one engine step: what a batch of decodes, or the prefill of a prompt, costs one replica.

Each resource takes its bytes or operations divided by datasheet rate times fitted efficiency, and all add up: kernels
overlap reads and arithmetic only in part, and in cross-validation sums foretell unseen devices better than any soft
maximum of the two (power means of exponent 1, 2, 3 and 4 were compared). One row on a processor is the exception for
engines that say so: `cpu_overlap`, fitted to own probes by benchmarks/foresight.py.

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

from advisor.sizing.costs import HostCosts, StepCosts, host_costs, step_costs
from advisor.sizing.efficiency import EfficiencyArrays
from advisor.sizing.step_arrays import (
    HOST_PREFILL_CPU,
    HOST_PREFILL_STREAM,
    LayoutArrays,
    StepInputs,
    StepTime,
)

__all__ = ["PlanCosts", "batch_step", "decode_step", "experts_touched", "plan_costs", "prefill_pass", "priced"]

Floats = NDArray[np.float64]

STREAM_TOKENS = 32  # llama.cpp moves a matrix product to the GPU from this many rows on


@dataclass(frozen=True, slots=True)
class PlanCosts:
    """Costs of a replica in its layout, in seconds; arrays of shape (plans,)."""

    costs: StepCosts
    host: HostCosts | None  # None: nothing is in host memory
    layout: LayoutArrays
    staged: bool  # some plan has pipeline stages
    read: Floats  # all matrices but experts, once per step
    row_work: Floats  # by row
    head_work: Floats  # by sampled row
    expert_read: Floats  # by touched expert
    padded_work: Floats
    link: Floats  # once per step
    link_row: Floats
    launches: Floats  # once per step


def priced(i: StepInputs, e: EfficiencyArrays) -> PlanCosts:
    """Costs of plans from what they are and what of their machines they can use."""
    offloads = bool(np.any(i.layout.host_experts > 0) or np.any(i.layout.host_layers > 0))
    host = host_costs(i.model, i.machine, e) if offloads else None
    return plan_costs(step_costs(i.model, i.cache, i.machine, e), host, i.layout)


def plan_costs(c: StepCosts, host: HostCosts | None, layout: LayoutArrays) -> PlanCosts:
    """Costs spread over the devices of each layout."""
    tp, staged = layout.tp, bool((layout.pp > 1).any())
    read = c.split_read * (layout.dp_attention / tp) + c.replicated_read + c.dense_read / tp
    row_work, part = c.row_work, 1 / tp
    if host is not None:
        on_device, part = 1 - layout.host_layers, (1 - layout.host_experts) / tp
        read, row_work = read * on_device, row_work * on_device
    link = (tp > 1) * (c.ring * (1 + np.log2(np.maximum(tp, 1)))) / 2
    return PlanCosts(
        costs=c,
        host=host,
        layout=layout,
        staged=staged,
        read=read + c.head_read / tp,
        row_work=(row_work + c.dispatch) / tp + c.chosen_work * part,
        head_work=c.head_work / tp,
        expert_read=c.expert_read * part,
        padded_work=c.padded_work * part,
        link=link + (layout.pp - 1) * c.hop if staged else link,
        link_row=c.moved * ((tp - 1) / tp),
        launches=c.launches if host is None else c.launches + layout.host_experts * c.sync,
    )


def decode_step(p: PlanCosts, sequences: Floats, context: Floats, draft_tokens: float = 0.0) -> StepTime:
    """One token for each of `sequences` on one replica, at `context` cached tokens each.

    Pipeline stages hold sequences/pp of them at a time, so all of them advance in one round of the pipeline.
    `draft_tokens` more rows per sequence are verified in the same step; proposing each costs about one layer.
    """
    held = np.maximum(sequences / p.layout.pp if p.staged else sequences, 1.0)
    rows = held * (1 + draft_tokens) if draft_tokens else held
    weights, compute = _together(*_matrices(p, rows, rows), np.where(rows <= 1, p.costs.overlap, 1.0))
    cache, scores = _decode_attention(p, held, context)
    if draft_tokens:
        drafting = 1 + draft_tokens / p.costs.n_layers
        weights, compute, scores = weights * drafting, compute * drafting, scores * (1 + draft_tokens)
    return StepTime(weights, compute + scores, cache, _links(p, rows), _host(p, rows))


def batch_step(p: PlanCosts, tokens: Floats, sampled: Floats) -> StepTime:
    """One step over `tokens` rows of which `sampled` yield a token, without reading any cache."""
    weights, compute = _matrices(p, tokens, sampled)
    return StepTime(weights, compute, np.zeros_like(tokens), _links(p, tokens), _host(p, sampled))


def prefill_pass(p: PlanCosts, tokens: Floats, depth: Floats, *, pipelined: bool = False) -> StepTime:
    """All chunks of one prompt of `tokens` on top of `depth` cached tokens.

    `pipelined`: chunks of many prompts keep every pipeline stage busy (throughput); else one prompt alone.
    """
    chunks = np.ceil(tokens / p.layout.chunk_tokens)
    rows = tokens / chunks
    weights, compute = _matrices(p, rows, np.ones_like(rows))
    cache, scores = _prefill_attention(p, tokens, depth, chunks)
    link, host = _links(p, rows) * chunks, (p.launches + p.costs.sequence) * chunks
    whole = StepTime(weights * p.costs.prompt_reads * chunks, compute * chunks + scores, cache, link, host)
    if not p.staged:
        return whole
    pp = p.layout.pp
    filled = (chunks + pp - 1) / (chunks * pp)
    share = 1.0 / pp if pipelined else np.where(p.layout.overlapped > 0, filled, 1.0)
    return StepTime(whole.weights * share, whole.compute * share, cache * share, link * share, host * share)


def experts_touched(n_experts: Floats, log_unchosen: Floats, routing: Floats, rows: Floats) -> Floats:
    """Experts of one layer that at least one of `rows` tokens chooses; 0 for dense models.

    `log_unchosen`: logarithm of the chance that a token leaves out a given expert; `routing`: exponent on the tokens.
    """
    choices = np.exp(routing * np.log(np.maximum(rows, 1)))
    touched: Floats = n_experts * -np.expm1(choices * log_unchosen)
    return touched


def _matrices(p: PlanCosts, rows: Floats, sampled: Floats) -> tuple[Floats, Floats]:
    """(reading, arithmetic) seconds of all matrix products of `rows` tokens."""
    c = p.costs
    work = rows * p.row_work + sampled * p.head_work
    if not c.n_experts.any():
        return p.read, work if p.host is None else work + _host_side(p, p.host, rows, np.zeros_like(rows))
    touched = experts_touched(c.n_experts, c.log_unchosen, c.routing, rows)
    work += touched * p.padded_work
    if p.host is not None:
        work += _host_side(p, p.host, rows, touched)
    return p.read + touched * p.expert_read, work


def _together(read: Floats, work: Floats, overlap: Floats) -> tuple[Floats, Floats]:
    """Both, shrunk alike until they add up to their power mean."""
    if (overlap == 1.0).all():
        return read, work
    shrunk = (read**overlap + work**overlap) ** (1 / overlap) / np.maximum(read + work, np.finfo(float).tiny)
    return read * shrunk, work * shrunk


def _host_side(p: PlanCosts, h: HostCosts, rows: Floats, touched: Floats) -> Floats:
    """Seconds of what stays on the CPU: routed experts, or whole layers."""
    layout = p.layout
    on_cpu = touched * h.expert_read + rows * h.chosen_work
    streamed = touched * h.streamed_read / (layout.tp * layout.pp) ** h.pcie_scaling
    streamed += (rows * h.streamed_chosen + touched * h.streamed_padded) / layout.tp
    chosen = np.where(layout.host_prefill == HOST_PREFILL_STREAM, streamed, np.minimum(streamed, on_cpu))
    chosen = np.where((layout.host_prefill == HOST_PREFILL_CPU) | (rows < STREAM_TOKENS), on_cpu, chosen)
    dense = h.dense_read + rows * h.row_work
    seconds: Floats = layout.host_experts * chosen + layout.host_layers * dense
    return seconds


def _decode_attention(p: PlanCosts, rows: Floats, context: Floats) -> tuple[Floats, Floats]:
    """(cache reads, score arithmetic beyond them)."""
    c, layout = p.costs, p.layout
    capped, windowed = np.minimum(context, c.cap_tokens), np.minimum(context, c.window_tokens)
    read = c.cache_capped * capped + c.cache_scanned * context + c.cache_window * windowed + c.cache_fixed
    scores = c.decode_scores * capped + c.window_scores * windowed + c.indexer_scores * context
    return read * rows / (layout.dp_attention * _ways(p)), scores * rows / layout.tp


def _prefill_attention(p: PlanCosts, tokens: Floats, depth: Floats, chunks: Floats) -> tuple[Floats, Floats]:
    """(cache reads, score arithmetic beyond them) of a whole prompt."""
    c = p.costs
    context = depth + tokens / 2
    scores = c.prefill_scores * np.minimum(context, c.cap_tokens) + c.indexer_scores * context
    scores += c.window_scores * np.minimum(context, c.window_tokens)
    return c.cache_token * context * chunks / _ways(p), scores * tokens / p.layout.tp


def _ways(p: PlanCosts) -> Floats:
    """Into how many parts tensor parallelism splits the cache of a sequence."""
    ways: Floats = np.minimum(p.layout.tp / p.layout.dp_attention, p.costs.cache_shards)
    return ways


def _links(p: PlanCosts, rows: Floats) -> Floats:
    seconds: Floats = p.link + rows * p.link_row
    return seconds


def _host(p: PlanCosts, rows: Floats) -> Floats:
    seconds: Floats = p.launches + rows * p.costs.sequence
    return seconds
