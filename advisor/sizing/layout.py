"""How weights and cache spread over the devices of a replica, and which layouts are valid.

Tensor parallelism splits heads and feed-forward columns; latent down-projections, norms, routers, indexers and
hyper-connections are held by every rank. Keys and values of GQA split at most n_kv_heads ways, the MLA latent not at
all, unless attention is data-parallel. Pipeline stages hold whole layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.formats import Format, TensorRole
from advisor.catalog.records import Architecture, AttentionKind, Engine
from advisor.sizing.cache import Number
from advisor.sizing.identity_cache import cached_by_identity
from advisor.sizing.plan import Layout, Offload
from advisor.sizing.profile import REPLICATED_ROLES, Group, group_of
from advisor.sizing.weights import weights

__all__ = [
    "Shards",
    "WeightShares",
    "device_weights",
    "gather_shares",
    "kv_share",
    "stage_layers",
    "valid_layouts",
    "weight_shares",
    "why_invalid",
]


@dataclass(frozen=True, slots=True)
class WeightShares:
    """Bytes of one model and format by how they split. Numbers, or arrays of them when gathered."""

    n_layers: Number
    n_moe_layers: Number
    n_kv_heads: Number  # 1 where the cache cannot be split
    attention_split: Number  # by tp
    attention_kv: Number  # keys and values: by tp, at most n_kv_heads ways
    attention_replicated: Number
    dense_ffn: Number  # by tp; dense layers
    shared: Number  # by tp; MoE layers, with router (replicated, small)
    router: Number
    experts: Number  # by tp or ep; MoE layers
    embedding: Number  # by tp
    head: Number
    other: Number  # Engram tables, drafter: by tp
    other_replicated: Number  # hyper-connections, vision tower


@dataclass(frozen=True, slots=True)
class Shards:
    """Layout as numbers or arrays."""

    tp: Number
    pp: Number
    dp_attention: Number
    experts_on_cpu: Number  # 1 for EXPERTS_CPU
    cpu_only: Number
    gpu_expert_layers: Number
    gpu_layers: Number  # LAYERS_SPLIT; inf: all
    offloads: bool  # something of at least one row is in host memory

    @classmethod
    def of_one(cls) -> Shards:
        """One device."""
        return cls.of(Layout())

    @classmethod
    def of(cls, layout: Layout) -> Shards:
        return cls(
            tp=float(layout.tp),
            pp=float(layout.pp),
            dp_attention=float(layout.dp_attention),
            experts_on_cpu=float(layout.offload is Offload.EXPERTS_CPU),
            cpu_only=float(layout.offload is Offload.CPU_ONLY),
            gpu_expert_layers=float(layout.gpu_expert_layers),
            gpu_layers=float(layout.gpu_layers) if layout.offload is Offload.LAYERS_SPLIT else np.inf,
            offloads=layout.offload is not Offload.NONE,
        )


@lru_cache(maxsize=4096)
def weight_shares(a: Architecture, f: Format, *, include_mtp: bool = False) -> WeightShares:
    """Sums of the tensors by how they split; they add up to the file."""
    sums: dict[str, int] = {}
    for row in weights(a, f, include_mtp=include_mtp).tensors:
        name = _share_of(group_of(a, row.tensor), row.tensor.role)
        sums[name] = sums.get(name, 0) + row.bytes
    named = {f.name: float(sums.get(f.name, 0)) for f in fields(WeightShares)}
    latent = a.attention is not AttentionKind.GQA
    named |= {
        "n_layers": float(a.num_layers),
        "n_moe_layers": float(a.n_moe_layers),
        "n_kv_heads": 1.0 if latent else float(a.n_kv_heads),
    }
    return WeightShares(**named)


def gather_shares(shares: Sequence[WeightShares], index: NDArray[np.intp]) -> WeightShares:
    """Fields as arrays of shape index.shape."""
    table = _table(shares) if isinstance(shares, tuple) else np.array([_numbers(s) for s in shares]).T
    return WeightShares(*table.take(index, axis=1))


@cached_by_identity(64)
def _table(shares: tuple[WeightShares, ...]) -> NDArray[np.float64]:
    return np.array([_numbers(s) for s in shares]).T


@cached_by_identity(8192)
def _numbers(s: WeightShares) -> tuple[float, ...]:
    return tuple(float(getattr(s, f.name)) for f in fields(WeightShares))


def stage_layers(n_layers: Number, pp: Number) -> Number:
    """Layers of the fullest pipeline stage."""
    whole: Number = np.ceil(n_layers / pp)
    return whole


def kv_share(n_kv_heads: Number, attention_tp: Number) -> Number:
    """Part of a sequence's cache that one rank of its tensor-parallel group holds (heads do not divide)."""
    share: Number = np.ceil(n_kv_heads / attention_tp) / n_kv_heads
    return share


