"""Cascades: a small model answers first, and a share of the requests is asked again of a larger one."""

from __future__ import annotations

import numpy as np

from advisor.catalog.errors import InputError
from advisor.serving.workload import RequestTable

__all__ = ["escalate"]


def escalate(table: RequestTable, share: float, classes: int, seed: int = 0) -> tuple[RequestTable, np.ndarray]:
    """Appends one more request for a random `share` of the rows, and returns the table and the rows chosen.

    Row n + k asks again what row `chosen[k]` asked, as soon as that one has its answer, with the same lengths and in
    class `request_class + classes`. A later turn of the conversation waits for the second answer. Raises InputError.
    """
    if not 0 < share <= 1:
        raise InputError("escalated share", "more than 0 and at most 1", share)
    n = len(table)
    chosen = np.flatnonzero(np.random.default_rng([seed, 77]).random(n) < share)
    again = n + np.arange(len(chosen))
    follows = table.follows.copy() if len(table.follows) else np.full(n, -1)
    second = np.full(n, -1)
    second[chosen] = again
    later = follows >= 0
    moved = second[follows[later]]
    follows[later] = np.where(moved >= 0, moved, follows[later])
    think = table.think_s if len(table.think_s) else np.zeros(n)
    reasoning = table.reasoning_tokens if len(table.reasoning_tokens) else np.zeros(n, dtype=np.int64)
    shared = table.shared_tokens if len(table.shared_tokens) else np.zeros(n, dtype=np.int64)
    more = {
        "arrival_s": np.concatenate([table.arrival_s, np.zeros(len(chosen))]),
        "input_tokens": _with(table.input_tokens, chosen),
        "output_tokens": _with(table.output_tokens, chosen),
        "prefix_hit_tokens": _with(table.prefix_hit_tokens, chosen),
        "request_class": np.concatenate([table.request_class, table.request_class[chosen] + classes]),
        "shared_tokens": _with(shared, chosen),
        "follows": np.concatenate([follows, chosen]),
        "think_s": np.concatenate([think, np.zeros(len(chosen))]),
        "reasoning_tokens": _with(reasoning, chosen),
    }
    return RequestTable(**more), chosen


def _with(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.concatenate([values, values[rows]])
