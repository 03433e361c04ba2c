"""Bytes of a model's weights in a format, by tensor role. Integers, equal to published files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from advisor.catalog.formats import Format, StorageType, TensorRole
from advisor.catalog.frozen import FrozenDict
from advisor.catalog.records import Architecture, AttentionKind
from advisor.sizing.gguf import MlaLayout, gguf_bytes
from advisor.sizing.tensors import kept_outside_total, main_tensors, mtp_copies, mtp_tensors
from advisor.sizing.tensors_common import Tensor

__all__ = ["TensorBytes", "Weights", "storage_of", "total_params", "weights"]

_EXPERTS = (TensorRole.EXPERT_UP, TensorRole.EXPERT_DOWN)


@dataclass(frozen=True, slots=True)
class TensorBytes:
    """A tensor and the bytes of all its matrices."""

    tensor: Tensor
    bytes: int
    storage: str  # name of the storage type, or of the GGUF mix


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of one model in one format."""

    tensors: tuple[TensorBytes, ...]
    by_role: Mapping[TensorRole, int]
    total_bytes: int
    total_params: int

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.total_bytes / self.total_params


def weights(
    a: Architecture,
    f: Format,
    *,
    include_mtp: bool = False,
    mtp_copies_stored: bool = False,
    mla_layout: MlaLayout = MlaLayout.SPLIT,
    imatrix: bool | None = None,
) -> Weights:
    """Bytes tensor by tensor. `mtp_copies_stored`: count the second embedding and head of V3's files on disk.

    `imatrix`: quantised with an importance matrix; None: as usual, which is only below 4 bit in the IQ types.
    """
    if imatrix is None:
        imatrix = f.gguf is not None and f.gguf.base.id.startswith(("iq1", "iq2", "iq3"))
    return _weights(a, f, include_mtp, mtp_copies_stored, mla_layout, imatrix)


def total_params(a: Architecture, *, include_mtp: bool = False) -> int:
    """Parameters of the main model, and of the module that drafts tokens if asked for."""
    tensors = main_tensors(a) + (mtp_tensors(a) if include_mtp else ())
    return sum(tensor.params for tensor in tensors if not kept_outside_total(tensor))


def storage_of(a: Architecture, f: Format, role: TensorRole) -> StorageType:
    """Storage type of a role in a format that is not GGUF."""
    kind = f.storage[role]
    for group in _groups(a):
        kind = f.overrides.get(group, {}).get(role, kind)
    return kind


@lru_cache(maxsize=4096)
def _weights(a: Architecture, f: Format, mtp: bool, copies: bool, layout: MlaLayout, imatrix: bool) -> Weights:
    tensors = main_tensors(a)
    if mtp:
        tensors += mtp_tensors(a)
    if copies:
        tensors += mtp_copies(a)
    if f.gguf is None:
        rows = [TensorBytes(t, _plain_bytes(a, f, t), storage_of(a, f, t.role).id) for t in tensors]
    else:
        rows = [TensorBytes(t, gguf_bytes(a, f.gguf, t, layout=layout, imatrix=imatrix), f.id) for t in tensors]
    params = sum(t.params for t in tensors if not kept_outside_total(t))
    if f.whole_model_bpw is not None:
        rows = _to_whole_model(rows, round(f.whole_model_bpw * params / 8))
    roles: dict[TensorRole, int] = {}
    for row in rows:
        roles[row.tensor.role] = roles.get(row.tensor.role, 0) + row.bytes
    return Weights(tuple(rows), FrozenDict(roles), sum(roles.values()), params)


def _plain_bytes(a: Architecture, f: Format, t: Tensor) -> int:
    return storage_of(a, f, t.role).matrix_bytes(t.rows, t.cols) * t.matrices


def _groups(a: Architecture) -> tuple[str, ...]:
    out = ["moe"] if a.is_moe else []
    if a.attention in (AttentionKind.MLA, AttentionKind.MLA_DSA):
        out.append("mla")
    if a.attention in (AttentionKind.CSA_HCA, AttentionKind.CSA_SHARED):
        out.append("v4")
    return tuple(out)


def _to_whole_model(rows: list[TensorBytes], wanted: int) -> list[TensorBytes]:
    """A mix known by its size only: routed experts (or all matrices of a dense model) take what the rest leaves."""
    free = [row.tensor.role in _EXPERTS for row in rows]
    fixed = sum(row.bytes for row, open_ in zip(rows, free, strict=True) if not open_)
    if not any(free) or fixed >= wanted:
        free, fixed = [True] * len(rows), 0
    scale = (wanted - fixed) / sum(row.bytes for row, open_ in zip(rows, free, strict=True) if open_)
    out = [
        TensorBytes(row.tensor, int(row.bytes * scale) if open_ else row.bytes, row.storage)
        for row, open_ in zip(rows, free, strict=True)
    ]
    last = out[-1]
    rest = wanted - sum(row.bytes for row in out)
    return [*out[:-1], TensorBytes(last.tensor, last.bytes + rest, last.storage)]
