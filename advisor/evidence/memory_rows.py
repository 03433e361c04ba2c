"""Rows of memory.csv as records, and the workspace each describes."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advisor.catalog import Catalog
from advisor.catalog.errors import DataError
from advisor.sizing.memory import Workspace, expanded_widths, ffn_width, load_memory_model, workspace_kind

__all__ = ["MemoryRow", "read_memory_rows", "workspace_of"]

FIRST_V1_REPORT = 14000
_NEEDED = ("id", "model_id", "format_id", "what", "value_bytes")


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """One measurement; 0, "" or None: not stated."""

    id: str
    model_id: str
    format_id: str
    format_bpw: float
    engine_id: str
    what: str
    scope: str
    place: str
    kv_layout: str
    device_id: str
    n_devices: int
    tp: int
    context_tokens: int
    kv_pool_tokens: int
    concurrency: int
    kv_format: str
    n_ubatch: int
    max_num_batched_tokens: int
    flash_attention: bool | None
    amb_mib: int | None
    mla_mode: int | None
    gpu_memory_utilization: float
    device_visible_gib: float
    notes: str
    value_bytes: float
    source: str
    source_ref: str


def read_memory_rows(path: Path) -> list[MemoryRow]:
    """Rows of a file with the columns of memory.csv. Raises DataError naming the row and the column."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(path.name, "", missing[0], "a column of that name")
            return [_row(path, raw) for raw in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise DataError(path.name, "", "", "a readable CSV file", problem) from None


def workspace_of(row: MemoryRow, catalog: Catalog) -> Workspace:
    """The workspace of a row: stated switches, else the engine's defaults."""
    a = catalog.variant(row.model_id).architecture
    kind = workspace_kind(row.engine_id)
    defaults = load_memory_model().defaults[kind]
    key, value = expanded_widths(a)
    device = catalog.device(row.device_id) if row.device_id else None
    large = device is not None and device.memory_bytes >= defaults.get("large_device_bytes", np.inf)
    sequences = defaults.get("profile_sequences_large" if large and _is_v1(row) else "profile_sequences", 1)
    flash = row.flash_attention if row.flash_attention is not None else defaults.get("flash_attention", True)
    limit = defaults.get("attention_buffer_bytes", np.inf)
    if row.amb_mib is not None:
        limit = row.amb_mib * 2.0**20 or np.inf
    int4 = row.format_id.startswith(("awq", "gptq-int4"))
    return Workspace(
        tokens=float(row.n_ubatch or row.max_num_batched_tokens or defaults["batched_tokens"]),
        sequences=float(sequences),
        context=float(row.context_tokens or 0),
        vocab=float(a.vocab_size),
        hidden=float(a.hidden_size),
        ffn_width=ffn_width(a) / max(row.tp, 1),
        heads=float(a.n_heads),
        expanded_key=key,
        expanded_value=value,
        flash=float(flash),
        buffer_limit=limit,
        on_cpu=float(row.place == "cpu"),
        int4=float(int4),
        devices=float(max(row.n_devices, 1)),
    )


def _is_v1(row: MemoryRow) -> bool:
    """vLLM's V1 engine (default since spring 2025, reports numbered from about 14,000) samples more sequences."""
    number = re.search(r"(?:PR|issue) (\d+)", row.source_ref) if row.source == "vllm-project/vllm" else None
    return number is None or int(number[1]) >= FIRST_V1_REPORT


def _row(path: Path, raw: dict[str, str]) -> MemoryRow:
    def number(name: str) -> float:
        text = (raw.get(name) or "").strip()
        try:
            return float(text) if text else 0.0
        except ValueError:
            raise DataError(path.name, raw.get("id", ""), name, "a number", text) from None

    def text(name: str) -> str:
        return (raw.get(name) or "").strip()

    return MemoryRow(
        id=text("id"),
        model_id=text("model_id"),
        format_id=text("format_id"),
        format_bpw=number("format_bpw"),
        engine_id=text("engine_id"),
        what=text("what"),
        scope=text("scope"),
        place=text("place"),
        kv_layout=text("kv_layout"),
        device_id=text("device_id"),
        n_devices=int(number("n_devices")),
        tp=int(number("tp")),
        context_tokens=int(number("context_tokens")),
        kv_pool_tokens=int(number("kv_pool_tokens")),
        concurrency=int(number("concurrency")),
        kv_format=text("kv_format"),
        n_ubatch=int(number("n_ubatch")),
        max_num_batched_tokens=int(number("max_num_batched_tokens")),
        flash_attention=bool(number("flash_attention")) if text("flash_attention") else None,
        amb_mib=int(number("amb_mib")) if text("amb_mib") else None,
        mla_mode=int(number("mla_mode")) if text("mla_mode") else None,
        gpu_memory_utilization=number("gpu_memory_utilization"),
        device_visible_gib=number("device_visible_gib"),
        notes=text("notes"),
        value_bytes=number("value_bytes"),
        source=text("source"),
        source_ref=text("source_ref"),
    )
