"""90 % intervals of predicted speeds: split-conformal factors from out-of-fold residuals.

A prediction has a spread `exp(Σ weight[feature])` in log units, from its metric, kind of machine, architecture and
novelty; the residuals of cross-validation divided by that spread give one quantile per kind of machine, so that
90 % of unseen rows of each kind fall inside. Devices that the fit has not seen use the quantile of rows predicted
without any row of their device (Lei et al. 2018; grouped as in Dunn et al. 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.factors import FactorColumns

__all__ = ["FEATURES", "NEW_DEVICE", "Intervals", "half_widths", "is_new"]

Floats = NDArray[np.float64]

FEATURES = ("place", "architecture", "load_mode")
NEW_DEVICE = "new_device"
_WIDEST = np.log(20.0)


@dataclass(frozen=True, slots=True)
class Intervals:
    """`weights`: "feature|level" to log spread; `quantiles`: kind of machine to (device seen, device new)."""

    weights: Mapping[str, float]
    quantiles: Mapping[str, tuple[float, float]]
    overall: tuple[float, float]

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> Intervals:
        """From the `intervals` of the calibration file."""
        pairs = {str(k): (float(v[0]), float(v[1])) for k, v in raw["quantiles"].items()}
        overall = (float(raw["overall"][0]), float(raw["overall"][1]))
        return cls({str(k): float(v) for k, v in raw["weights"].items()}, pairs, overall)

    def spread(self, columns: FactorColumns, metric: str, new: NDArray[np.bool_]) -> Floats:
        """Typical |log residual| of each pairing for a metric."""
        log = np.full(columns.size, self.weights.get("", 0.0) + self.weights.get(f"metric|{metric}", 0.0))
        for name in FEATURES:
            factor = columns.factors[name]
            log += np.array([self.weights.get(f"{name}|{level}", 0.0) for level in factor.levels])[factor.codes]
        spread: Floats = np.exp(log + self.weights.get(NEW_DEVICE, 0.0) * new)
        return spread


def half_widths(intervals: Intervals, columns: FactorColumns, metric: str, new: NDArray[np.bool_]) -> Floats:
    """Half-width of the 90 % interval in log units, by pairing."""
    place = columns.factors["place"]
    table = np.array([intervals.quantiles.get(level, intervals.overall) for level in place.levels])
    quantile = table[place.codes, new.astype(int)]
    widths: Floats = np.minimum(intervals.spread(columns, metric, new) * quantile, _WIDEST)
    return widths


def is_new(columns: FactorColumns, factor: str, seen: frozenset[str]) -> NDArray[np.bool_]:
    """Pairings whose level of `factor` the fit has not seen."""
    levels = columns.factors[factor].levels
    unseen: NDArray[np.bool_] = np.array([level not in seen for level in levels])[columns.factors[factor].codes]
    return unseen
