"""How devices, hosts and servers are written in `devices/*.yaml`, `hosts/*.yaml` and `servers/*.yaml`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from advisor.catalog import records
from advisor.catalog.records import Confidence, DeviceClass
from advisor.catalog.schema_base import Count, Positive, Schema, Size, Sources, Text

__all__ = ["DeviceSchema", "HostSchema", "Precision", "ServerSchema"]

Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "fp6", "fp4", "int8", "int4", "mxfp8", "mxfp6", "mxfp4"]
Devices = Annotated[int, Field(gt=0, le=100_000, strict=True)]


class _Link(Schema):
    RECORD: ClassVar[type] = records.Link
    name: Text
    topology: Literal["nvswitch", "bridge", "mesh", "torus", "none"]
    bytes_per_s: Positive
    max_domain: Devices


class DeviceSchema(Schema):
    RECORD: ClassVar[type] = records.Device

    id: Text
    name: Text
    device_class: DeviceClass
    vendor: Text
    architecture: str = ""
    memory_bytes: Size
    bandwidth_bytes_per_s: Positive
    peak_ops_per_s: dict[Precision, Positive] = Field(default_factory=dict)
    usable_memory_bytes: Size | None = None
    memory_options_bytes: tuple[Size, ...] = ()
    memory_type: str = ""
    compute_capability: Annotated[float, Field(ge=1, lt=100)] | None = None
    supported_precisions: tuple[Precision, ...] = ()
    units: Devices | None = None
    boost_hz: Positive | None = None
    l2_bytes: Positive | None = None
    pcie_bytes_per_s: Positive | None = None
    link: _Link | None = None
    dies: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    tdp_w: Positive | None = None
    idle_w: Positive | None = None
    all_in_power_w: Positive | None = None
    isa: tuple[Text, ...] = ()
    memory_channels: Devices | None = None
    launch_date: Text | None = None
    sold_only_in: tuple[Text, ...] = ()
    aliases: tuple[Text, ...] = ()
    unified_memory: bool = False
    reference: bool = False
    notes: str = ""
    source: Sources
    confidence: Confidence = Confidence.MEDIUM

    @model_validator(mode="after")
    def _usable_within_memory(self) -> DeviceSchema:
        if self.usable_memory_bytes and self.usable_memory_bytes > self.memory_bytes:
            raise ValueError(f"usable_memory_bytes up to memory_bytes = {self.memory_bytes}")
        return self


class HostSchema(Schema):
    RECORD: ClassVar[type] = records.Host

    id: Text
    name: Text
    sockets: Annotated[int, Field(gt=0, le=64, strict=True)]
    cores: Devices
    memory_bandwidth_bytes_per_s: Positive
    cpu_device_id: Text | None = None
    measured_bandwidth_bytes_per_s: Positive | None = None
    memory_bytes: Size | None = None
    numa_nodes: Devices | None = None
    isa: tuple[Text, ...] = ()
    peak_fp32_ops_per_s: Positive | None = None
    peak_bf16_ops_per_s: Positive | None = None
    reference: bool = False
    notes: str = ""
    source: Sources
    confidence: Confidence = Confidence.MEDIUM


class ServerSchema(Schema):
    RECORD: ClassVar[type] = records.Server

    id: Text
    name: Text
    device_id: Text
    n_devices: Devices
    cpu: str = ""
    ram_bytes: Size | None = None
    max_power_w: Positive | None = None
    nic_bytes_per_s_per_device: Positive | None = None
    nvme_bytes: Size | None = None
    rack_units: Count | None = None
    source: Sources
    notes: str = ""
