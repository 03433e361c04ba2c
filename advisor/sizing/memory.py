"""Memory beside weights and cache: activations, workspaces, driver context; and what of a device is usable.

The shape of each engine's workspace is physics (logits, sampler copies, one batch of hidden states, expanded latents);
its coefficients are fitted to published measurements by `advisor.evidence.fit_memory` and read from
data/calibration_memory.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from advisor.catalog.paths import DATA_DIR
from advisor.catalog.records import Architecture, AttentionKind, Device, DeviceClass, Engine, Host
from advisor.sizing.cache import Number

__all__ = [
    "MemoryCoefficients",
    "Workspace",
    "expanded_widths",
    "ffn_width",
    "host_usable_bytes",
    "load_memory_model",
    "overhead_bytes",
    "usable_bytes",
    "visible_keys",
    "workspace_features",
    "workspace_kind",
]


@dataclass(frozen=True, slots=True)
class Workspace:
    """What an engine's buffers depend on; numbers or arrays of one shape. Sizes are per device where tp splits them."""

    tokens: Number  # one forward pass: max_num_batched_tokens, ubatch or prefill chunk
    sequences: Number  # sampled at once while profiling
    context: Number  # tokens in the cache of one sequence
    vocab: Number
    hidden: Number
    ffn_width: Number  # widest feed-forward of a token on one device (experts per token x width for MoE)
    heads: Number
    expanded_key: Number = 0.0  # qk_nope + qk_rope of MLA; 0: no latent to expand
    expanded_value: Number = 0.0
    key_width: Number = 128.0
    flash: Number = 1.0  # 1: flash attention
    buffer_limit: Number = np.inf  # bytes that attention intermediates may take (-amb)
    on_cpu: Number = 0.0
    int4: Number = 0.0  # 1: 4-bit weights expanded on the fly
    devices: Number = 1.0


@dataclass(frozen=True, slots=True)
class MemoryCoefficients:
    """Bytes per unit of each feature, and the 90 % interval of the ratio measured / predicted."""

    bytes_per: Mapping[str, float]
    low: float
    high: float
    rows: int

    def activation_bytes(self, features: Mapping[str, Number]) -> Number:
        total: Number = 0.0
        for name, coefficient in self.bytes_per.items():
            if name in features:
                total = total + coefficient * features[name]
        return total


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Everything that is known about memory beside weights and cache."""

    engines: Mapping[str, str]
    defaults: Mapping[str, Mapping[str, Any]]
    coefficients: Mapping[str, MemoryCoefficients]
    visible: Mapping[str, Mapping[str, Any]]
    visible_share: Mapping[str, float]  # fitted medians by device class
    intervals: Mapping[str, tuple[float, float]]  # 90 % of measured / predicted, by kind of quantity
    header_bytes_per_token: float  # tokenizer inside a GGUF file, per vocabulary entry
    context_bytes: float
    non_torch_bytes: float  # of a vLLM process beside its profiled peak
    collective_bytes: float  # further bytes of each rank of a tensor-parallel group

    def coefficients_of(self, kind: str) -> MemoryCoefficients:
        """The fitted coefficients of a workspace model; some share those of another."""
        return self.coefficients[self.defaults[kind].get("coefficients", kind)]

    def interval_of(self, group: str) -> tuple[float, float]:
        """90 % of measured / predicted for a group such as `peak_torch`, else for its first word."""
        return self.intervals.get(group) or self.intervals[group.split("_")[0]]


@lru_cache(maxsize=4)
def load_memory_model(folder: Path = DATA_DIR) -> MemoryModel:
    """Defaults and fitted coefficients."""
    facts = _yaml(folder / "memory_models.yaml")
    fitted = _yaml(folder / "calibration_memory.yaml")
    return MemoryModel(
        engines=facts["engines"],
        defaults=facts["models"],
        coefficients={
            kind: MemoryCoefficients(item["bytes_per"], item["low"], item["high"], item["rows"])
            for kind, item in fitted["models"].items()
        },
        visible=facts["visible"],
        visible_share=fitted["visible_share"],
        intervals={name: (float(item["low"]), float(item["high"])) for name, item in fitted["intervals"].items()},
        header_bytes_per_token=float(fitted["header_bytes_per_token"]),
        context_bytes=float(facts["context_bytes"]),
        non_torch_bytes=float(fitted["non_torch_bytes"]),
        collective_bytes=float(fitted["collective_bytes"]),
    )


def workspace_kind(engine_id: str) -> str:
    """The workspace model of an engine; unknown engines behave like a server."""
    return load_memory_model().engines.get(engine_id, "server")


def workspace_features(kind: str, w: Workspace) -> dict[str, Number]:
    """The features of a workspace model, in bytes or counts, before their coefficients."""
    match kind:
        case "server":
            forward = w.tokens * (3 * w.ffn_width + 4 * w.hidden) * 2
            return {"peak": np.maximum(w.sequences * w.vocab * _SAMPLER_SHAPE, forward)}
        case "server_static":
            return {"peak": w.tokens * (3 * w.ffn_width + 4 * w.hidden) * 2}
        case "ggml":
            return {"peak": _ggml_peak(w)}
        case "ggml_ik":
            return _ggml_ik(w)
        case "mlx":
            return {"logits": w.tokens * w.vocab * 2, "ffn": w.tokens * (w.ffn_width + w.hidden) * 2}
        case "npu":
            return {"one": w.tokens * 0 + 1.0, "vocab": w.vocab}
        case _:
            return {"one": w.tokens * 0 + 1.0, "int4": w.int4 * w.context * w.ffn_width}


# float32 logits, their sorted copy with 8-byte indices, probabilities, cumulative sum and masks: 4+4+8+4+4+4+... bytes
_SAMPLER_SHAPE = 36


def _ggml_peak(w: Workspace) -> Number:
    """llama.cpp's allocator reuses memory: the larger of the output layer (logits and one hidden state) and of
    attention (scores of all heads unless fused, mask, four hidden states), in 32 bit for one micro-batch.
    """
    hidden = w.tokens * w.hidden * 4
    peak: Number = np.maximum(w.tokens * w.vocab * 4 + hidden, _scores(w) + _mask(w) + 4 * hidden)
    return peak


def _ggml_ik(w: Workspace) -> dict[str, Number]:
    """ik_llama.cpp: the same parts, which its graphs reuse less; and for MLA without absorption (modes 2 and 3 while
    prefilling) 16-bit keys and values of the whole cache and float32 intermediates up to the `-amb` limit.
    """
    flash_mla = np.where((np.asarray(w.expanded_key) > 0) & (np.asarray(w.flash) > 0), 1.0, 0.0)
    keys = w.context * w.heads * w.expanded_key * 4
    expands = flash_mla * np.where((np.asarray(w.on_cpu) > 0) & np.isfinite(w.buffer_limit), 0.0, 1.0)
    return {
        "logits": w.tokens * w.vocab * 4,
        "hidden": w.tokens * w.hidden * 4,
        "mask": _mask(w),
        "scores": _scores(w),
        "expanded": expands * w.context * w.heads * (w.expanded_key + w.expanded_value) * 2,
        "intermediate": flash_mla * np.minimum(keys, w.buffer_limit),
    }


def _scores(w: Workspace) -> Number:
    whole: Number = np.minimum(w.context * w.tokens * w.heads * 4, w.buffer_limit)
    return np.where(np.asarray(w.flash) > 0, 0.0, whole)


def _mask(w: Workspace) -> Number:
    """16 bit with flash attention, else 32; four copies when layers are split over devices."""
    copies = np.where(np.asarray(w.devices) > 1, 4, 1)
    mask: Number = w.context * w.tokens * np.where(np.asarray(w.flash) > 0, 2, 4) * copies
    return mask


def usable_bytes(device: Device, memory_fraction: float = 1.0) -> int:
    """What an engine may fill of one device: the driver's figure, else the label less what the system keeps."""
    model = load_memory_model()
    if device.usable_memory_bytes is not None:
        return int(device.usable_memory_bytes * memory_fraction)
    rule = model.visible.get(str(device.device_class))
    if rule is not None:
        return int((device.memory_bytes * rule["share"] - rule["reserve_bytes"]) * memory_fraction)
    shares = model.visible_share
    share = next(shares[key] for key in visible_keys(device) if key in shares)
    return int(device.memory_bytes * share * memory_fraction)


