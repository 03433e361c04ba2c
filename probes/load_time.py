"""Seconds to bring a model's weights into memory, foreseen from earlier loads of this machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median, stdev

from advisor.catalog.quantity import Basis, Quantity
from probes.engines.block import POOL_ELEMENTS
from probes.quick import quick_load
from probes.result import ProbeResult
from probes.spec import EngineName

__all__ = ["foreseen_load", "load_rates"]

LOAD_FACTOR = 3.0
VIRTUAL_LOAD_FACTOR = 10.0  # a virtual machine may have to get each page from its host first
# Of a rate of loading from the usual one of the loads before it, 90 %, log units (benchmarks/loads.py, 2026-11-28).
VIRTUAL_SPREAD = 0.71
SPREAD = math.log(1.5)  # at least this where every page is the machine's own; not measured yet
LOADS_THAT_COUNT, LOADS_THAT_TELL = 20, 3
NORMAL_90 = 1.645


def foreseen_load(tensor_bytes: int, earlier: Sequence[ProbeResult], engine: EngineName, *, virtual: bool) -> Quantity:
    """A random pool (own engine only), then a first write of every byte: at the usual rate of `earlier` loads, newest
    first, else as just timed. `virtual`: a virtual machine, whose host gives it memory at speeds that differ.
    """
    rates = quick_load()
    fixed = POOL_ELEMENTS / rates.normals_per_s if engine is EngineName.TORCH else 0.0
    seen = load_rates(earlier, fixed)[:LOADS_THAT_COUNT]
    if not seen:
        seconds = fixed + tensor_bytes / rates.first_writes_bytes_per_s
        slower = VIRTUAL_LOAD_FACTOR if virtual else LOAD_FACTOR
        source = "random pool + bytes / first write just timed"
        return Quantity(seconds, seconds / LOAD_FACTOR, seconds * slower, Basis.ESTIMATED, source)
    seconds = fixed + tensor_bytes / median(seen)
    spread = max(VIRTUAL_SPREAD if virtual else SPREAD, _own_spread(seen))
    factor = math.exp(spread * math.sqrt(1 + 1 / len(seen)))
    return Quantity.within(seconds, factor, Basis.CALIBRATED, "random pool + bytes / rate of earlier loads here")


def load_rates(runs: Sequence[ProbeResult], fixed_s: float) -> list[float]:
    """Bytes per second of each valid run's load, `fixed_s` apart: what does not grow with the weights."""
    return [
        r.tensor_bytes / max(r.load_s.value - fixed_s, r.load_s.value / 10)
        for r in runs
        if r.is_valid and r.tensor_bytes and r.load_s
    ]


def _own_spread(rates: Sequence[float]) -> float:
    """90 % of loads, log units, as they differed here; 0 while they are too few to tell."""
    return NORMAL_90 * stdev(map(math.log, rates)) if len(rates) >= LOADS_THAT_TELL else 0.0
