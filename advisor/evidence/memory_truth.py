"""Predicts every row of memory.csv from its ids: file sizes, loaded weights, caches, pools, buffers, peaks.

Each row is split into exact bytes (weights, cache) and a workspace whose coefficients are fitted
(`advisor.evidence.fit_memory`). A row that cannot be predicted is named with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from advisor.catalog import Catalog
from advisor.catalog.errors import FathomError
from advisor.catalog.formats import Format, TensorRole
from advisor.catalog.quantity import Basis
from advisor.catalog.records import Architecture, AttentionKind, Variant
from advisor.evidence.memory_rows import MemoryRow, read_memory_rows, workspace_of
from advisor.sizing.cache import MlaCache, Number, cache_bytes, cache_rule, default_kv_format
from advisor.sizing.gguf import MlaLayout
from advisor.sizing.layout import Shards, device_weights, weight_shares
from advisor.sizing.memory import load_memory_model, usable_bytes, workspace_features, workspace_kind
from advisor.sizing.tensors import mtp_tensors
from advisor.sizing.weights import total_params, weights

__all__ = ["MemoryParts", "MemoryPrediction", "predict_memory_rows", "row_parts", "whole_gguf_file"]

_LATENT = {"latent": MlaCache.LATENT, "latent+v": MlaCache.LATENT_AND_V, "expanded": MlaCache.EXPANDED}
_MIX_WITHOUT_RECIPE = "gguf-mix"
UTILISATION = 0.9  # vLLM's default when the reports were written
ASSUMED_CONTEXT = 4096  # tokens in the cache where a peak was measured at a context that its source does not state
UNSTATED_CONTEXT = 1.5  # such a peak is known within this factor at best
UBATCH = 512  # tokens of one llama.cpp pass unless told otherwise
CELLS = 256  # llama.cpp rounds its cache up to this many tokens


@dataclass(frozen=True, slots=True)
class MemoryPrediction:
    """One row of the truth beside its prediction; `predicted_bytes` None: `unpredicted_reason` says why."""

    id: str
    what: str
    measured_bytes: float
    predicted_bytes: float | None
    low: float | None
    high: float | None
    basis: str
    unpredicted_reason: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class MemoryParts:
    """`exact` bytes plus a workspace of `kind` with `features`; `group` names the interval."""

    exact: float
    kind: str
    features: Mapping[str, Number]
    group: str


def predict_memory_rows(path: Path, catalog: Catalog) -> list[MemoryPrediction]:
    """A prediction for every row of a file with the columns of memory.csv. Raises DataError for a broken file."""
    return [_predict(row, catalog) for row in read_memory_rows(path)]


def row_parts(row: MemoryRow, catalog: Catalog) -> MemoryParts:
    """What a row adds up to. Raises FathomError for an unknown id or word, ValueError with another reason."""
    match row.what:
        case "weights_file_bytes" | "weights_bytes":
            return _weights(row, catalog)
        case "kv_bytes_per_token" | "kv_cache_bytes":
            return _cache(row, catalog)
        case "kv_pool_bytes":
            return _pool(row, catalog)
        case "compute_buffer_bytes" | "peak_bytes":
            return _buffers(row, catalog)
        case _:
            raise ValueError(f"unknown quantity '{row.what}'")


def _predict(row: MemoryRow, catalog: Catalog) -> MemoryPrediction:
    source = ", ".join(text for text in (row.source, row.source_ref) if text)
    try:
        parts = row_parts(row, catalog)
    except (FathomError, ValueError) as problem:
        return MemoryPrediction(row.id, row.what, row.value_bytes, None, None, None, "", str(problem), source)
    model = load_memory_model()
    value = parts.exact
    if parts.kind:
        value += float(model.coefficients_of(parts.kind).activation_bytes(parts.features))
    low, high = model.interval_of(parts.group)
    if row.what == "peak_bytes" and not row.context_tokens:
        basis, low, high = Basis.EXTRAPOLATED, low / UNSTATED_CONTEXT, high * UNSTATED_CONTEXT
    else:
        basis = Basis.EXACT if parts.group in ("weights", "cache") else Basis.ESTIMATED
    return MemoryPrediction(
        row.id, row.what, row.value_bytes, value, value * low, value * high, str(basis), source=source
    )


def _weights(row: MemoryRow, catalog: Catalog) -> MemoryParts:
    variant, f = catalog.variant(row.model_id), _format(row, catalog)
    a = variant.architecture
    split = _ranks(row) if row.scope == "gpu" else 1
    if split > 1:
        device, _ = device_weights(weight_shares(a, f), replace(Shards.of_one(), tp=float(split)))
        return MemoryParts(float(device), "", {}, "weights_on_device")
    with_mtp = "MTP" in row.notes and bool(mtp_tensors(a)) and "includ" in row.notes
    w = weights(
        a, f, include_mtp=with_mtp, mtp_copies_stored=with_mtp, mla_layout=_mla_layout(row), imatrix=_imatrix(row)
    )
    exact = float(w.total_bytes + _tied_head(row, variant, f) + _vision(row, variant) + _padding(row, a, f))
    return MemoryParts(exact + _header(row, variant), "", {}, _weights_group(f))


def _weights_group(f: Format) -> str:
    """Whose interval holds: apps' downloads of unstated layout; mixes known by label; mixes known by size; exact."""
    if f.id.startswith("mnn"):
        return "weights_app"
    if f.id.startswith("gguf-ud"):
        return "weights_label"
    return "weights_mix" if f.whole_model_bpw is not None else "weights"


