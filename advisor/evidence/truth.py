"""Measured speeds: the rows of `data/truth/throughput.csv`, resolved against the catalogue."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from advisor.catalog import Catalog
from advisor.catalog.errors import DataError, FathomError, InputError
from advisor.catalog.files import DataFile, read_yaml
from advisor.catalog.paths import DATA_DIR
from advisor.sizing.cache import KV_FORMATS, cache_rule, default_kv_format
from advisor.sizing.columns import Hardware, ModelKey, Runtime

__all__ = [
    "OWN_PROBES_FILE", "THROUGHPUT_FILE", "Dataset", "History", "TruthRow", "Unpredicted", "history",
    "read_throughput",
]  # fmt: skip

THROUGHPUT_FILE = DATA_DIR / "truth" / "throughput.csv"
OWN_PROBES_FILE = THROUGHPUT_FILE.with_name("own_probes.csv")  # no fit sees it
OFFLOAD_WORDS = ("none", "cpu_only", "experts_cpu", "experts_split", "layers_split")
LOAD_MODES = ("single", "batch", "closed_loop", "burst", "open_loop", "offline_max", "server_slo")
METRICS = ("decode_tok_s", "prefill_tok_s", "output_tok_s", "total_tok_s", "ttft_ms", "tpot_ms")
REQUIRED = ("id", "group", "model_id", "format_id", "engine_id", "engine_backend", "n_devices", "metric", "value")


@dataclass(frozen=True, slots=True)
class TruthRow:
    """One measurement. None: not stated by the source. `value` is tokens per second or milliseconds."""

    id: str
    group: str
    device_class: str
    model_class: str
    metric: str
    value: float
    key: ModelKey
    runtime: Runtime
    hardware: Hardware
    n_devices: int
    offload: str
    load_mode: str
    dataset: str
    host_path: str
    year: float
    mla_stated: bool
    numbers: Mapping[str, float | None]
    source: str

    def number(self, name: str) -> float | None:
        return self.numbers.get(name)

    @property
    def device_key(self) -> str:
        """What must be held out together when cross-validating by device."""
        return self.hardware.device.id if self.hardware.device else self.hardware.host.id if self.hardware.host else ""


@dataclass(frozen=True, slots=True)
class Unpredicted:
    """A row that cannot be predicted, and why."""

    id: str
    metric: str
    value: float
    device_class: str
    model_class: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dataset:
    input_tokens: float
    output_tokens: float | None


@dataclass(frozen=True, slots=True)
class History:
    """Facts that only matter for old measurements: request lengths, and when engines learned the latent cache."""

    datasets: Mapping[str, Dataset]
    latent_since: tuple[tuple[str, tuple[str, ...], float], ...]

    def expands(self, row: TruthRow) -> bool:
        """The engine of this row kept full keys and values of MLA, as far as its date and flags tell."""
        for engine, backends, year in self.latent_since:
            if row.runtime.engine.id == engine and (not backends or row.runtime.backend in backends):
                return row.year < year and not row.mla_stated and row.offload == "none"
        return row.runtime.engine.expands_mla


def read_throughput(path: Path, catalog: Catalog) -> tuple[list[TruthRow], list[Unpredicted]]:
    """Rows in file order, and the rows whose ids are not in the catalogue. Raises DataError for a broken file."""
    rows: list[TruthRow] = []
    missing: list[Unpredicted] = []
    for raw in _raw_rows(path):
        try:
            rows.append(_row(path, raw, catalog))
        except DataError:
            raise
        except FathomError as problem:
            value = _number(path, raw, "value") or 0.0
            missing.append(
                Unpredicted(raw["id"], raw["metric"], value, raw["device_class"], raw["model_class"], str(problem))
            )
    return rows, missing


@lru_cache(maxsize=2)
def history(path: Path = DATA_DIR / "truth" / "datasets.yaml") -> History:
    """The facts in `datasets.yaml`."""
    raw: Any = read_yaml(DataFile(path, path.name, True))
    return History(
        datasets={d["id"]: Dataset(float(d["input_tokens"]), d.get("output_tokens")) for d in raw["datasets"]},
        latent_since=tuple(
            (item["engine"], tuple(item["backends"]), float(item["year"])) for item in raw["latent_cache_since"]
        ),
    )


def _raw_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(path.name, "", "header", f"the columns {', '.join(missing)}")
            return [{k: v or "" for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(path.name, "", "", "a readable CSV file", problem) from None


def _number(path: Path, raw: Mapping[str, str], name: str) -> float | None:
    text = raw.get(name, "")
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        raise DataError(path.name, raw.get("id", "?"), name, "a number", text) from None


_NUMBERS = [
    "tp",
    "pp",
    "ep",
    "dp_attention",
    "gpu_expert_layers",
    "gpu_weights_gib",
    "input_tokens",
    "output_tokens",
    "depth",
    "ubatch",
    "flash_attention",
    "threads",
    "concurrency",
    "n_prompts",
    "request_rate",
    "max_num_seqs",
]


def _row(path: Path, raw: Mapping[str, str], catalog: Catalog) -> TruthRow:
    if raw["metric"] not in METRICS:
        raise DataError(path.name, raw["id"], "metric", f"one of {', '.join(METRICS)}", raw["metric"])
    _known(raw, "offload", OFFLOAD_WORDS)
    _known(raw, "load_mode", LOAD_MODES)
    numbers = {name: _number(path, raw, name) for name in _NUMBERS}
    variant = catalog.variant(raw["model_id"])
    fmt = catalog.format(raw["format_id"])
    bits = _number(path, raw, "format_bpw")
    if bits is not None and fmt.family == "gguf-mix":
        fmt = replace(fmt, whole_model_bpw=bits)
    engine = catalog.engine(raw["engine_id"])
    kv = raw.get("kv_format", "") or _default_kv(variant.architecture, fmt.family, fmt.kv_format, engine.id)
    device = catalog.device(raw["device_id"]) if raw["device_id"] else None
    host = catalog.host(raw["host_id"]) if raw["host_id"] else None
    if device is None and host is None:
        raise InputError("device_id, host_id", "the id of a device or of a host", "neither")
    cache_rule(variant.architecture, kv)  # raises for a cache format that is not known
    on_host = raw.get("offload", "") == "cpu_only" and host is not None
    return TruthRow(
        id=raw["id"],
        group=raw["group"],
        device_class=raw["device_class"],
        model_class=raw["model_class"],
        metric=raw["metric"],
        value=_number(path, raw, "value") or 0.0,
        key=ModelKey(variant, fmt, kv),
        runtime=Runtime(engine, _backend(raw)),
        hardware=Hardware(None if on_host else device, host),
        n_devices=max(int(_number(path, raw, "n_devices") or 0), 1),
        offload=raw.get("offload", "") or "none",
        load_mode=raw.get("load_mode", "") or "single",
        dataset=raw.get("dataset", ""),
        host_path=raw.get("prefill_path", ""),
        year=_year(raw.get("date", "")),
        mla_stated=bool(raw.get("mla_mode")) or "FlashMLA" in raw.get("notes", ""),
        numbers=numbers,
        source=raw.get("source", ""),
    )


def _known(raw: Mapping[str, str], name: str, words: Sequence[str]) -> None:
    text = raw.get(name, "")
    if text and text not in words:
        raise InputError(name, f"one of {', '.join(words)}", text)


def _backend(raw: Mapping[str, str]) -> str:
    """The accelerator's back end of a hybrid run; the host part is in `offload`."""
    if raw.get("offload") == "cpu_only":
        return "cpu"
    return raw["engine_backend"].split("+")[0] or "cuda"


def _default_kv(architecture: Any, family: str, format_kv: str, engine_id: str) -> str:
    """TensorRT-LLM keeps an 8-bit cache with FP8 and NVFP4 checkpoints; others keep the model's type."""
    own = default_kv_format(architecture)
    if own != "bf16":
        return own
    if engine_id == "trtllm" and family in ("fp8", "fp4"):
        return "fp8"
    return format_kv if format_kv in KV_FORMATS and engine_id == "trtllm" else "bf16"


def _year(date: str) -> float:
    """Decimal year of "2025-11-02", "2025-11", "2025" or "2025-04/07": the middle of what is known."""
    found = re.match(r"(\d{4})(?:-(\d{2}))?", date)
    if not found:
        return 2025.5
    month = int(found[2]) if found[2] and int(found[2]) <= 12 else None
    return int(found[1]) + ((month - 0.5) / 12 if month else 0.5)
