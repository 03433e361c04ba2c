"""The grid of plans: models x engines x machines x layouts, as columns, with the impossible ones left out.

A layout is left out when it does not divide the attention heads, when its weights alone exceed the memory, when it
spreads a model over more than four times the devices it needs, or when the engine cannot do it. Of an engine's back
ends on a device only the first is searched; engines without continuous batching or slots only where no other engine
runs the format; fp16 only where bf16 is not supported; a few engines only when named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.catalog import Catalog
from advisor.catalog.engines import rule_formats, rules_for, runs_model
from advisor.catalog.formats import Format
from advisor.catalog.records import Device, DeviceClass, Engine, EngineSupport
from advisor.decision.layouts import LAYOUTS, layers_on_device, layout_mask
from advisor.decision.models import ModelTable
from advisor.decision.offers import UNLIMITED, Offer, support_device
from advisor.decision.scenario import Scenario
from advisor.sizing.columns import OFFLOADS, Hardware, PlanColumns, Runtime
from advisor.sizing.efficiency import EfficiencyTable, table_for
from advisor.sizing.identity_cache import cached_by_identity
from advisor.sizing.plan import Layout, Offload

__all__ = ["Space", "enumerate_space", "installed_bytes", "largest_layout", "unlimited"]

_ONLY_BY_NAME = frozenset(
    {
        "ollama",  # llama.cpp with a model manager: the same plan
        "ktransformers",  # made for experts in host memory, a layout that is not searched
    }
)
_PROCESSORS_ONLY = frozenset({"ik_llama.cpp"})  # a fork of llama.cpp made for them; llama.cpp covers the rest


@dataclass(frozen=True, slots=True)
class Space:
    """Plans as columns with one replica each, and the offer that each row belongs to."""

    plans: PlanColumns
    table: ModelTable
    offers: tuple[Offer, ...]
    offer: NDArray[np.intp]
    supported: NDArray[np.bool_]  # shape (models, runtimes, offers): the engine runs this format there
    wanted: NDArray[np.bool_]  # shape (models,): searched
    efficiency: EfficiencyTable  # the calibration in force

    def __len__(self) -> int:
        return len(self.plans)

    @property
    def devices(self) -> NDArray[np.float64]:
        """Devices of one replica."""
        return self.plans.tp * self.plans.pp

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Space:
        return replace(self, plans=self.plans.take(rows), offer=self.offer[rows])


def enumerate_space(
    scenario: Scenario,
    catalog: Catalog,
    table: ModelTable,
    found: tuple[Offer, ...],
    wanted: NDArray[np.bool_] | None = None,
) -> Space:
    """Every plan worth sizing of the models `wanted` (shape (models,); None: all). Rows are ordered by model, engine,
    machine, layout."""
    runtimes = _runtimes(scenario, catalog)
    supported = _supported(table, runtimes, found, catalog)
    wanted = np.ones(len(table.models), dtype=np.bool_) if wanted is None else wanted
    model, runtime, offer = np.nonzero(supported & wanted[:, None, None])
    layouts = layout_mask(table, runtimes, found, model, runtime, offer)
    row, layout = np.nonzero(layouts)
    kinds = np.array([(k.tp, k.pp, k.ep, k.dp_attention) for k in LAYOUTS], dtype=np.float64)[layout]
    cpu_only = np.array([o.hardware.device is None for o in found], dtype=np.bool_)[offer[row]]
    offload = np.array([OFFLOADS.index(k.offload) for k in LAYOUTS], dtype=np.intp)[layout]
    plans = PlanColumns(
        models=tuple(m.key for m in table.models),
        runtimes=runtimes,
        hardware=tuple(o.hardware for o in found),
        model=model[row],
        runtime=runtime[row],
        machine=offer[row],
        tp=kinds[:, 0],
        pp=kinds[:, 1],
        ep=kinds[:, 2],
        dp_attention=kinds[:, 3],
        replicas=np.ones(len(row)),
        offload=np.where(cpu_only, OFFLOADS.index(Offload.CPU_ONLY), offload),
        gpu_expert_layers=np.zeros(len(row)),
        gpu_layers=np.where(
            offload == OFFLOADS.index(Offload.LAYERS_SPLIT), layers_on_device(table, found, model[row], offer[row]), 0
        ),
    )
    return Space(plans, table, found, offer[row], supported, wanted, table_for(catalog))


def installed_bytes(space: Space) -> NDArray[np.float64]:
    """Memory of the hardware that one replica occupies: of its devices, or of the host where there is none."""
    sizes = [_memory(offer.hardware) for offer in space.offers]
    return np.array(sizes, dtype=np.float64)[space.offer] * space.devices


def _memory(hardware: Hardware) -> float:
    if hardware.device is not None:
        return float(hardware.device.memory_bytes)
    return float((hardware.host.memory_bytes if hardware.host else None) or np.inf)


def unlimited(space: Space) -> Space:
    """The same plans with as many machines as anyone could want."""
    return replace(space, offers=tuple(replace(offer, available=UNLIMITED) for offer in space.offers))


def largest_layout(space: Space, model: int, runtime: int, offer: int) -> Layout:
    """The layout over the most devices that engine, machine and attention heads allow, whatever the memory."""
    place, engine = space.offers[offer], space.plans.runtimes[runtime].engine
    heads = int(space.table.heads[model])
    fitting = [
        kind
        for kind in LAYOUTS
        if kind.dp_attention == 1
        and kind.offload is Offload.NONE
        and kind.devices <= place.available
        and (kind.devices <= place.per_node or (place.multi_node and kind.tp == 8))
        and heads % kind.tp == 0
        and (kind.tp == 1 or engine.tensor_parallel)
        and (kind.pp == 1 or engine.pipeline_parallel)
    ]
    best = max(fitting, key=lambda kind: (kind.devices, kind.tp))
    cpu_only = place.hardware.device is None
    return Layout(tp=best.tp, pp=best.pp, offload=Offload.CPU_ONLY if cpu_only else Offload.NONE)


def _runtimes(scenario: Scenario, catalog: Catalog) -> tuple[Runtime, ...]:
    wanted = [
        engine
        for engine in catalog.engines.values()
        if (
            engine.id in scenario.engines
            if scenario.engines
            else not engine.reference and engine.id not in _ONLY_BY_NAME
        )
    ]
    return tuple(
        Runtime(engine, backend)
        for engine in wanted
        for backend in dict.fromkeys(name for rule in engine.supports for name in rule.backends)
    )


def _supported(
    table: ModelTable, runtimes: tuple[Runtime, ...], found: tuple[Offer, ...], catalog: Catalog
) -> NDArray[np.bool_]:
    """Shape (models, runtimes, offers). Asked once per format, runtime and kind of device."""
    devices = [support_device(offer, catalog) for offer in found]  # None: the processor of a host
    signature = [() if device is None else _signature(device) for device in devices]
    kinds = dict(zip(signature, devices, strict=True))
    formats = {model.format.id: model.format for model in table.models}
    names, keys = list(formats), list(kinds)
    answer = np.zeros((len(names), len(runtimes), len(keys)), dtype=np.bool_)
    position = {name: f for f, name in enumerate(names)}
    for r, runtime in enumerate(runtimes):
        for k, key in enumerate(keys):
            if runtime.engine.id in _PROCESSORS_ONLY and not _is_processor(kinds[key]):
                continue
            known = _formats_run(runtime.engine, runtime.backend, kinds[key], catalog.formats)
            answer[[position[name] for name in known if name in position], r, k] = True
    if "fp16" in names and "bf16" in names:
        answer[names.index("fp16")] &= ~answer[names.index("bf16")]
    static = np.array([runtime.engine.batching == "static" for runtime in runtimes], dtype=np.bool_)
    answer[:, static] &= ~answer[:, ~static].any(axis=1, keepdims=True)
    of_format = np.array([names.index(model.format.id) for model in table.models], dtype=np.intp)
    of_offer = np.array([keys.index(key) for key in signature], dtype=np.intp)
    return np.asarray(answer[of_format][:, :, of_offer] & _runs(table, runtimes)[:, :, None], dtype=np.bool_)


@cached_by_identity(16_384)
def _formats_run(
    engine: Engine, backend: str, device: Device | None, formats: Mapping[str, Format]
) -> tuple[str, ...]:
    """Ids of the formats that run through `backend`, if it is the engine's first choice on this device."""
    rules = rules_for(engine, device)
    if not rules or rules[0].backends[0] != backend:
        return ()
    names = [_rule_formats(rule, formats) for rule in rules if backend in rule.backends]
    return tuple(frozenset().union(*names))


@cached_by_identity(4096)
def _rule_formats(rule: EngineSupport, formats: Mapping[str, Format]) -> frozenset[str]:
    return rule_formats(rule, formats.values())


def _runs(table: ModelTable, runtimes: tuple[Runtime, ...]) -> NDArray[np.bool_]:
    """Shape (models, runtimes): the engine knows the architecture. Asked once per variant and engine."""
    variants = {model.variant.id: model.variant for model in table.models}
    engines = {runtime.engine.id: runtime.engine for runtime in runtimes}
    known = {(v, e): runs_model(engines[e], variants[v]) is None for v in variants for e in engines}
    return np.array([[known[m.variant.id, r.engine.id] for r in runtimes] for m in table.models], dtype=np.bool_)


def _is_processor(device: Device | None) -> bool:
    return device is None or device.device_class is DeviceClass.CPU


def _signature(device: Device) -> tuple[object, ...]:
    """What engine rules look at."""
    return (
        device.vendor,
        device.device_class,
        device.architecture,
        device.compute_capability,
        device.supported_precisions,
        tuple(sorted(device.peak_ops_per_s)),
        device.isa,
    )
