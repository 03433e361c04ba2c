"""Predicted value of every measured row from effects: the quantity the source measured, in its unit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from advisor.evidence.cases import Cases
from advisor.sizing.efficiency import EfficiencyTable, apply_link, on_processors
from advisor.sizing.pairings import gathered, taken_inputs
from advisor.sizing.response import respond
from advisor.sizing.step import priced

__all__ = ["best_layout", "log_values", "predict_rows", "taken"]

Floats = NDArray[np.float64]
Index = NDArray[np.intp]


def log_values(cases: Cases, effects: Mapping[str, Floats]) -> Floats:
    """Natural logarithm of the predicted metric of each case."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        e = on_processors(apply_link(effects), cases.inputs.machine.tiled <= 0)
        response = respond(priced(cases.inputs, e), cases.work)
        work = cases.work
        rate = np.where(cases.saturated, response.saturated_tok_s, response.closed_tok_s) * cases.replicas
        both = (work.input_tokens + work.output_tokens) / np.maximum(work.output_tokens, 1)
        measured = {
            "decode_tok_s": work.sequences / response.decode.total,
            "prefill_tok_s": work.input_tokens / response.prefill.total,
            "tpot_ms": response.tpot_s * 1e3,
            "ttft_ms": response.ttft_s * 1e3,
            "output_tok_s": rate,
            "total_tok_s": rate * both,
        }
        value = np.select([cases.metric == name for name in measured], list(measured.values()))
        slower = np.where(np.isin(cases.metric, ("tpot_ms", "ttft_ms")), e.bias, 1 / e.bias)
        logs: Floats = np.log(np.maximum(value * slower, 1e-9))
    return logs


def best_layout(cases: Cases, logs: Floats) -> Index:
    """For every row the case with the highest rate; rows with several cases measure rates."""
    order = np.lexsort((-logs, cases.row))
    first = np.concatenate([[True], np.diff(cases.row[order]) != 0])
    chosen: Index = order[first]
    return chosen


def taken(cases: Cases, index: Index) -> Cases:
    """The chosen cases."""
    return Cases(
        row=cases.row[index],
        metric=cases.metric[index],
        inputs=taken_inputs(cases.inputs, index),
        columns=cases.columns,
        work=gathered(cases.work, index),
        saturated=cases.saturated[index],
        replicas=cases.replicas[index],
    )


def predict_rows(cases: Cases, table: EfficiencyTable) -> Floats:
    """Natural logarithm of the prediction of every row."""
    logs = log_values(cases, table.effects(cases.columns))
    chosen: Floats = logs[best_layout(cases, logs)]
    return chosen
