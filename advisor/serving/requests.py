"""Checks on tables of requests, whoever made them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError
from advisor.serving.workload import RequestTable

__all__ = ["MAX_REQUESTS", "check_requests", "request_table"]

MAX_REQUESTS = 5_000_000
MAX_TOKENS = 2_000_000_000


def request_table(
    arrival_s: NDArray[np.float64],
    input_tokens: NDArray[np.int64],
    output_tokens: NDArray[np.int64],
    prefix_hit_tokens: NDArray[np.int64] | None = None,
    request_class: NDArray[np.int64] | None = None,
) -> RequestTable:
    """A checked table of requests of one class, in order of arrival. Raises InputError."""
    none = np.zeros(len(arrival_s), dtype=np.int64)
    table = RequestTable(
        np.asarray(arrival_s, dtype=np.float64),
        np.asarray(input_tokens, dtype=np.int64),
        np.asarray(output_tokens, dtype=np.int64),
        none if prefix_hit_tokens is None else np.asarray(prefix_hit_tokens, dtype=np.int64),
        none if request_class is None else np.asarray(request_class, dtype=np.int64),
    )
    check_requests(table)
    return table


def check_requests(table: RequestTable) -> None:
    """Raises InputError that names the first bad request (counted from 1)."""
    if not 1 <= len(table) <= MAX_REQUESTS:
        raise InputError("requests", f"1..{MAX_REQUESTS:,} rows (take a sample of a longer trace)", f"{len(table):,}")
    for name in ("input_tokens", "output_tokens", "prefix_hit_tokens", "request_class"):
        if len(getattr(table, name)) != len(table):
            raise InputError(name, f"{len(table)} values, one per request", len(getattr(table, name)))
    _each(np.isfinite(table.arrival_s) & (table.arrival_s >= 0), "arrival_s", "a finite time >= 0", table.arrival_s)
    gaps = np.diff(table.arrival_s, prepend=table.arrival_s[0])
    if not len(table.follows):
        _each(gaps >= 0, "arrival_s", "times in order of arrival", table.arrival_s)
    for name, low in (("input_tokens", 1), ("output_tokens", 1), ("prefix_hit_tokens", 0), ("request_class", 0)):
        values = getattr(table, name)
        _each((values >= low) & (values < MAX_TOKENS), name, f"a whole number >= {low}", values)
    hit = table.prefix_hit_tokens
    _each(hit <= table.input_tokens, "prefix_hit_tokens", "no more than input_tokens", hit)


def _each(good: NDArray[np.bool_], field: str, expected: str, values: NDArray[np.generic]) -> None:
    if not good.all():
        bad = int(np.argmin(good))
        raise InputError(f"request {bad + 1}, {field}", expected, values[bad])
