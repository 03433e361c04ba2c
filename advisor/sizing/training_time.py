"""Time of a training step: arithmetic, tensor-parallel and data-parallel communication, pipeline bubble.

FLOP per token: 2 per parameter forward, 4 backward (2 where the weights are frozen), 2 more with full recomputation,
and attention over half the sequence on average. Ring collectives move 2·(n-1)/n of their data. The bubble of 1F1B with
v chunks is (p-1)/(v·m) (Narayanan et al., arXiv 2104.04473 §2.2). The share of peak that the matrix products reach is
fitted to published runs by `advisor.evidence.training_truth` and read from data/calibration_training.yaml. Adapters are
trained by eager frameworks, whose launches bound a pass over few tokens: a fitted time per layer and pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from advisor.catalog.paths import DATA_DIR
from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.records import Architecture
from advisor.sizing.activations import Checkpointing
from advisor.sizing.attention_flops import attention_flops
from advisor.sizing.tensors import active_params
from advisor.sizing.training import Method, TrainingPlan
from advisor.sizing.weights import total_params

__all__ = ["StepTimes", "TrainingSpeed", "forward_flops", "step_times", "training_speed"]

DEFAULT_NETWORK_BYTES_PER_S = 5.0e10  # one 400 Gbit/s port per device, as in the catalogue's eight-way servers
DEFAULT_PCIE_BYTES_PER_S = 3.15e10


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds of one optimizer step on the busiest device; `ideal_s`: its arithmetic at the peak rate."""

    ideal_s: float
    tensor_parallel_s: float
    bubble: float  # share of idle time added by the pipeline
    data_parallel_s: float  # before overlap with the backward pass
    offload_s: float
    layer_passes: float = 0.0  # layers x micro-batches of an eager framework; 0: launches are hidden

    def compute_s(self, efficiency: float, layer_s: float = 0.0) -> float:
        """Arithmetic at the reached share of peak, or launches where they take longer."""
        return max(self.ideal_s / efficiency, self.layer_passes * layer_s)

    def total_s(self, efficiency: float, layer_s: float = 0.0) -> float:
        compute = self.compute_s(efficiency, layer_s)
        hidden = compute * 0.5  # at most the backward pass of the last micro-batches hides the gradient exchange
        exposed = max(self.data_parallel_s - hidden, 0.0)
        return (compute + self.tensor_parallel_s) * (1 + self.bubble) + exposed + self.offload_s

    def efficiency_for(self, measured_s: float) -> float:
        """Share of peak that explains a measured step, communication as computed."""
        return self.ideal_s / max(measured_s / (1 + self.bubble) - self.tensor_parallel_s, 1e-12)


@dataclass(frozen=True, slots=True)
class TrainingSpeed:
    step_s: Quantity
    tokens_per_s: Quantity
    tflops_per_device: float  # useful ones: recomputation not counted
    communication_share: float  # of a step, bubble included
    scaling_efficiency: float  # against the same arithmetic without communication and bubble


def forward_flops(a: Architecture, sequence: int) -> float:
    """FLOP of one token's forward pass: matrix products, and causal attention over half the sequence."""
    _, prefill, window, scanned = attention_flops(a)
    reach = min(sequence / 2, a.sliding_window or sequence)
    return 2.0 * active_params(a) + (prefill + scanned) * sequence / 2 + window * reach


def step_times(plan: TrainingPlan) -> StepTimes:
    """The parts of a step that need no fitted coefficient."""
    a = plan.variant.architecture
    tokens = plan.micro_batch * plan.accumulate * plan.sequence_tokens  # of one data-parallel rank
    per_token = forward_flops(a, plan.sequence_tokens) * _passes(plan)
    if plan.teacher is not None and plan.method is Method.DISTILL:
        per_token += forward_flops(plan.teacher.architecture, plan.sequence_tokens)
    peaks = plan.device.peak_ops_per_s
    peak = peaks.get("bf16") or peaks.get("fp16") or peaks.get("fp32") or 1e12
    return StepTimes(
        ideal_s=tokens * per_token / (plan.tp * plan.pp * peak),
        tensor_parallel_s=_tensor_parallel(plan, tokens),
        bubble=(plan.pp - 1) / (plan.interleave * plan.accumulate),
        data_parallel_s=_data_parallel(plan),
        offload_s=_offload(plan),
        layer_passes=a.num_layers / plan.pp * plan.accumulate if _frozen(plan) else 0.0,
    )