def visible_keys(device: Device) -> tuple[str, str, str]:
    """Groups whose driver shows a like share of the label: GDDR with ECC gives up a sixteenth, HBM does not."""
    kind = "hbm" if device.memory_type.upper().startswith("HBM") else "other"
    return f"{device.device_class}/{kind}", f"all/{kind}", "all"


def host_usable_bytes(host: Host | None, ram_bytes: int | None = None) -> int:
    """Host memory that an engine may fill; 0 where nothing is known."""
    ram = ram_bytes if ram_bytes is not None else (host.memory_bytes if host else None)
    if ram is None:
        return 0
    rule = load_memory_model().visible[str(DeviceClass.CPU)]
    return max(int(ram * rule["share"] - rule["reserve_bytes"]), 0)


def ffn_width(a: Architecture) -> float:
    """Widest feed-forward activation of one token: dense width, or experts per token x their width."""
    dense = a.intermediate_size or 0
    sparse = (a.moe_intermediate_size or 0) * (a.experts_per_tok + a.n_shared_experts)
    return float(max(dense if a.first_k_dense_replace or not a.is_moe else 0, sparse))


def expanded_widths(a: Architecture) -> tuple[float, float]:
    """Key and value width per head that MLA expands to; zeros for other attention."""
    if a.attention not in (AttentionKind.MLA, AttentionKind.MLA_DSA):
        return 0.0, 0.0
    return float((a.qk_nope_head_dim or 0) + (a.qk_rope_head_dim or 0)), float(a.v_head_dim or 0)


def overhead_bytes(engine: Engine, *, tp: Number, on_gpu: bool) -> Number:
    """Driver context or, for servers that count it, what a process holds beside its profiled peak; and collectives."""
    model = load_memory_model()
    if not on_gpu:
        return np.asarray(tp, dtype=float) * 0
    ranks = np.where(np.asarray(tp) > 1, model.collective_bytes, 0.0)
    base = model.non_torch_bytes if workspace_kind(engine.id).startswith("server") else model.context_bytes
    return base + ranks


def _yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
