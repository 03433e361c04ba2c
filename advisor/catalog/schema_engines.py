"""How engines are written in `engines/*.yaml`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from advisor.catalog import records
from advisor.catalog.records import AttentionKind, DeviceClass
from advisor.catalog.schema_base import Positive, Schema, Sources, Text

__all__ = ["EngineSchema"]

Capability = Annotated[float, Field(ge=1, lt=100)]


class _Support(Schema):
    RECORD: ClassVar[type] = records.EngineSupport

    format_families: tuple[Text, ...] = ()
    format_ids: tuple[Text, ...] = ()
    excluded_format_ids: tuple[Text, ...] = ()
    backends: Annotated[tuple[Text, ...], Field(min_length=1)]
    vendors: tuple[Text, ...] = ()
    device_classes: tuple[DeviceClass, ...] = ()
    architectures: tuple[Text, ...] = ()
    excluded_architectures: tuple[Text, ...] = ()
    min_compute_capability: Capability | None = None
    max_compute_capability: Capability | None = None
    compute: Literal["native", "weight-only", "emulated"] = "native"
    since_version: str = ""
    note: str = ""
    source: Text


class EngineSchema(Schema):
    RECORD: ClassVar[type] = records.Engine

    id: Text
    name: Text
    version: Text
    released: Text | None = None
    supports: Annotated[tuple[_Support, ...], Field(min_length=1)]
    batching: Literal["continuous", "slots", "static"]
    tensor_parallel: bool
    pipeline_parallel: bool
    expert_parallel: bool
    dp_attention: bool
    cpu_offload: bool
    expands_mla: bool = False
    paged_block_tokens: Annotated[int, Field(gt=0, le=65536, strict=True)] = 1
    kv_formats: tuple[Text, ...] = ("bf16",)
    attention_kinds: tuple[AttentionKind, ...] = (AttentionKind.GQA, AttentionKind.MLA)
    memory_fraction: Annotated[Positive, Field(le=1)] = 1.0
    cpu_overlap: Annotated[float, Field(ge=1, le=16)] = 1.0
    aliases: tuple[Text, ...] = ()
    reference: bool = False
    notes: str = ""
    source: Sources
