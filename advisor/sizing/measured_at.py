"""Where own measurements were made, and how much wider the interval of a plan is for being elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.calibration_records import LocalCalibration
from advisor.sizing.distance import NO_DRIFT, REPEATS, Drift, gap
from advisor.sizing.response import Work

__all__ = ["PREFILL_METRICS", "Away", "MeasuredAt"]

Floats = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

PREFILL_METRICS = ("prefill", "ttft")


@dataclass(frozen=True, slots=True)
class Away:
    """What distance adds to the half-widths of plans, log units, shape (plans,)."""

    decode: Floats
    prefill: Floats

    @property
    def is_there(self) -> Mask:
        """Adds no more than a repeated measurement may differ by."""
        there: Mask = np.maximum(self.decode, self.prefill) <= REPEATS
        return there


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredAt:
    """`by`: of each pairing, the item whose positions hold, -1 for none. `loaded`: several sequences at once, likewise.
    `widths`: half-widths in log units by metric where something was measured. `limits`: the public ones, which distance
    does not exceed.
    """

    items: tuple[LocalCalibration, ...]
    by: Index
    loaded: Mask
    widths: Mapping[str, Floats]
    limits: Mapping[str, Floats]
    drifts: Mapping[str, Drift]

    def away(self, index: Index, work: Work) -> Away:
        """Of plans with the pairings `index`, under their work."""
        decode, prefill = np.zeros(len(index)), np.zeros(len(index))
        for rows, item, several in self._groups(index):
            contexts = item.loaded_contexts if several else item.contexts
            depth = self._drift("decode|context").at(gap(work.decode_context[rows], contexts))
            batch = self._drift("decode|sequences").at(gap(work.sequences[rows], item.sequences))
            decode[rows] = np.hypot(depth, batch)
            tokens = work.input_tokens[rows] + work.depth[rows]
            prefill[rows] = self._drift("prefill|context").at(gap(tokens, item.prompts))
        return Away(decode, prefill)

    def factors_90(self, metric: str, index: Index, away: Away) -> Floats:
        """Half-widths of plans as factors."""
        here = self.widths[metric][index]
        wider = np.hypot(here, away.prefill if metric in PREFILL_METRICS else away.decode)
        factors: Floats = np.exp(np.minimum(wider, np.maximum(here, self.limits[metric][index])))
        return factors

    def _groups(self, index: Index) -> Iterator[tuple[Mask, LocalCalibration, bool]]:
        by, loaded = self.by[index], self.loaded[index]
        for n, item in enumerate(self.items):
            for several in (False, True):
                rows = (by == n) & (loaded == several)
                if rows.any():
                    yield rows, item, several

    def _drift(self, name: str) -> Drift:
        return self.drifts.get(name, NO_DRIFT)
