"""From a trace to a workload: its lengths as quantiles, its mean rate and the variation of its arrivals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.serving.lengths import LengthDistribution
from advisor.serving.workload import SINGLE_CLASS, ArrivalKind, ArrivalProcess, RequestClass, RequestTable, Workload

__all__ = ["workload_of_trace"]

_QUANTILES = (0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1)
_LEAST_CV, _MOST_CV = 0.05, 50.0


def workload_of_trace(table: RequestTable, name: str) -> Workload:
    """Traffic with the trace's statistics; input and output are drawn independently, as for the built-in traces.

    Raises InputError for a trace whose requests all arrive at the same moment: it has no rate.
    """
    span = float(table.arrival_s[-1] - table.arrival_s[0])
    if len(table) < 2 or span <= 0:
        raise InputError(name, "at least two requests at different times, to have a rate", len(table))
    gaps = np.diff(table.arrival_s)
    cv = float(gaps.std() / gaps.mean())
    hits = float(table.prefix_hit_tokens.sum() / table.input_tokens.sum())
    return Workload(
        id=name,
        name=name,
        name_zh=name,
        arrivals=ArrivalProcess(ArrivalKind.GAMMA, (len(table) - 1) / span, float(np.clip(cv, _LEAST_CV, _MOST_CV))),
        classes=(
            RequestClass(
                SINGLE_CLASS,
                _lengths(table.input_tokens),
                _lengths(table.output_tokens),
                prefix_hit_share=hits,
            ),
        ),
    )


def _lengths(tokens: NDArray[np.int64]) -> LengthDistribution:
    return LengthDistribution.empirical(_QUANTILES, np.quantile(tokens, _QUANTILES).tolist())
