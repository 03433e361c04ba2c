"""What the step formulas work on: sizes of models, rates of machines, layouts; and the seconds that come out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.cache import CacheRule

__all__ = [
    "HOST_PREFILL_BEST",
    "HOST_PREFILL_CPU",
    "HOST_PREFILL_STREAM",
    "LayoutArrays",
    "MachineArrays",
    "ModelArrays",
    "StepInputs",
    "StepTime",
]

Floats = NDArray[np.float64]

HOST_PREFILL_CPU, HOST_PREFILL_STREAM, HOST_PREFILL_BEST = 0.0, 1.0, 2.0


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
    overlap: Floats  # exponent of the power mean of reading and arithmetic in a decode step; 1: they add up


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
