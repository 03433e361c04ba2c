"""Which layouts make sense for a model on a machine: over how many devices, and what the host may hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.records import Engine
from advisor.decision.models import ModelTable
from advisor.decision.offers import Offer
from advisor.sizing.columns import Hardware, Runtime
from advisor.sizing.plan import Offload

__all__ = ["LAYOUTS", "LayoutKind", "layers_on_device", "layout_mask", "usable_bytes"]

_OFFLOAD_ABOVE = 0.8  # weights above this share of the device's memory may be split with the host
_FILLED = 0.75  # of the device's memory with weights when layers are split; the rest is for cache and workspace
SPREAD = 4  # times the fewest devices that hold the weights


@dataclass(frozen=True, slots=True)
class LayoutKind:
    tp: int
    pp: int
    dp_attention: int = 1
    ep: int = 1
    offload: Offload = Offload.NONE

    @property
    def devices(self) -> int:
        return self.tp * self.pp


LAYOUTS = (
    LayoutKind(1, 1),
    LayoutKind(2, 1),
    LayoutKind(4, 1),
    LayoutKind(8, 1),
    LayoutKind(2, 1, 2, 2),
    LayoutKind(4, 1, 4, 4),
    LayoutKind(8, 1, 8, 8),
    LayoutKind(1, 2),
    LayoutKind(1, 4),
    LayoutKind(1, 8),
    LayoutKind(8, 2),
    LayoutKind(8, 4),
    LayoutKind(1, 1, offload=Offload.EXPERTS_CPU),
    LayoutKind(1, 1, offload=Offload.LAYERS_SPLIT),
)


def usable_bytes(hardware: Hardware) -> float:
    """Memory of one device, or of the host where there is none."""
    if hardware.device is not None:
        return float(hardware.device.usable_memory_bytes or hardware.device.memory_bytes)
    return float((hardware.host.memory_bytes if hardware.host else 0) or 0)


def layout_mask(
    table: ModelTable,
    runtimes: tuple[Runtime, ...],
    found: tuple[Offer, ...],
    model: NDArray[np.intp],
    runtime: NDArray[np.intp],
    offer: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Shape (combinations, layouts)."""
    kinds = np.array([(k.tp, k.pp, k.dp_attention, k.devices) for k in LAYOUTS], dtype=np.intp)
    tp, pp, dp, devices = kinds.T
    per_node = np.array([o.per_node for o in found], dtype=np.intp)[offer][:, None]
    available = np.array([o.available for o in found], dtype=np.intp)[offer][:, None]
    multi = np.array([o.multi_node for o in found], dtype=np.bool_)[offer][:, None]
    usable = np.array([usable_bytes(o.hardware) for o in found])[offer][:, None]
    need = table.weights_bytes[model][:, None]
    engine = _engine_flags([r.engine for r in runtimes])[runtime]
    shards, stages, splits_attention = engine[:, 0:1], engine[:, 1:2], engine[:, 2:3]
    across = (tp == 8) & (pp > 1)
    good = (devices <= available) & np.where(across, multi & (per_node >= 8), devices <= per_node)
    held_by_host = np.array([k.offload is not Offload.NONE for k in LAYOUTS], dtype=np.bool_)
    good &= (usable > 0) & ((need <= usable * devices) | held_by_host)
    fewest = np.maximum(1, 2 ** np.ceil(np.log2(np.maximum(need / np.maximum(usable, 1), 1))))
    spread = np.where(shards, SPREAD, 2)  # splitting by layers does not speed up a stream
    good &= (devices <= spread * fewest) | held_by_host
    good &= np.where(across, fewest > 4, True)
    good &= (table.heads[model][:, None] % tp == 0) & ((tp == 1) | shards)
    good &= np.where(pp > 1, stages & (across | ~shards), True)
    good &= ~held_by_host | _hosted(table, runtimes, found, model, runtime, offer)
    latent_moe = (table.is_moe & table.is_latent)[model][:, None]
    return np.asarray(good & ((dp == 1) | (splits_attention & latent_moe)), dtype=np.bool_)


def _hosted(
    table: ModelTable,
    runtimes: tuple[Runtime, ...],
    found: tuple[Offer, ...],
    model: NDArray[np.intp],
    runtime: NDArray[np.intp],
    offer: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Shape (combinations, layouts): the engine keeps part of a model that is too big for the device in the host's
    memory, experts of MoE models or whole layers."""
    hybrid = np.array([o.hybrid for o in found], dtype=np.bool_)[offer][:, None]
    offloads = np.array([r.engine.cpu_offload for r in runtimes], dtype=np.bool_)[runtime][:, None]
    device = np.array([usable_bytes(o.hardware) for o in found])[offer][:, None]
    host = np.array([float((o.hardware.host.memory_bytes if o.hardware.host else 0) or 0) for o in found])
    need = table.weights_bytes[model][:, None]
    good = hybrid & offloads & (need > device * _OFFLOAD_ABOVE) & (need <= device + host[offer][:, None])
    experts = np.array([k.offload is Offload.EXPERTS_CPU for k in LAYOUTS], dtype=np.bool_)
    return np.asarray(good & (~experts | table.is_moe[model][:, None]), dtype=np.bool_)


def layers_on_device(
    table: ModelTable, found: tuple[Offer, ...], model: NDArray[np.intp], offer: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Layers that LAYERS_SPLIT keeps on the device: their share of the weights fills `_FILLED` of its memory."""
    layers = np.array([m.variant.architecture.num_layers for m in table.models], dtype=np.float64)[model]
    room = np.array([usable_bytes(o.hardware) for o in found])[offer] * _FILLED
    return np.minimum(np.floor(layers * room / np.maximum(table.weights_bytes[model], 1)), layers)


def _engine_flags(engines: list[Engine]) -> NDArray[np.bool_]:
    return np.array(
        [(e.tensor_parallel, e.pipeline_parallel, e.dp_attention and e.expert_parallel) for e in engines],
        dtype=np.bool_,
    )
