"""Bytes on the fullest device of a replica, and what follows: does it fit, how long, how many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.plan import DeviceFootprint, Load, Plan

__all__ = ["Footprint", "FootprintArrays", "footprint"]

Number = float | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FootprintArrays:
    """Bytes per device (fullest one) and per host; scalars or arrays of one shape."""

    weights_bytes: Number
    kv_cache_bytes: Number
    activation_bytes: Number
    overhead_bytes: Number
    usable_bytes: Number
    host_weights_bytes: Number
    host_kv_bytes: Number
    kv_bytes_per_sequence: Number  # at the load's context, on the fullest device
    max_concurrency: Number  # sequences of the load's context that fit; 0: the weights do not fit
    max_context_tokens: Number  # at the load's concurrency
    shortfall_bytes: Number  # 0 when it fits


@dataclass(frozen=True, slots=True)
class Footprint:
    """One plan under one load."""

    device: DeviceFootprint
    host: DeviceFootprint | None
    fits: bool
    shortfall_bytes: int
    kv_bytes_per_token: float
    max_concurrency: int
    max_context_tokens: int


def footprint(plan: Plan, load: Load) -> Footprint:
    """Footprint of one plan; the arrays behind it are in `footprint_arrays`."""
    raise NotImplementedError
