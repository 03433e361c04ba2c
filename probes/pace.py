"""Rates by the pace of the machine: what was foreseen before a run, for whatever pace the run then finds.

Memory and processors of a shared or virtual machine move by a quarter within minutes. What the model of the machine
gets wrong and what the machine did in the meantime are told apart by the rates that were foreseen for the speeds that
memory and the processors' products then had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from advisor.catalog import Catalog
from advisor.catalog.quantity import Quantity
from advisor.catalog.records import Host
from advisor.sizing.efficiency import EfficiencyTable
from probes.moments import foreseen_moments
from probes.pace_curves import PaceCurves, RatesAt
from probes.place import multiplying, reading
from probes.result import Place, ProbeResult
from probes.spec import Kind, ProbeSpec

__all__ = ["SHARES", "AtPace", "foreseen_at_pace", "rates_by_pace"]

SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)  # of the usual speed
_KINDS = (Kind.FULL, Kind.SLICE)


@dataclass(frozen=True, slots=True)
class AtPace:
    """What had been foreseen for the speeds that a run met. `product_ops_per_s`: None where it was not read."""

    memory_bytes_per_s: float
    product_ops_per_s: float | None
    decode_tok_s: Quantity | None
    prefill_tok_s: Quantity | None


def rates_by_pace(
    spec: ProbeSpec, place: Place, catalog: Catalog, table: EfficiencyTable | None
) -> PaceCurves:
    """Nothing for accelerators, whose pace stands still, and for sweeps.

    Raises FathomError where the model, format or device is not known.
    """
    if place.on_accelerator or spec.kind not in _KINDS:
        return PaceCurves()

    host = place.host
    read, product = host.measured_bandwidth_bytes_per_s or host.memory_bandwidth_bytes_per_s, host.peak_fp32_ops_per_s
    bf16 = (host.peak_bf16_ops_per_s or 0.0) / (product or 1.0)  # of the float32 products

    def multiplied(speed: float) -> Host:
        return multiplying(host, {"fp32": speed} | ({"bf16": bf16 * speed} if bf16 else {}))

    def curve(usual: float | None, at: Callable[[float], Host]) -> tuple[RatesAt, ...]:
        speeds = [share * usual for share in SHARES] if usual else []
        return tuple(_rates(speed, spec, replace(place, host=at(speed)), catalog, table) for speed in speeds)

    return PaceCurves(curve(read, lambda speed: reading(host, speed)), curve(product, multiplied))


def foreseen_at_pace(result: ProbeResult) -> AtPace | None:
    """None where memory was not read during the run, nothing was foreseen, or a speed lies beyond the curves.

    Both speeds change a rate by its own factor. Intervals are as wide as the unconditional ones, relatively,
    which allow for another pace besides.
    """
    curves, read = result.predicted.by_pace, result.conditions.canary_bytes_per_s
    seen = result.conditions.product_ops_per_s
    product = seen.value if seen is not None and curves.by_products else None
    if read is None or not _reaches(curves.by_memory, read):
        return None
    if product is not None and not _reaches(curves.by_products, product):
        return None

    def said(name: str) -> Quantity | None:
        quantity: Quantity | None = getattr(result.predicted, name)
        if quantity is None:
            return None
        scale = _change(curves.by_memory, read, name)
        scale *= 1.0 if product is None else _change(curves.by_products, product, name)
        return replace(quantity, value=scale * quantity.value, low=scale * quantity.low, high=scale * quantity.high)

    return AtPace(read, product, said("decode_tok_s"), said("prefill_tok_s"))

def _rates(speed: float, spec: ProbeSpec, place: Place, catalog: Catalog, table: EfficiencyTable | None) -> RatesAt:
    (moment,) = foreseen_moments(spec, place, catalog, table)
    return RatesAt(speed, moment.speed.decode_tok_s.value, moment.speed.prefill_tok_s.value)


def _change(curve: Sequence[RatesAt], speed: float, name: str) -> float:
    """The rate at `speed` / the rate at the usual one."""
    speeds, rates = np.log([p.speed for p in curve]), np.log([getattr(p, name) for p in curve])
    return math.exp(float(np.interp(math.log(speed), speeds, rates)) - float(rates[SHARES.index(1.0)]))


def _reaches(curve: Sequence[RatesAt], speed: float) -> bool:
    return bool(curve) and curve[0].speed <= speed <= curve[-1].speed