def _cache(row: MemoryRow, catalog: Catalog) -> MemoryParts:
    a = catalog.variant(row.model_id).architecture
    fmt = row.kv_format or ("f16" if "llama" in row.engine_id else default_kv_format(a))
    rule = cache_rule(a, fmt, mla=_LATENT.get(row.kv_layout, MlaCache.LATENT))
    share = min(_ranks(row), float(rule.shards)) if row.scope == "gpu" and "llama" not in row.engine_id else 1.0
    if row.what == "kv_bytes_per_token":  # of a token inside the window, where layers have one
        alone = a.attention is AttentionKind.MLA_DSA and row.kv_layout != "latent+indexer"
        scanned = float(rule.scanned_token_bytes) if alone else 0.0
        window = float(rule.window_token_bytes) if a.attention is AttentionKind.GQA else 0.0
        return MemoryParts((float(rule.token_bytes) + window - scanned) / share, "", {}, "cache")
    if not row.context_tokens:
        raise ValueError("the tokens in the cache are not stated")
    context = row.context_tokens
    if "llama" in row.engine_id:
        context = -(-context // CELLS) * CELLS
        kept = -(-int(rule.window_tokens + (row.n_ubatch or UBATCH)) // CELLS) * CELLS
        rule = replace(rule, window_tokens=min(kept, context) if rule.window_tokens else 0)
    sequences = max(row.concurrency, 1) if "llama" not in row.engine_id else 1
    return MemoryParts(float(cache_bytes(rule, context)) * sequences / share, "", {}, "cache")


def _pool(row: MemoryRow, catalog: Catalog) -> MemoryParts:
    """The pool's tokens where they are stated; else what the budget leaves beside weights and workspace."""
    variant = catalog.variant(row.model_id)
    a = variant.architecture
    rule = cache_rule(a, row.kv_format or default_kv_format(a))
    tp = _ranks(row)
    if row.kv_pool_tokens:
        per_token = float(rule.token_bytes + rule.window_token_bytes) / min(tp, float(rule.shards))
        return MemoryParts(per_token * row.kv_pool_tokens, "", {}, "pool")
    visible = _visible_bytes(row, catalog)
    f = _format(row, catalog)
    model = load_memory_model()
    weights_bytes, _ = device_weights(weight_shares(a, f), replace(Shards.of_one(), tp=float(tp)))
    kind = workspace_kind(row.engine_id)
    features = workspace_features(kind, workspace_of(row, catalog))
    budget = visible * (row.gpu_memory_utilization or UTILISATION)
    used = float(weights_bytes) + float(model.coefficients_of(kind).activation_bytes(features)) + model.non_torch_bytes
    used += model.collective_bytes if tp > 1 else 0.0
    if used >= budget:
        need, have = used / 2**30, budget / 2**30
        raise ValueError(f"does not fit: {need:.1f} GiB needed beside the pool, {have:.1f} GiB allowed")
    return MemoryParts(budget - used, "", {}, "pool")


def _ranks(row: MemoryRow) -> int:
    """Devices that share one copy: tensor parallelism where it is stated, else all of them."""
    return max(row.tp or row.n_devices, 1)


def _visible_bytes(row: MemoryRow, catalog: Catalog) -> float:
    if row.device_visible_gib:
        return row.device_visible_gib * 2**30
    if not row.device_id:
        raise ValueError("neither the pool's tokens nor the device is stated")
    return float(usable_bytes(catalog.device(row.device_id)))


def _buffers(row: MemoryRow, catalog: Catalog) -> MemoryParts:
    kind = workspace_kind(row.engine_id)
    features = workspace_features(kind, workspace_of(row, catalog))
    if row.what == "compute_buffer_bytes":
        return MemoryParts(0.0, kind, features, f"buffer_{kind}")
    variant, f = catalog.variant(row.model_id), _format(row, catalog)
    a = variant.architecture
    mla = MlaCache.EXPANDED if kind == "npu" else MlaCache.LATENT
    rule = cache_rule(a, row.kv_format or "f16", mla=mla)
    context = row.context_tokens or ASSUMED_CONTEXT
    held = float(cache_bytes(rule, context)) * max(row.concurrency, 1)
    if row.scope == "gpu":
        held_as = catalog.format(variant.native_format) if row.engine_id == "ktransformers" else f
        shards = replace(Shards.of_one(), experts_on_cpu=1.0, offloads=True)
        device, _ = device_weights(weight_shares(a, held_as), shards)
        return MemoryParts(float(device) + held, kind, features, f"peak_{kind}")
    w = weights(a, f)
    exact = w.total_bytes + _tied_head(row, variant, f) - _unread_embedding(kind, variant, f)
    return MemoryParts(exact + held, kind, features, f"peak_{kind}")


def _format(row: MemoryRow, catalog: Catalog) -> Format:
    if not row.format_id:
        raise ValueError("the weight format is not stated")
    f = catalog.format(row.format_id)
    by_size_only = f.id == _MIX_WITHOUT_RECIPE or f.whole_model_bpw is not None
    bits = row.format_bpw or (_stated_bits(row, catalog) if by_size_only else 0.0)
    if bits:
        return replace(f, whole_model_bpw=bits)
    if f.id == _MIX_WITHOUT_RECIPE:
        raise ValueError("a custom mix of tensor types whose recipe and size are not stated")
    if f.gguf is not None and "near-pure" in row.notes:
        return replace(f, gguf=replace(f.gguf, pure=True, token_embd=None, output=None), whole_model_bpw=None)
    return f


def _stated_bits(row: MemoryRow, catalog: Catalog) -> float:
    """Bits per weight that the source states of a custom mix, which its label does not determine; 0: none."""
    bits = re.search(r"([\d.]+) bits per weight", row.notes)
    stored = re.search(r"params line ([\d.]+) B", row.notes)
    if bits is None:
        return 0.0
    params = total_params(catalog.variant(row.model_id).architecture)
    return float(bits[1]) * (float(stored[1]) * 1e9 / params if stored else 1.0)


def _mla_layout(row: MemoryRow) -> MlaLayout:
    if "pre-2025-04" in row.notes:
        return MlaLayout.JOINT
    return MlaLayout.BOTH if "672.050" in row.notes else MlaLayout.SPLIT


def _imatrix(row: MemoryRow) -> bool | None:
    return True if "imatrix" in row.notes and row.format_id.startswith("gguf-iq") else None


def _tied_head(row: MemoryRow, variant: Variant, f: Format) -> int:
    """Transformers keeps a tied head apart from the embedding when it loads FP8 checkpoints."""
    a = variant.architecture
    apart = row.engine_id == "transformers" and f.family == "fp8" and a.tie_word_embeddings
    return 2 * a.vocab_size * a.hidden_size if apart else 0


def _unread_embedding(kind: str, variant: Variant, f: Format) -> int:
    """NPU runtimes map the embedding from the file: only rows in use are resident. A tied table is the head, too."""
    a = variant.architecture
    if kind != "npu":
        return 0
    table = 2 * a.vocab_size * a.hidden_size
    if not a.tie_word_embeddings:
        return table
    return table - round(table / 2 * (0.5 if f.family.startswith("int4") else 1.0))


def _header(row: MemoryRow, variant: Variant) -> float:
    """Whole GGUF files carry the tokenizer; sums of tensors do not."""
    if not whole_gguf_file(row):
        return 0.0
    return load_memory_model().header_bytes_per_token * variant.architecture.vocab_size


def whole_gguf_file(row: MemoryRow) -> bool:
    """True where the source gives the size of a file, not of its tensors."""
    return row.what == "weights_file_bytes" and row.notes.startswith("GGUF file")


def _vision(row: MemoryRow, variant: Variant) -> int:
    """Checkpoints with a vision tower that the architecture leaves out: the published element total has it."""
    total = variant.published.get("hf_total_params", 0)
    if "vision tower" not in row.notes or not total:
        return 0
    return 2 * max(int(total) - total_params(variant.architecture), 0)


def _padding(row: MemoryRow, a: Architecture, f: Format) -> int:
    """Servers pad MXFP4 experts to multiples of 256 columns for their kernels."""
    width = a.moe_intermediate_size or 0
    if f.id != "mxfp4" or row.what != "weights_bytes" or not width:
        return 0
    experts = sum(weights(a, f).by_role.get(role, 0) for role in (TensorRole.EXPERT_UP, TensorRole.EXPERT_DOWN))
    return round(experts * (-(-width // 256) * 256 / width - 1))