def device_weights(w: WeightShares, s: Shards) -> tuple[Number, Number]:
    """(bytes on the fullest device, bytes in host memory) of one replica."""
    n = stage_layers(w.n_layers, s.pp)
    sparse = np.minimum(n, w.n_moe_layers)
    n_dense = np.maximum(w.n_layers - w.n_moe_layers, 1)
    attention_tp = s.tp / s.dp_attention
    layers = n / w.n_layers
    moe = sparse / np.maximum(w.n_moe_layers, 1)
    attention = w.attention_split / attention_tp + w.attention_kv * kv_share(w.n_kv_heads, attention_tp)
    stack = layers * (attention + w.attention_replicated + w.other_replicated)
    stack = stack + (n - sparse) / n_dense * w.dense_ffn / s.tp + moe * (w.shared / s.tp + w.router)
    stack = stack + w.other / (s.tp * s.pp)
    experts = moe * w.experts / s.tp
    ends = np.where(s.pp > 1, np.maximum(w.embedding, w.head), w.embedding + w.head) / attention_tp
    if not s.offloads:
        return stack + experts + ends, 0.0
    return _offloaded(w, s, stack, experts, ends)


def _offloaded(w: WeightShares, s: Shards, stack: Number, experts: Number, ends: Number) -> tuple[Number, Number]:
    """The same where experts, layers or everything stay in host memory."""
    kept = np.where(s.experts_on_cpu > 0, np.minimum(s.gpu_expert_layers / np.maximum(w.n_moe_layers, 1), 1.0), 1.0)
    ends = np.where(s.experts_on_cpu > 0, w.head * s.dp_attention / s.tp, ends)
    on_gpu = np.minimum(s.gpu_layers / w.n_layers, 1.0)
    device = (stack + experts * kept) * on_gpu + np.where(on_gpu < 1, 0.0, ends)
    total = _total(w)
    host = np.where(s.experts_on_cpu > 0, w.experts * (1 - kept) + w.embedding, 0.0)
    host = np.where(on_gpu < 1, total - device, host)
    return np.where(s.cpu_only > 0, 0.0, device), np.where(s.cpu_only > 0, total, host)


def why_invalid(a: Architecture, layout: Layout, engine: Engine | None = None) -> str | None:
    """Key of the reason in the texts (sizing.layout.*) why a layout cannot be, or None."""
    if layout.pp > a.num_layers:
        return "pp_over_layers"
    if layout.tp % layout.dp_attention:
        return "dp_not_in_tp"
    if a.n_heads % (layout.tp // layout.dp_attention):
        return "tp_not_in_heads"
    if layout.ep > 1 and (not a.is_moe or a.n_routed_experts % layout.ep):
        return "ep_not_in_experts"
    return None if engine is None else _engine_refuses(layout, engine)


def valid_layouts(a: Architecture, engine: Engine, devices: int, *, per_node: int = 8) -> Iterator[Layout]:
    """All ways to spread one replica over `devices` accelerators, tensor parallel at most within a node."""
    for tp in (t for t in _divisors(devices) if t <= per_node):
        pp = devices // tp
        for dp in (1, tp) if _shares_attention(a, engine, tp) else (1,):
            for ep in {1, tp} if a.is_moe and engine.expert_parallel else {1}:
                layout = Layout(tp=tp, pp=pp, ep=ep, dp_attention=dp)
                if why_invalid(a, layout, engine) is None:
                    yield layout


def _engine_refuses(layout: Layout, engine: Engine) -> str | None:
    wanted = (
        (layout.tp > 1 and not engine.tensor_parallel, "engine_no_tp"),
        (layout.pp > 1 and not engine.pipeline_parallel, "engine_no_pp"),
        (layout.ep > 1 and not engine.expert_parallel, "engine_no_ep"),
        (layout.dp_attention > 1 and not engine.dp_attention, "engine_no_dp_attention"),
        (layout.offload is not Offload.NONE and not engine.cpu_offload, "engine_no_offload"),
    )
    return next((reason for refused, reason in wanted if refused), None)


def _shares_attention(a: Architecture, engine: Engine, tp: int) -> bool:
    return engine.dp_attention and tp > 1 and a.attention is not AttentionKind.GQA


def _share_of(group: Group, role: TensorRole) -> str:
    replicated = role in REPLICATED_ROLES
    match group:
        case Group.ATTENTION:
            if replicated:
                return "attention_replicated"
            return "attention_kv" if role in (TensorRole.ATTN_K, TensorRole.ATTN_V) else "attention_split"
        case Group.DENSE_FFN:
            return "dense_ffn"
        case Group.SHARED_EXPERT:
            return "shared"
        case Group.ROUTER:
            return "router"
        case Group.ROUTED_EXPERT:
            return "experts"
        case Group.EMBEDDING:
            return "embedding"
        case Group.HEAD:
            return "head"
        case _:
            return "other_replicated" if replicated else "other"


_SIZES = tuple(f.name for f in fields(WeightShares) if not f.name.startswith("n_"))


def _total(w: WeightShares) -> Number:
    total: Number = 0.0
    for name in _SIZES:
        total = total + getattr(w, name)
    return total


def _divisors(n: int) -> list[int]:
    return [i for i in range(1, n + 1) if n % i == 0]
