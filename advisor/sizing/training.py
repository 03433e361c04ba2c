"""Memory of training and adaptation, per device: weights, gradients, optimizer states, activations, teacher.

Mixed precision as in ZeRO (arXiv 1910.02054 §3.1): 16-bit weights and gradients, and for Adam 32-bit master weights,
momentum and variance. 8-bit Adam: arXiv 2110.02861; Adafactor: arXiv 1804.04235; LoRA: arXiv 2106.09685;
QLoRA: arXiv 2305.14314.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from advisor.catalog.errors import InputError, UnsupportedError
from advisor.catalog.formats import LINEAR_ROLES, Format, TensorRole
from advisor.catalog.records import Architecture, Device, Server, Variant
from advisor.catalog.text import translate
from advisor.sizing.activations import Checkpointing, activation_bytes, logits_bytes
from advisor.sizing.layout import Shards, device_weights, weight_shares, why_invalid
from advisor.sizing.memory import load_memory_model, usable_bytes
from advisor.sizing.plan import Layout
from advisor.sizing.tensors import main_tensors
from advisor.sizing.weights import total_params, weights

__all__ = [
    "Method",
    "Optimizer",
    "TrainingFootprint",
    "TrainingPlan",
    "adapter_params",
    "smallest_count",
    "training_footprint",
]

BUCKET_BYTES = 2 * 500_000_000 * 2  # DeepSpeed reduce_bucket_size and allgather_bucket_size, 16-bit elements
MOST_DEVICES = 65_536


class Method(StrEnum):
    FULL = "full"
    LORA = "lora"  # low-rank adapters beside 16-bit frozen weights
    QLORA = "qlora"  # the same beside 4-bit frozen weights
    DISTILL = "distill"  # a teacher's logits and hidden states
    QAT = "qat"  # fake-quantised weights in the forward pass


class Optimizer(StrEnum):
    ADAM = "adam"
    ADAM_8BIT = "adam8bit"
    ADAFACTOR = "adafactor"


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """One run. `micro_batch`: sequences per data-parallel rank in one pass; `accumulate`: passes per step."""

    variant: Variant
    method: Method
    device: Device
    base_format: Format  # of the weights in memory; 4-bit for QLoRA
    devices: int = 1
    tp: int = 1
    pp: int = 1
    zero: int = 0
    offload_optimizer: bool = False
    optimizer: Optimizer = Optimizer.ADAM
    checkpointing: Checkpointing = Checkpointing.FULL
    micro_batch: int = 1
    accumulate: int = 8
    sequence_tokens: int = 2048
    rank: int = 16
    attention_only: bool = False  # LoRA on attention instead of every linear layer
    dropout: bool = False
    interleave: int = 1  # model chunks of a pipeline stage
    teacher: Variant | None = None
    teacher_format: Format | None = None
    hidden_losses: int = 0  # layers whose hidden states are matched
    server: Server | None = None

    @property
    def dp(self) -> int:
        return self.devices // (self.tp * self.pp)

    @property
    def tokens_per_step(self) -> int:
        return self.dp * self.micro_batch * self.accumulate * self.sequence_tokens


@dataclass(frozen=True, slots=True)
class TrainingFootprint:
    """Bytes on the fullest device; `host_bytes`: optimizer states in host memory, per device."""

    weights_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    teacher_bytes: int
    overhead_bytes: int
    usable_bytes: int
    host_bytes: int
    trainable_params: int
    total_params: int

    @property
    def total_bytes(self) -> int:
        held = self.weights_bytes + self.gradient_bytes + self.optimizer_bytes
        return held + self.activation_bytes + self.teacher_bytes + self.overhead_bytes

    @property
    def shortfall_bytes(self) -> int:
        return max(self.total_bytes - self.usable_bytes, 0)

    @property
    def fits(self) -> bool:
        return self.shortfall_bytes == 0


def training_footprint(plan: TrainingPlan) -> TrainingFootprint:
    """Bytes per device of a run. Raises InputError or UnsupportedError for a layout that cannot be."""
    _check(plan)
    a = plan.variant.architecture
    share = _device_share(a, plan)
    frozen = plan.method in (Method.LORA, Method.QLORA)
    trainable = adapter_params(a, plan) if frozen else total_params(a)
    base = weights(a, plan.base_format).total_bytes * share
    adapters = 2.0 * trainable * share if frozen else 0.0
    split = [1.0 / plan.dp if plan.zero >= level else 1.0 for level in (1, 2, 3)]
    states = trainable * share * _state_bytes(a, plan, trainable) * split[0]
    activations = _activations(plan)
    return TrainingFootprint(
        weights_bytes=round((base + adapters) * split[2] + _fake_quantised(plan, share)),
        gradient_bytes=round(2.0 * trainable * share * split[1]),
        optimizer_bytes=0 if plan.offload_optimizer else round(states),
        activation_bytes=round(activations),
        teacher_bytes=round(_teacher(plan)),
        overhead_bytes=round(load_memory_model().context_bytes + _buffers(plan, 2.0 * trainable * share)),
        usable_bytes=usable_bytes(plan.device),
        host_bytes=round(states) if plan.offload_optimizer else 0,
        trainable_params=trainable,
        total_params=total_params(a),
    )


def adapter_params(a: Architecture, plan: TrainingPlan) -> int:
    """Parameters of LoRA adapters: rank·(rows + columns) for each adapted matrix; routed experts stay as they are."""
    experts = {TensorRole.EXPERT_UP, TensorRole.EXPERT_DOWN}
    feed_forward = {TensorRole.FFN_UP, TensorRole.FFN_DOWN, TensorRole.SHARED_UP, TensorRole.SHARED_DOWN}
    roles = LINEAR_ROLES - experts - {TensorRole.INDEXER}
    if plan.attention_only:
        roles = roles - feed_forward
    adapted = [t for t in main_tensors(a) if t.role in roles]
    return sum(plan.rank * (t.rows + t.cols) * t.matrices for t in adapted)


def smallest_count(plan: TrainingPlan) -> int | None:
    """The fewest devices, by doubling the data-parallel width, that hold the run; None: not by that alone."""
    count = plan.tp * plan.pp
    while count <= MOST_DEVICES:
        if training_footprint(replace(plan, devices=count)).fits:
            return count
        if plan.zero == 0:
            return None
        count *= 2
    return None


def _check(plan: TrainingPlan) -> None:
    if plan.devices % (plan.tp * plan.pp):
        raise InputError("count", f"a multiple of tp x pp = {plan.tp * plan.pp}", plan.devices)
    reason = why_invalid(plan.variant.architecture, Layout(tp=plan.tp, pp=plan.pp))
    if reason is not None:
        raise UnsupportedError(translate("en", f"sizing.layout.{reason}", model=plan.variant.name, engine=""))
    if plan.method is Method.DISTILL and plan.teacher is None:
        raise InputError("teacher", "a model to distil from", "none")
    if not 0 <= plan.zero <= 3:
        raise InputError("zero", "0, 1, 2 or 3", plan.zero)


def _device_share(a: Architecture, plan: TrainingPlan) -> float:
    """Part of the parameters on the fullest device of a model-parallel group."""
    shares = weight_shares(a, plan.base_format)
    device, _ = device_weights(shares, Shards.of(Layout(tp=plan.tp, pp=plan.pp)))
    return float(device) / weights(a, plan.base_format).total_bytes


def _state_bytes(a: Architecture, plan: TrainingPlan, trainable: int) -> float:
    """Bytes of optimizer state per trainable parameter, with the 32-bit master copy."""
    match plan.optimizer:
        case Optimizer.ADAM:
            return 12.0
        case Optimizer.ADAM_8BIT:
            return 4.0 + 2.0 + 2 * 4 / 2048  # two 8-bit moments, a 32-bit scale per block of 2,048
        case _:
            rows_and_columns = sum((t.rows + t.cols) * t.matrices for t in main_tensors(a))
            factored = rows_and_columns if trainable == total_params(a) else trainable
            return 4.0 + 4.0 * min(factored / trainable, 1.0)


def _activations(plan: TrainingPlan) -> float:
    """Layers of all stages weigh on the first one: it keeps one micro-batch for each stage in flight."""
    a = plan.variant.architecture
    tokens = plan.micro_batch * plan.sequence_tokens
    flight = min(plan.pp, plan.accumulate) / plan.pp
    flight *= 1 + (plan.pp - 1) / (plan.pp * plan.interleave) if plan.interleave > 1 else 1
    held = activation_bytes(a, tokens, plan.sequence_tokens, plan.tp, plan.checkpointing, dropout=plan.dropout)
    return held * flight + logits_bytes(a, tokens, plan.tp)


def _teacher(plan: TrainingPlan) -> float:
    """The teacher's weights (forward only), both sets of logits at 16 bit, and matched hidden states."""
    if plan.method is not Method.DISTILL or plan.teacher is None or plan.teacher_format is None:
        return 0.0
    a = plan.teacher.architecture
    shares = weight_shares(a, plan.teacher_format)
    device, _ = device_weights(shares, Shards.of(Layout(tp=plan.tp, pp=plan.pp)))
    held = float(device) / (plan.dp if plan.zero >= 3 else 1)
    tokens = plan.micro_batch * plan.sequence_tokens
    hidden = 2.0 * tokens * a.hidden_size * plan.hidden_losses
    return held + 2.0 * tokens * a.vocab_size / plan.tp + hidden


def _fake_quantised(plan: TrainingPlan, share: float) -> float:
    """Quantization-aware training holds a fake-quantised 16-bit copy of the layer in use."""
    if plan.method is not Method.QAT:
        return 0.0
    return 2.0 * total_params(plan.variant.architecture) * share / plan.variant.architecture.num_layers * plan.pp


def _buffers(plan: TrainingPlan, gradients: float) -> float:
    """Buckets of gradients and parameters in flight, no larger than the gradients themselves."""
    return min(float(BUCKET_BYTES), 2 * gradients) if plan.dp > 1 else 0.0
