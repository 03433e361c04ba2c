"""Decode by the speed of the memory: what was foreseen before a run, for whatever speed the run then finds.

Memory of a shared or virtual machine moves by a quarter within minutes. What the model of the machine gets wrong and
what the machine did in the meantime are told apart by the rate that was foreseen for the speed that memory then had.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from advisor.catalog import Catalog
from advisor.catalog.quantity import Quantity
from advisor.sizing.efficiency import EfficiencyTable
from probes.moments import foreseen_moments
from probes.result import DecodeAtMemory, Place, ProbeResult
from probes.spec import Kind, ProbeSpec

__all__ = ["decode_by_memory", "foreseen_at_memory"]

SPEEDS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)  # times the usual one
_KINDS = (Kind.FULL, Kind.SLICE)


def decode_by_memory(
    spec: ProbeSpec, place: Place, catalog: Catalog, table: EfficiencyTable | None
) -> tuple[DecodeAtMemory, ...]:
    """Ascending in the memory's speed; nothing for accelerators, whose memory stands still, and for sweeps.

    Raises FathomError where the model, format or device is not known.
    """
    if place.on_accelerator or spec.kind not in _KINDS:
        return ()
    usual = place.host.measured_bandwidth_bytes_per_s or place.host.memory_bandwidth_bytes_per_s
    return tuple(_at(share * usual, spec, place, catalog, table) for share in SPEEDS)


def _at(
    bytes_per_s: float, spec: ProbeSpec, place: Place, catalog: Catalog, table: EfficiencyTable | None
) -> DecodeAtMemory:
    host = replace(
        place.host, memory_bandwidth_bytes_per_s=bytes_per_s, measured_bandwidth_bytes_per_s=bytes_per_s
    )
    (moment,) = foreseen_moments(spec, replace(place, host=host), catalog, table)
    return DecodeAtMemory(bytes_per_s, moment.speed.decode_tok_s.value)


def foreseen_at_memory(result: ProbeResult) -> tuple[float, Quantity] | None:
    """(bytes per second that memory had between the rounds, tokens per second foreseen for it); None where it was not
    read in between, nothing was foreseen, or it was faster or slower than the curve goes.

    The interval is as wide as the unconditional one, relatively: too wide rather than too narrow.
    """
    curve, said = result.predicted.decode_by_memory, result.predicted.decode_tok_s
    read = result.conditions.canary_bytes_per_s
    if said is None or said.value <= 0 or read is None or not _reaches(curve, read):
        return None
    speeds, rates = (np.log([getattr(p, name) for p in curve]) for name in ("bytes_per_s", "decode_tok_s"))
    value = math.exp(float(np.interp(math.log(read), speeds, rates)))
    scale = value / said.value
    return read, replace(said, value=value, low=said.low * scale, high=said.high * scale)


def _reaches(curve: Sequence[DecodeAtMemory], bytes_per_s: float) -> bool:
    return bool(curve) and curve[0].bytes_per_s <= bytes_per_s <= curve[-1].bytes_per_s
