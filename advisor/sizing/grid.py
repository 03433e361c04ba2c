"""Bytes and seconds of many plans at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.columns import LoadColumns, PlanColumns, Tuning
from advisor.sizing.plan import Binding

__all__ = ["BINDINGS", "GridResult", "Range", "evaluate"]

BINDINGS = tuple(Binding)  # codes of GridResult.binding are positions in this tuple

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Range:
    """A predicted number with its 90 % interval, arrays of shape (plans,)."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class GridResult:
    """Answers for every plan, arrays of shape (plans,). Bytes are of the fullest device of one replica.

    `fits`: the load's sequences fit at once. Seconds and rates are those of one replica and are given whether or
    not it fits. `extrapolated`: outside what the calibration has seen. `shares`: of a decode step's time, in the
    order of BINDINGS (capacity is always 0).
    """

    fits: NDArray[np.bool_]
    binding: NDArray[np.intp]
    shortfall_bytes: Floats
    weights_bytes: Floats
    kv_cache_bytes: Floats
    activation_bytes: Floats
    overhead_bytes: Floats
    usable_bytes: Floats
    host_bytes: Floats
    max_concurrency: Floats
    max_context_tokens: Floats
    prefill_tok_s: Range
    decode_tok_s: Range  # per sequence
    output_tok_s: Range  # all sequences of one replica
    ttft_s: Range
    tpot_s: Range
    extrapolated: NDArray[np.bool_]
    shares: Floats  # shape (plans, len(BINDINGS))


def evaluate(plans: PlanColumns, loads: LoadColumns, tuning: Tuning | None = None) -> GridResult:
    """Sizes every plan under its load; about a microsecond per plan."""
    raise NotImplementedError