def training_speed(plan: TrainingPlan) -> TrainingSpeed:
    """Speed of a run, with the interval of the published runs that the fit has seen."""
    times = step_times(plan)
    fit = _fitted()["moe" if plan.variant.architecture.is_moe else "dense"]
    eager = _fitted()["eager_layer_s"]["value"]
    step = times.total_s(fit["efficiency"], eager)
    full = plan.method is Method.FULL and plan.device.device_class == "datacenter_gpu" and not plan.offload_optimizer
    basis = Basis.ESTIMATED if full and fit["rows"] > 1 else Basis.EXTRAPOLATED
    factor = fit["factor"] if basis is Basis.ESTIMATED else max(fit["factor"], 2.0)
    compute = times.compute_s(fit["efficiency"], eager)
    useful = 3 * forward_flops(plan.variant.architecture, plan.sequence_tokens) * plan.tokens_per_step
    return TrainingSpeed(
        step_s=Quantity.within(step, factor, basis, "data/calibration_training.yaml"),
        tokens_per_s=Quantity.within(plan.tokens_per_step / step, factor, basis, "data/calibration_training.yaml"),
        tflops_per_device=useful / step / plan.devices / 1e12,
        communication_share=1 - compute / step,
        scaling_efficiency=compute / step,
    )


def _passes(plan: TrainingPlan) -> float:
    return (2.0 if _frozen(plan) else 3.0) + (1.0 if plan.checkpointing is Checkpointing.FULL else 0.0)


def _frozen(plan: TrainingPlan) -> bool:
    return plan.method in (Method.LORA, Method.QLORA)


def _tensor_parallel(plan: TrainingPlan, tokens: int) -> float:
    """Two all-reduces per layer forward, two backward, two more with full recomputation; 16 bit."""
    if plan.tp == 1:
        return 0.0
    a = plan.variant.architecture
    reduces = 4 + (2 if plan.checkpointing is Checkpointing.FULL else 0)
    moved = 2.0 * tokens * a.hidden_size * 2 * (plan.tp - 1) / plan.tp
    return reduces * a.num_layers / plan.pp * moved / _local_bytes_per_s(plan)


def _data_parallel(plan: TrainingPlan) -> float:
    """Gradients reduced once per step; ZeRO-3 also gathers the weights for each pass."""
    if plan.dp == 1:
        return 0.0
    held = 2.0 * total_params(plan.variant.architecture) / (plan.tp * plan.pp)
    gradients = 0.0 if _frozen(plan) else held  # adapters' gradients are negligible
    moved = 2.0 * gradients * (plan.dp - 1) / plan.dp
    if plan.zero >= 3:
        moved += 2.0 * held * plan.accumulate
    inside = plan.device.link is not None and plan.devices <= plan.device.link.max_domain
    return moved / (_local_bytes_per_s(plan) if inside else _network_bytes_per_s(plan))


def _offload(plan: TrainingPlan) -> float:
    """Gradients down and weights up over PCIe, once per step (ZeRO-Offload, arXiv 2101.06840)."""
    if not plan.offload_optimizer:
        return 0.0
    moved = 4.0 * total_params(plan.variant.architecture) / (plan.tp * plan.pp)
    moved /= plan.dp if plan.zero >= 2 else 1
    return moved / (plan.device.pcie_bytes_per_s or DEFAULT_PCIE_BYTES_PER_S)


def _local_bytes_per_s(plan: TrainingPlan) -> float:
    link = plan.device.link
    return link.bytes_per_s if link is not None else (plan.device.pcie_bytes_per_s or DEFAULT_PCIE_BYTES_PER_S)


def _network_bytes_per_s(plan: TrainingPlan) -> float:
    own = plan.server.nic_bytes_per_s_per_device if plan.server else None
    return own or DEFAULT_NETWORK_BYTES_PER_S


@lru_cache(maxsize=1)
def _fitted(path: Path = DATA_DIR / "calibration_training.yaml") -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
