"""Intervals away from what was measured: wider, the further; as `advisor calibrate` fitted it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_DRIFT", "REPEATS", "Drift", "drifts", "gap"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drift:
    """Half-width of the 90 % interval at a log ratio d from a measurement: sqrt(repeat² + slope² d), in log units.

    `repeat`: at no distance, where public sources differ from each other. `pairs`: of measurements behind it.
    """

    repeat: float
    slope: float
    pairs: int = 0

    def at(self, log_ratio: Floats) -> Floats:
        """What distance adds to a measurement's own width."""
        width: Floats = self.slope * np.sqrt(np.maximum(log_ratio, 0.0))
        return width


REPEATS = math.log(1.05)  # no machine repeats itself better than this from day to day
NO_DRIFT = Drift(0.0, 0.0)


def drifts(intervals: Mapping[str, Any]) -> dict[str, Drift]:
    """By "phase|axis", from the `intervals` of the calibration file; none in one that was written before."""
    return {str(k): Drift(float(v[0]), float(v[1]), int(v[2])) for k, v in intervals.get("distance", {}).items()}


def gap(values: Floats, measured: Sequence[float]) -> Floats:
    """Distance in log units from positive values to ascending measured ones; 0 where nothing says what was measured.

    Between two of them the walk is tied at both ends (a Brownian bridge): d₁d₂ / (d₁ + d₂).
    """
    if not measured:
        return np.zeros_like(values)
    known, asked = np.log(np.asarray(measured)), np.log(np.maximum(values, 1e-9))
    above = np.searchsorted(known, asked)
    right = np.where(above < len(known), known[np.minimum(above, len(known) - 1)] - asked, np.inf)
    left = np.where(above > 0, asked - known[np.maximum(above - 1, 0)], np.inf)
    near, far = np.minimum(left, right), np.maximum(left, right)
    share = np.divide(far, near + far, out=np.ones_like(near), where=np.isfinite(far) & (far > 0))
    found: Floats = near * share
    return found
