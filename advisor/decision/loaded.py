"""What the search knows about every plan: one request alone, and the scenario's traffic on a fleet."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["Alone", "Rows", "Served"]

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_] | NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Alone:
    """One request of the full context alone on one replica. Arrays of shape (plans,).

    A time lies within [value / factor, value * factor] with 90 %.
    """

    fits: NDArray[np.bool_]
    shortfall_bytes: Floats  # per device
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    ttft_factor: Floats
    tpot_factor: Floats
    extrapolated: NDArray[np.bool_]

    def take(self, rows: Rows) -> Alone:
        return Alone(*(getattr(self, item.name)[rows] for item in fields(self)))


@dataclass(frozen=True, slots=True)
class Served:
    """The scenario's traffic on the fewest replicas; infinite replicas: no number meets the limits. Seconds are at
    the scenario's percentile. `low` and `high` factors of the step model's interval apply to all of them."""

    replicas: Floats
    concurrency: Floats  # sequences in flight per replica
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    utilisation: Floats
    requests_per_s: Floats  # of the whole fleet, at the peak

    def take(self, rows: Rows) -> Served:
        return Served(*(getattr(self, item.name)[rows] for item in fields(self)))

    def better(self, rows: NDArray[np.intp], other: Served) -> Served:
        """With the plans of `other`, which are those at `rows`, wherever they need fewer replicas."""
        wins = other.replicas < self.replicas[rows]
        columns = []
        for item in fields(self):
            column = getattr(self, item.name).copy()
            column[rows[wins]] = getattr(other, item.name)[wins]
            columns.append(column)
        return Served(*columns)

    def spread(self, rows: NDArray[np.bool_]) -> Served:
        """These plans at the rows chosen of a larger grid; no fleet at the others."""
        columns = []
        for item in fields(self):
            column = np.full(len(rows), np.inf if item.name == "replicas" else np.nan)
            column[rows] = getattr(self, item.name)
            columns.append(column)
        return Served(*columns)
