"""Frozen records of what exists: variants, devices, hosts, servers, engines, prices.

Units are SI and in the names: bytes, bytes per second, FLOP (or integer operation) per second,
watts, US dollars. `None` means unknown, never zero and never interpolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from advisor.catalog.model_records import (
    Architecture,
    AttentionKind,
    Compression,
    Confidence,
    Drafter,
    Engram,
    HyperConnections,
    Indexer,
    LinearAttention,
    Role,
    Variant,
    VisionTower,
)

__all__ = [
    "Architecture",
    "AttentionKind",
    "CarbonIntensity",
    "Compression",
    "Confidence",
    "Device",
    "DeviceClass",
    "Drafter",
    "ElectricityPrice",
    "Engine",
    "EngineSupport",
    "Engram",
    "Host",
    "HyperConnections",
    "Indexer",
    "LinearAttention",
    "Link",
    "NamedRate",
    "PowerUsage",
    "Price",
    "Role",
    "Server",
    "Variant",
    "VisionTower",
]


class DeviceClass(StrEnum):
    DATACENTER_GPU = "datacenter_gpu"
    WORKSTATION_GPU = "workstation_gpu"
    CONSUMER_GPU = "consumer_gpu"
    LAPTOP_GPU = "laptop_gpu"
    APPLE = "apple"
    UNIFIED_PC = "unified_pc"  # GB10, Strix Halo
    EDGE = "edge"  # Jetson, single-board computers, NPUs on boards
    PHONE = "phone"
    NPU = "npu"  # Ascend, Gaudi, Cambricon and other data-centre accelerators that are not GPUs
    TPU = "tpu"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Link:
    """Device-to-device link: `bytes_per_s` is the sum over one device's links, one direction."""

    name: str
    topology: str  # nvswitch | bridge | mesh | torus | none
    bytes_per_s: float
    max_domain: int


@dataclass(frozen=True, slots=True)
class Price:
    """One dated price of a device. `kind`: cloud_hourly | purchase | cloud_hourly_tco."""

    device_id: str
    kind: str
    usd: float
    provider: str
    date: date | None
    source: str


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator, or for `DeviceClass.CPU` one processor. Peaks are dense, without sparsity.

    `peak_ops_per_s`: by precision (fp32, tf32, fp16, bf16, fp8, int8, fp4, int4); absent: not supported or unknown.
    `usable_memory_bytes`: what the driver shows, where a source gave it.
    """

    id: str
    name: str
    device_class: DeviceClass
    vendor: str
    architecture: str
    memory_bytes: int
    bandwidth_bytes_per_s: float
    peak_ops_per_s: Mapping[str, float]
    usable_memory_bytes: int | None = None
    memory_options_bytes: tuple[int, ...] = ()
    memory_type: str = ""
    compute_capability: float | None = None  # NVIDIA only
    supported_precisions: tuple[str, ...] = ()
    units: int | None = None  # SMs, CUs, cores
    boost_hz: float | None = None
    l2_bytes: float | None = None
    pcie_bytes_per_s: float | None = None  # one direction
    link: Link | None = None
    dies: int = 1  # one card that the system sees as several devices
    tdp_w: float | None = None
    idle_w: float | None = None
    all_in_power_w: float | None = None  # with its share of server and facility
    isa: tuple[str, ...] = ()  # CPUs: instruction sets
    memory_channels: int | None = None  # CPUs
    launch_date: str | None = None
    sold_only_in: tuple[str, ...] = ()  # ISO 3166 alpha-3; empty: everywhere
    aliases: tuple[str, ...] = ()
    unified_memory: bool = False
    reference: bool = False  # only for validation: not offered to users
    notes: str = ""
    source: tuple[str, ...] = ()
    confidence: Confidence = Confidence.MEDIUM


@dataclass(frozen=True, slots=True)
class Host:
    """A CPU-only or hybrid machine: sockets, memory channels, instruction sets."""

    id: str
    name: str
    sockets: int
    cores: int  # all sockets
    memory_bandwidth_bytes_per_s: float  # theoretical, all sockets
    cpu_device_id: str | None = None
    measured_bandwidth_bytes_per_s: float | None = None
    memory_bytes: int | None = None
    numa_nodes: int | None = None
    isa: tuple[str, ...] = ()
    peak_fp32_ops_per_s: float | None = None
    peak_bf16_ops_per_s: float | None = None
    reference: bool = True
    notes: str = ""
    source: tuple[str, ...] = ()
    confidence: Confidence = Confidence.MEDIUM


@dataclass(frozen=True, slots=True)
class Server:
    """A real chassis: how many of which device it holds, and what surrounds them."""

    id: str
    name: str
    device_id: str
    n_devices: int
    cpu: str = ""
    ram_bytes: int | None = None
    max_power_w: float | None = None
    nic_bytes_per_s_per_device: float | None = None  # one direction
    nvme_bytes: int | None = None
    rack_units: int | None = None
    source: tuple[str, ...] = ()
    notes: str = ""


@dataclass(frozen=True, slots=True)
class EngineSupport:
    """One rule: this engine runs these format families on these devices, in this way.

    A device matches if its vendor and class are listed (empty: any) and its compute capability lies in
    [`min_compute_capability`, `max_compute_capability`]. `compute`: native | weight-only | emulated.
    """

    format_families: tuple[str, ...]  # a format matches by its family or by its id
    backends: tuple[str, ...]
    vendors: tuple[str, ...] = ()
    device_classes: tuple[DeviceClass, ...] = ()
    architectures: tuple[str, ...] = ()
    excluded_architectures: tuple[str, ...] = ()
    min_compute_capability: float | None = None
    max_compute_capability: float | None = None
    format_ids: tuple[str, ...] = ()
    excluded_format_ids: tuple[str, ...] = ()
    compute: str = "native"
    since_version: str = ""
    note: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Engine:
    """Software that serves a model, with the version that the catalogue describes."""

    id: str
    name: str
    version: str
    released: str | None
    supports: tuple[EngineSupport, ...]
    batching: str  # continuous | slots | static
    tensor_parallel: bool
    pipeline_parallel: bool
    expert_parallel: bool
    dp_attention: bool
    cpu_offload: bool
    expands_mla: bool = False  # stores full K and V heads for MLA models
    paged_block_tokens: int = 1
    kv_formats: tuple[str, ...] = ("bf16",)
    attention_kinds: tuple[AttentionKind, ...] = (AttentionKind.GQA, AttentionKind.MLA)
    memory_fraction: float = 1.0  # share of device memory that it takes by default
    cpu_overlap: float = 1.0  # power mean of reading and arithmetic in a decode step on processors; 1: they add up
    aliases: tuple[str, ...] = ()
    reference: bool = False  # only for validation: not offered to users
    notes: str = ""
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ElectricityPrice:
    region: str
    kind: str
    usd_per_kwh: float
    date: str
    source: str


@dataclass(frozen=True, slots=True)
class CarbonIntensity:
    region: str
    name: str
    kg_co2e_per_kwh: float
    year: int
    source: str


@dataclass(frozen=True, slots=True)
class NamedRate:
    """A nominal rate of a network (one direction) or of a storage class (sequential read)."""

    id: str
    bytes_per_s: float
    source: str


@dataclass(frozen=True, slots=True)
class PowerUsage:
    """Power usage effectiveness of data centres: total power / power of the computers."""

    scope: str
    low: float
    high: float
    date: str
    source: str
