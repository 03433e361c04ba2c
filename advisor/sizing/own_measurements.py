"""Own measurements put over the public calibration: which pairings they mean, and what they change there.

The factors on the fitted effects hold for any load and any number of such devices. The interval narrows only where
something was measured: one device, and as many sequences at once; elsewhere the public width stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.calibration_records import LocalCalibration
from advisor.sizing.columns import Hardware, ModelKey
from advisor.sizing.distance import NO_DRIFT, Drift, gap
from advisor.sizing.measured_at import PREFILL_METRICS
from advisor.sizing.pairings import Pairings
from advisor.sizing.plan import Offload, Plan
from advisor.sizing.products import product_elements

__all__ = ["OwnMeasurements", "calibration_of", "own_measurements"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]



@dataclass(frozen=True, slots=True)
class OwnMeasurements:
    """Changes by pairing. `known`: 0 none, 1 calibrated, 2 measured where `by` was. `by`: position of the calibration
    whose interval holds, -1 for the public one.
    """

    effects: Mapping[str, Floats]  # factors on those that have one
    decode_factor: Floats
    prefill_factor: Floats
    widths: Mapping[str, Floats]
    known: NDArray[np.intp]
    by: NDArray[np.intp]


def own_measurements(
    local: Sequence[LocalCalibration],
    pairings: Pairings,
    widths: Mapping[str, Floats],
    drifts: Mapping[str, Drift],
) -> OwnMeasurements:
    """Later items are the more general ones: the first that applies has the last word. `widths`: the public ones."""
    size = len(pairings)
    one = np.ones(size)
    found = OwnMeasurements({}, one, one, dict(widths), np.zeros(size, dtype=np.intp), np.full(size, -1))
    products = np.array([product_elements(m.variant.architecture) for m in pairings.models])[pairings.model]
    for place, item in reversed(tuple(enumerate(local))):
        rows = _applies(pairings, item)
        if rows.any():
            carried = {name: _carried(item, name, products, drifts, limit) for name, limit in widths.items()}
            found = _with(found, item, rows, pairings, carried, place)
    return found


def calibration_of(plan: Plan, local: Sequence[LocalCalibration]) -> LocalCalibration | None:
    """The most specific measurement that the figures of a plan rest on; None: public calibration only."""
    key, kind = ModelKey(plan.variant, plan.format, plan.kv_format), plan.variant.architecture.kind
    names = _names(Hardware(plan.device, plan.host, plan.server), on_cpu=plan.device is None)
    hybrid = plan.layout.offload in (Offload.EXPERTS_CPU, Offload.LAYERS_SPLIT)
    matching = (
        i for i in local
        if i.engine_id == plan.engine.id and _means_model(i, key) and i.device_id in names and _was_run(i, kind)
    )  # fmt: skip
    return None if hybrid else next(matching, None)


def _with(
    now: OwnMeasurements,
    item: LocalCalibration,
    rows: Mask,
    pairings: Pairings,
    carried: Mapping[str, tuple[Floats, Floats]],
    place: int,
) -> OwnMeasurements:
    """`carried`: half-widths by metric for one sequence and for several, log units."""
    changed = {name: now.effects.get(name, 1.0) * np.where(rows, factor, 1.0) for name, factor in item.effects}
    loaded = pairings.load_mode.codes == 1
    several = np.zeros_like(rows) if pairings.several is None else pairings.several
    alike = rows & np.array([_was_run(item, m.variant.architecture.kind) for m in pairings.models])[pairings.model]
    seen = alike & ~several & (~loaded | (item.loaded_factor_90 is not None))
    widths = {
        name: np.where(seen, np.where(loaded, carried[name][1], carried[name][0]), values)
        for name, values in now.widths.items()
    }
    decode = np.where(loaded, item.loaded_factor, item.decode_factor)
    return OwnMeasurements(
        effects={**now.effects, **changed},
        decode_factor=np.where(rows, now.decode_factor * decode, now.decode_factor),
        prefill_factor=np.where(rows, now.prefill_factor * item.prefill_factor, now.prefill_factor),
        widths=widths,
        known=np.where(seen & item.measured, 2, np.where(alike, 1, now.known)),
        by=np.where(seen, place, now.by),
    )


def _carried(
    item: LocalCalibration, metric: str, products: Floats, drifts: Mapping[str, Drift], limit: Floats
) -> tuple[Floats, Floats]:
    """(one sequence, several): the measured half-width, and what products of another size add, up to the public one."""
    prefill = metric in PREFILL_METRICS
    drift = drifts.get("prefill|product" if prefill else "decode|product", NO_DRIFT)
    added = drift.at(gap(products, item.products))
    alone = item.prefill_factor_90 if prefill else item.decode_factor_90
    loaded = alone if prefill else item.loaded_factor_90 or alone
    here = (np.log(max(factor, 1.0)) for factor in (alone, loaded))
    one, many = (np.minimum(np.hypot(width, added), np.maximum(width, limit)) for width in here)
    return one, many


def _applies(pairings: Pairings, item: LocalCalibration) -> Mask:
    engine = np.array([r.engine.id == item.engine_id for r in pairings.runtimes])[pairings.runtime]
    model = np.array([_means_model(item, m) for m in pairings.models])[pairings.model]
    device = np.array([item.device_id in _names(h, on_cpu=False) for h in pairings.hardware])[pairings.machine]
    processor = np.array([item.device_id in _names(h, on_cpu=True) for h in pairings.hardware])[pairings.machine]
    rows: Mask = engine & model & np.where(pairings.on_cpu, processor, device & ~pairings.hybrid)
    return rows


def _means_model(item: LocalCalibration, key: ModelKey) -> bool:
    return (
        item.format_family in ("", key.format.family)
        and item.format_id in ("", key.format.id)
        and item.variant_id in ("", key.variant.id)
    )


def _was_run(item: LocalCalibration, kind: str) -> bool:
    return item.kinds is None or kind in item.kinds


def _names(h: Hardware, *, on_cpu: bool) -> frozenset[str]:
    """Ids by which a measurement may mean the accelerator, or the processors of the host."""
    if not on_cpu:
        return frozenset((h.device.id,)) if h.device else frozenset()
    return frozenset(name for name in (h.host.id, h.host.cpu_device_id) if name) if h.host else frozenset()
