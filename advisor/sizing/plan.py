"""What is sized: a plan (software and hardware) under a load. And the answer: a `Sizing`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from advisor.catalog.formats import Format
from advisor.catalog.quantity import Quantity
from advisor.catalog.records import Device, Engine, Host, Server, Variant

__all__ = ["Binding", "DeviceFootprint", "Layout", "Load", "Offload", "Plan", "Sizing", "Suggestion"]


class Offload(StrEnum):
    """What lives on the CPU of a machine with accelerators."""

    NONE = "none"
    CPU_ONLY = "cpu_only"  # no accelerator at all
    EXPERTS_CPU = "experts_cpu"  # routed experts in host memory, the rest on the accelerator
    LAYERS_SPLIT = "layers_split"  # the first layers on the accelerator, the rest on the CPU


class Binding(StrEnum):
    """The resource that limits a plan."""

    CAPACITY = "capacity"
    BANDWIDTH = "bandwidth"
    COMPUTE = "compute"
    LINK = "link"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Layout:
    """How one replica is spread. `devices` = tp * pp * (dp_attention if it does not share the tp group)."""

    tp: int = 1
    pp: int = 1
    ep: int = 1  # expert parallel width inside the replica; 1: experts are sharded by tp
    dp_attention: int = 1  # attention replicas inside the tp group; the cache is split over them
    offload: Offload = Offload.NONE
    gpu_expert_layers: float = 0.0  # EXPERTS_CPU: MoE layers whose experts stay on the accelerator
    gpu_layers: int = 0  # LAYERS_SPLIT: layers on the accelerator

    @property
    def devices(self) -> int:
        """Accelerators of one replica."""
        return self.tp * self.pp

    def label(self) -> str:
        parts = [f"tp{self.tp}"] if self.tp > 1 else []
        parts += [f"pp{self.pp}"] if self.pp > 1 else []
        parts += [f"ep{self.ep}"] if self.ep > 1 else []
        parts += [f"dp-attention{self.dp_attention}"] if self.dp_attention > 1 else []
        parts += [str(self.offload)] if self.offload is not Offload.NONE else []
        return " ".join(parts) or "single"


@dataclass(frozen=True, slots=True)
class Plan:
    """One configuration that could be bought and started.

    `device` is None only for `Offload.CPU_ONLY`; then `host` says what runs it. `n_devices` = accelerators of
    all replicas. `server`: the chassis that holds them, where known.
    """

    variant: Variant
    format: Format
    engine: Engine
    backend: str  # cuda | rocm | metal | vulkan | xpu | cpu | npu | …
    device: Device | None
    layout: Layout = Layout()
    replicas: int = 1
    host: Host | None = None
    server: Server | None = None
    kv_format: str = "bf16"

    @property
    def n_devices(self) -> int:
        return 0 if self.device is None else self.layout.devices * self.replicas

    @property
    def id(self) -> str:
        """Stable text that names the plan, used in tables, URLs and files."""
        where = self.device.id if self.device else (self.host.id if self.host else "cpu")
        parts = (self.variant.id, self.format.id, self.kv_format, f"{self.engine.id}-{self.backend}", where)
        return "|".join((*parts, self.layout.label().replace(" ", "+"), f"x{self.replicas}"))


@dataclass(frozen=True, slots=True)
class Load:
    """Steady load on ONE replica. `context_tokens`: the room that each sequence must have (>= input + output)."""

    input_tokens: int
    output_tokens: int
    context_tokens: int
    concurrency: int = 1
    cached_input_tokens: int = 0  # prefix-cache hits

    @property
    def mean_context_tokens(self) -> float:
        """Mean tokens in the cache while decoding."""
        return self.input_tokens + self.output_tokens / 2


@dataclass(frozen=True, slots=True)
class DeviceFootprint:
    """Bytes on the fullest device of a replica (`device_index` 0..), or in host memory (`device_index` -1)."""

    device_index: int
    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    overhead_bytes: int
    usable_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_cache_bytes + self.activation_bytes + self.overhead_bytes

    @property
    def free_bytes(self) -> int:
        return self.usable_bytes - self.total_bytes


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A change that makes a plan fit, or fit better. `kind` and `values` make the sentence in either language.

    Kinds: more_devices {count}, other_format {format_id}, shorter_context {context_tokens},
    fewer_sequences {concurrency}, other_variant {variant_id, format_id}, bigger_device {device_id}, offload {}.
    """

    kind: str
    values: Mapping[str, int | float | str]


@dataclass(frozen=True, slots=True)
class Sizing:
    """The answer for one plan under one load."""

    plan: Plan
    load: Load
    fits: bool
    binding: Binding
    shortfall_bytes: int  # per device; 0 when it fits
    per_device: DeviceFootprint
    host: DeviceFootprint | None
    kv_bytes_per_token: float
    max_concurrency: int
    max_context_tokens: int  # at the load's concurrency
    prefill_tok_s: Quantity
    decode_tok_s: Quantity  # per sequence
    output_tok_s: Quantity  # all sequences of one replica
    ttft_ms: Quantity
    tpot_ms: Quantity
    shares: Mapping[Binding, float]  # share of the decode step's time by resource
    suggestions: tuple[Suggestion, ...] = ()
