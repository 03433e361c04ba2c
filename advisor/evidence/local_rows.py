"""What the rows of one device leave after the fit: their middle, and how wide the interval around it must be.

Rows count by the inverse of their variance, so a run that others disturbed says less than a quiet one. Others only ever
slow a run, all of them together, so widths are averaged and do not shrink with the number of runs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.evidence.local_fit import NORMAL_90
from advisor.evidence.observations import Observation, Run
from advisor.sizing.distance import REPEATS
from probes.place import own_products

__all__ = ["Phases", "Row", "by_model", "distinct", "memory_changes", "middle", "phases", "product_changes", "width_of"]

Floats = NDArray[np.float64]
Row = tuple[Run, Observation, float]  # with log(measured / fitted)

UNKNOWN_WIDTH = math.log(2.0)


@dataclass(frozen=True, slots=True)
class Phases:
    """Rows by what was timed. `decode`: of one sequence, or of several where nothing else was run."""

    decode: Sequence[Row]
    loaded: Sequence[Row]
    prefill: Sequence[Row]

    def positions(self) -> dict[str, Any]:
        """Where each was measured, by the field of `LocalCalibration`, ascending."""
        return {
            "contexts": _ascending(seen.context_tokens for _, seen, _ in self.decode),
            "loaded_contexts": _ascending(seen.context_tokens for _, seen, _ in self.loaded),
            "prompts": _ascending(seen.context_tokens for _, seen, _ in self.prefill),
            "sequences": _ascending(seen.sequences for _, seen, _ in (*self.decode, *self.loaded)),
        }


def phases(rows: Sequence[Row]) -> Phases:
    decode = [row for row in rows if not row[1].is_prefill]
    loaded = [row for row in decode if row[1].sequences > 1]
    alone = [row for row in decode if row[1].sequences == 1]
    return Phases(alone or decode, loaded, [row for row in rows if row[1].is_prefill])


def _ascending(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted({float(value) for value in values if value > 0}))


def distinct(rows: Sequence[Row]) -> list[Run]:
    """Newest first."""
    return list({run.result.id: run for run, _, _ in rows}.values())


def middle(rows: Sequence[Row]) -> float:
    """Weighted median of the remainders; 0 of none."""
    return _weighted_median(_rests(rows), _weights(rows)) if rows else 0.0


def by_model(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each model, in order of appearance."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[0].plan.variant.id].append(row)
    return dict(found)


def memory_changes(runs: Sequence[Run]) -> float:
    """Standard deviation, log units, of the memory's speed from run to run, whatever they ran."""
    return stdev(math.log(run.bandwidth_bytes_per_s) for run in runs) if len(runs) > 1 else 0.0


def product_changes(runs: Sequence[Run]) -> float:
    """Likewise of matrix products, which prompts wait for; 0 on accelerators, whose rate is the datasheet's."""
    rates = [own_products(run.result).get("fp32", 0.0) for run in runs if run.plan.device is None]
    known = [math.log(rate) for rate in rates if rate > 0]
    return stdev(known) if len(known) > 1 else 0.0


def width_of(rows: Sequence[Row], changes: float) -> float:
    """Half-width of the 90 % interval, log units: scatter of rows, spread and disturbance inside them, and `changes`
    of the rate that a phase waits for, as a standard deviation.
    """
    if not rows:
        return UNKNOWN_WIDTH
    weights = _weights(rows)
    inside = float(np.average([seen.width for _, seen, _ in rows], weights=weights))
    return max(REPEATS, math.hypot(NORMAL_90 * _scatter(_rests(rows), weights), inside, NORMAL_90 * changes))


def _rests(rows: Sequence[Row]) -> Floats:
    return np.array([rest for _, _, rest in rows])


def _weights(rows: Sequence[Row]) -> Floats:
    return np.array([1 / (REPEATS**2 + seen.width**2) for _, seen, _ in rows])


def _weighted_median(values: Floats, weights: Floats) -> float:
    """The ordinary median where all weigh the same."""
    order = np.argsort(values)
    upto = np.cumsum(weights[order])
    return float(np.interp(0.5, (upto - weights[order] / 2) / upto[-1], values[order]))


def _scatter(values: Floats, weights: Floats) -> float:
    """Weighted standard deviation; the ordinary one where all weigh the same."""
    if len(values) < 2:
        return 0.0
    share = weights / weights.sum()
    variance = float(share @ (values - share @ values) ** 2)
    return math.sqrt(variance * len(values) / (len(values) - 1))
