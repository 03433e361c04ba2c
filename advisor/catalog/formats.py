"""Weight formats: reads data/formats/ (storage types, tensor formats, GGUF mixes) and formats of a user's overlay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from advisor.catalog.errors import DataError
from advisor.catalog.format_records import Format, GgufMix, StorageType, TensorRole
from advisor.catalog.frozen import FrozenDict
from advisor.catalog.paths import DATA_DIR

__all__ = ["CONDITIONS", "LINEAR_ROLES", "Format", "GgufMix", "StorageType", "TensorRole", "load_formats"]

_LINEAR = """attn_q attn_k attn_v attn_o q_a q_b kv_a kv_b o_a o_b indexer linear_attention
ffn_up ffn_down shared_up shared_down expert_up expert_down"""
_CONDITIONS = """always more_bits first_8th first_16th first_2 first_4 middle gqa4 gqa4_strict no_imatrix not_8_experts
8_experts 8_experts_more_bits imatrix_first_8th no_imatrix_first_8th moe moe_first_8th dense
dense_more_bits uneven_more_bits"""
LINEAR_ROLES = frozenset(map(TensorRole, _LINEAR.split()))
CONDITIONS = frozenset(_CONDITIONS.split())
_GROUPS = ("moe", "mla", "v4")
M = TypeVar("M", bound=BaseModel)
C = TypeVar("C", list[Any], dict[str, Any])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Storage(_Strict):
    block: tuple[int, int]
    tile: tuple[int, int, float] = (1, 1, 0)
    tensor_bytes: int = 0


class _Common(_Strict):
    id: str
    bits: float = Field(gt=0)
    family: str
    name: str = ""
    compute: str = ""
    weight_only: bool = False
    kv_format: str = "bf16"
    offered: bool | None = None
    source: tuple[str, ...] = ()


class _TensorFormat(_Common):
    linear: str
    kept: str = "bf16"
    storage: dict[str, str] = {}
    when: dict[str, dict[str, str]] = {}


class _GgufFormat(_Common):
    base: str
    rules: dict[str, tuple[tuple[str, str], ...]] = {}
    token_embd: str | None = None
    output: str | None = None
    experts: str | None = None
    pure: bool = False
    bpw: float | None = None


def load_formats(data_dir: Path = DATA_DIR, overlay: Path | None = None) -> Mapping[str, Format]:
    """Formats by id. `overlay`/formats.yaml and `overlay`/formats/*.yaml, written like tensor.yaml, add or replace.

    Raises DataError naming file, record, field and expected value.
    """
    folder = data_dir / "formats"
    types = _storage_types(folder / "storage.yaml")
    out = {f.id: f for f in _records(folder / "tensor.yaml", _TensorFormat, _tensor_format, types)}
    out |= {f.id: f for f in _records(folder / "gguf.yaml", _GgufFormat, _gguf_format, types)}
    for path in _overlay_files(overlay):
        out |= {f.id: f for f in _records(path, _TensorFormat, _tensor_format, types)}
    return FrozenDict(out)


def _overlay_files(overlay: Path | None) -> list[Path]:
    if overlay is None:
        return []
    return [
        path for path in (overlay / "formats.yaml", *sorted((overlay / "formats").glob("*.yaml"))) if path.is_file()
    ]


def _storage_types(path: Path) -> dict[str, StorageType]:
    types = {}
    for name, raw in _yaml(path, dict).items():
        item = _parse(path, name, _Storage, raw)
        types[name] = StorageType(name, *item.block, item.tile[0], item.tile[1], item.tile[2], item.tensor_bytes)
    return types


def _records(path: Path, schema: type, build: object, types: Mapping[str, StorageType]) -> Iterable[Format]:
    assert callable(build)
    for raw in _yaml(path, list):
        name = str(raw.get("id", "")) if isinstance(raw, dict) else ""
        yield build(_parse(path, name, schema, raw), types, path)


def _tensor_format(item: _TensorFormat, types: Mapping[str, StorageType], path: Path) -> Format:
    def of(names: Mapping[str, str], field: str) -> FrozenDict[TensorRole, StorageType]:
        return FrozenDict(
            {_role(path, item.id, field, k): _type(path, item.id, field, v, types) for k, v in names.items()}
        )

    linear, kept = _type(path, item.id, "linear", item.linear, types), _type(path, item.id, "kept", item.kept, types)
    storage = {role: linear if role in LINEAR_ROLES else kept for role in TensorRole}
    storage[TensorRole.HASH_TABLE] = types["int64"]
    for group in item.when:
        if group not in _GROUPS:
            raise DataError(path.name, item.id, "when", f"one of {', '.join(_GROUPS)}", group)
    return Format(
        id=item.id,
        name=item.name or item.id,
        family=item.family,
        bits_per_weight=item.bits,
        compute_precision=item.compute or "bf16",
        weight_only=item.weight_only,
        storage=FrozenDict({**storage, **of(item.storage, "storage")}),
        overrides=FrozenDict({group: of(names, "when") for group, names in item.when.items()}),
        kv_format=item.kv_format,
        offered=item.offered is not False,
        source=item.source,
    )


def _gguf_format(item: _GgufFormat, types: Mapping[str, StorageType], path: Path) -> Format:
    def of(name: str | None, field: str) -> StorageType | None:
        return None if name is None else _type(path, item.id, field, name, types)

    for condition in (condition for rule in item.rules.values() for _, condition in rule):
        if condition not in CONDITIONS:
            raise DataError(
                path.name, item.id, "rules", f"a condition among {', '.join(sorted(CONDITIONS))}", condition
            )
    mix = GgufMix(
        base=_type(path, item.id, "base", item.base, types),
        rules=FrozenDict(
            {t: tuple((_type(path, item.id, "rules", n, types), c) for n, c in rule) for t, rule in item.rules.items()}
        ),
        token_embd=of(item.token_embd, "token_embd"),
        output=of(item.output, "output"),
        experts=of(item.experts, "experts"),
        pure=item.pure,
    )
    label = item.id.removeprefix("gguf-").upper()
    return Format(
        id=item.id,
        name=item.name or f"GGUF {label}",
        family=item.family,
        bits_per_weight=item.bits,
        compute_precision=item.compute or ("fp16" if item.family == "gguf-16" else "int8"),
        weight_only=item.family != "gguf-16",
        gguf=mix,
        whole_model_bpw=item.bpw,
        offered=item.bpw is None and not item.pure if item.offered is None else item.offered,
        kv_format="f16",
        source=item.source or ("ggml-org/llama.cpp src/llama-quant.cpp 007dbbf",),
    )


def _type(path: Path, record: str, field: str, name: str, types: Mapping[str, StorageType]) -> StorageType:
    if name not in types:
        raise DataError(path.name, record, field, "a storage type of storage.yaml", name)
    return types[name]


def _role(path: Path, record: str, field: str, name: str) -> TensorRole:
    try:
        return TensorRole(name)
    except ValueError:
        raise DataError(path.name, record, field, "a tensor role", name) from None


def _parse(path: Path, record: str, schema: type[M], raw: object) -> M:
    try:
        return schema.model_validate(raw)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(path.name, record, where, first["msg"], first.get("input")) from None


def _yaml(path: Path, kind: type[C]) -> C:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as problem:
        raise DataError(path.name, "", "", "valid YAML", problem) from None
    if not isinstance(content, kind):
        raise DataError(path.name, "", "", f"a {kind.__name__} of records")
    return content
