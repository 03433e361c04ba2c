"""How much less a measurement says the further away one asks: fitted to pairs of published measurements.

Two rows of one machine, engine, format and source, of which only one position differs, tell by the difference of their
out-of-fold residuals how far the step model drifts from a measurement that it was set to exactly. The 90th percentile
of that difference is `sqrt(repeat² + slope² · |log ratio of the positions|)`: a random walk, as variograms in
geostatistics have it. Both numbers minimise the pinball loss (Koenker & Bassett 1978); a group of m rows has m(m-1)/2
pairs but m - 1 independent differences, and counts as such.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from advisor.evidence.cases import Cases
from advisor.evidence.truth import TruthRow
from advisor.sizing.distance import Drift
from advisor.sizing.products import product_elements

__all__ = ["fit_distances", "fit_drift"]

Floats = NDArray[np.float64]

LEVEL = 0.9
STEP, MOST = 0.005, 0.8  # log units, of the grid that is searched
SAME = 0.05  # log units: positions that count as equal
ALIKE = 0.35  # of lengths, between models
_DECODE, _PREFILL = ("decode_tok_s", "tpot_ms"), ("prefill_tok_s", "ttft_ms")


@dataclass(frozen=True, slots=True)
class _Position:
    """Natural logarithms of where a row was measured."""

    context: float  # tokens cached while decoding, or at the end of a prompt
    sequences: float
    product: float  # elements of a typical matrix of a layer


def fit_distances(rows: Sequence[TruthRow], cases: Cases, residuals: Floats) -> dict[str, Drift]:
    """Drift by phase and axis, from residuals in log units of rows predicted without their device, shape (rows,)."""
    positions = _positions(rows, cases)
    found = {}
    for phase, metrics in (("decode", _DECODE), ("prefill", _PREFILL)):
        mine = [n for n, row in enumerate(rows) if row.metric in metrics]
        for axis in ("context", "sequences", "product"):
            pairs = list(_pairs(rows, positions, mine, axis))
            if len(pairs) >= 10:
                found[f"{phase}|{axis}"] = fit_drift(*_arrays(pairs, positions, residuals, axis))
    return found


def fit_drift(distance: Floats, difference: Floats, weight: Floats) -> Drift:
    """`distance` >= 0, `difference` in log units and `weight`, arrays of shape (pairs,)."""
    steps = np.arange(0.0, MOST + STEP, STEP)
    repeat, slope = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    loss = np.zeros(len(repeat))
    for d, e, w in zip(distance, np.abs(difference), weight, strict=True):
        beyond = e - np.sqrt(repeat**2 + slope**2 * d)
        loss += w * np.maximum(LEVEL * beyond, (LEVEL - 1) * beyond)
    best = int(np.argmin(loss))
    return Drift(round(float(repeat[best]), 4), round(float(slope[best]), 4), len(distance))


def _positions(rows: Sequence[TruthRow], cases: Cases) -> list[_Position]:
    """Of the first layout of each row."""
    first = np.unique(cases.row, return_index=True)[1]
    work = cases.work
    decode = np.maximum(work.decode_context, 1.0)[first]
    prefill = np.maximum(work.input_tokens + work.depth, 1.0)[first]
    return [
        _Position(
            context=float(np.log(prefill[n] if row.metric in _PREFILL else decode[n])),
            sequences=float(np.log(row.number("concurrency") or 1.0)),
            product=float(np.log(product_elements(row.key.variant.architecture))),
        )
        for n, row in enumerate(rows)
    ]


def _pairs(
    rows: Sequence[TruthRow], positions: Sequence[_Position], mine: Sequence[int], axis: str
) -> Iterator[tuple[int, int, float]]:
    """(row, row, weight) of those that differ along one axis only."""
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for n in mine:
        groups[_conditions(rows[n], axis)].append(n)
    for members in groups.values():
        found = [(a, b) for a, b in combinations(members, 2) if _only(axis, rows, positions, a, b)]
        size = len({n for pair in found for n in pair})
        yield from ((a, b, (size - 1) / len(found)) for a, b in found)


def _conditions(row: TruthRow, axis: str) -> tuple[object, ...]:
    numbers = ("tp", "pp", "ubatch", "flash_attention", "threads", "max_num_seqs")
    model = () if axis == "product" else (row.key.variant.id,)
    return (
        row.device_key, row.runtime.engine.id, row.runtime.backend, row.n_devices, row.offload, row.key.format.id,
        row.metric, row.load_mode, row.host_path, row.source, row.year, *(row.number(name) for name in numbers), *model,
    )  # fmt: skip


def _only(axis: str, rows: Sequence[TruthRow], positions: Sequence[_Position], a: int, b: int) -> bool:
    one, other = positions[a], positions[b]
    if axis == "product":
        alike = abs(one.context - other.context) < ALIKE and abs(one.sequences - other.sequences) < SAME
        return alike and rows[a].key.variant.id != rows[b].key.variant.id
    rest = "sequences" if axis == "context" else "context"
    gaps = {name: abs(float(getattr(one, name)) - float(getattr(other, name))) for name in (rest, axis)}
    return gaps[rest] < SAME < gaps[axis]


def _arrays(
    pairs: Sequence[tuple[int, int, float]], positions: Sequence[_Position], residuals: Floats, axis: str
) -> tuple[Floats, Floats, Floats]:
    distance = np.array([abs(getattr(positions[a], axis) - getattr(positions[b], axis)) for a, b, _ in pairs])
    difference = np.array([residuals[a] - residuals[b] for a, b, _ in pairs])
    return distance, difference, np.array([weight for _, _, weight in pairs])
