"""Seconds of one engine step, as the simulator needs them.

t_step = step_s[tokens in the batch] + c * (cached tokens read by decodes) + cpre * A, with c = `cdec` in
decode-only steps and `cmix` in steps that also prefill, and A = sum over prefill chunks of
max(chunk, `cmin`) * (tokens before the chunk + chunk / 2). The form is that of DistServe's and vidur's simulators.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import DataError

__all__ = ["StepCosts", "read_step_costs", "step_costs_from_mapping"]

MAX_TOKENS_IN_BATCH = 1_048_576
_NUMBERS = ("cdec", "cmix", "cpre")
_COUNTS = {"cmin": 0, "kvcap_tokens": 1, "max_num_seqs": 1, "max_num_batched_tokens": 1, "dp": 1}
_DEFAULTS = {"cmin": 0, "dp": 1}


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Costs of one engine. With `dp` > 1 every count and capacity is that of one of `dp` ranks in lock step."""

    ntok: tuple[int, ...]
    step_s: tuple[float, ...]
    cdec: float  # seconds per cached token read
    cmix: float
    cpre: float  # seconds per query token times context token
    cmin: int
    kvcap_tokens: int
    max_num_seqs: int
    max_num_batched_tokens: int
    dp: int = 1
    outside_s: float = 0.0  # of a request in the server around the engine, before its first step; takes no seat

    def table(self) -> NDArray[np.float64]:
        """Seconds by number of tokens 0..max_num_batched_tokens, linear between the rows given.

        Beyond the last row the slope of the last two rows goes on; below the first the first value holds.
        """
        tokens = np.arange(self.max_num_batched_tokens + 1, dtype=np.float64)
        seconds = np.interp(tokens, self.ntok, self.step_s)
        if len(self.ntok) > 1 and self.max_num_batched_tokens > self.ntok[-1]:
            slope = (self.step_s[-1] - self.step_s[-2]) / (self.ntok[-1] - self.ntok[-2])
            beyond = tokens > self.ntok[-1]
            seconds[beyond] = self.step_s[-1] + max(0.0, slope) * (tokens[beyond] - self.ntok[-1])
        return np.asarray(seconds, dtype=np.float64)

    def scaled(self, factor: float) -> StepCosts:
        """The same engine with every step `factor` times as long."""
        return replace(
            self,
            step_s=tuple(s * factor for s in self.step_s),
            cdec=self.cdec * factor,
            cmix=self.cmix * factor,
            cpre=self.cpre * factor,
        )


def read_step_costs(path: Path, entry: str | None = None) -> StepCosts:
    """Read one step model, or `entry` of a file that holds several by name. Raises DataError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise DataError(path.name, "", "", f"a readable file ({problem.strerror})") from problem
    except ValueError as problem:
        raise DataError(path.name, "", "", "valid JSON", problem) from problem
    return step_costs_from_mapping(_pick(content, entry, path.name), path.name, entry or "")


def step_costs_from_mapping(values: object, file: str = "step model", record: str = "") -> StepCosts:
    """Check every field. Raises DataError that names the first wrong one."""
    if not isinstance(values, Mapping):
        raise DataError(file, record, "", "an object with ntok, step_s, cdec, cmix, cpre, kvcap_tokens, …", values)
    ntok, step_s = _table_rows(values, file, record)
    numbers = {key: _number(values, key, file, record) for key in _NUMBERS}
    counts = {key: _count(values, key, low, file, record) for key, low in _COUNTS.items()}
    if counts["max_num_batched_tokens"] < counts["max_num_seqs"]:
        got = counts["max_num_batched_tokens"]
        raise DataError(file, record, "max_num_batched_tokens", f">= max_num_seqs ({counts['max_num_seqs']})", got)
    if counts["max_num_batched_tokens"] > MAX_TOKENS_IN_BATCH:
        raise DataError(file, record, "max_num_batched_tokens", f"<= {MAX_TOKENS_IN_BATCH}")
    return StepCosts(ntok=ntok, step_s=step_s, **numbers, **counts)  # type: ignore[arg-type]


def _pick(content: object, entry: str | None, file: str) -> object:
    if not isinstance(content, Mapping) or "ntok" in content:
        return content
    names = [name for name, value in content.items() if isinstance(value, Mapping) and "ntok" in value]
    if entry is None and len(names) == 1:
        return content[names[0]]
    if entry is None and not names:
        return content
    if entry not in names:
        raise DataError(file, entry or "", "", f"one of the entries {', '.join(names) or '(none)'} (--entry)", entry)
    return content[entry]


def _table_rows(values: Mapping[str, object], file: str, record: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    rows, seconds = _list(values.get("ntok")), _list(values.get("step_s"))
    if not rows or not seconds:
        raise DataError(file, record, "ntok, step_s", "two lists of numbers of the same length")
    if len(rows) != len(seconds):
        raise DataError(file, record, "step_s", f"{len(rows)} values, one for each ntok", len(seconds))
    ntok = tuple(_whole(n, "ntok", 0, file, record) for n in rows)
    step_s = tuple(_finite(s, "step_s", file, record) for s in seconds)
    if any(b <= a for a, b in pairwise(ntok)):
        raise DataError(file, record, "ntok", "increasing numbers of tokens")
    if all(s == 0 for s in step_s):
        raise DataError(file, record, "step_s", "at least one step longer than 0 s")
    return ntok, step_s


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _number(values: Mapping[str, object], key: str, file: str, record: str) -> float:
    if key not in values:
        raise DataError(file, record, key, "a number of seconds >= 0", "nothing")
    return _finite(values[key], key, file, record)


def _count(values: Mapping[str, object], key: str, low: int, file: str, record: str) -> int:
    if key not in values and key not in _DEFAULTS:
        raise DataError(file, record, key, f"a whole number >= {low}", "nothing")
    return _whole(values.get(key, _DEFAULTS.get(key)), key, low, file, record)


def _finite(value: object, key: str, file: str, record: str) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    if not good:
        raise DataError(file, record, key, "a finite number of seconds >= 0", value)
    return float(value)  # type: ignore[arg-type]


def _whole(value: object, key: str, low: int, file: str, record: str) -> int:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < low or value != int(value):  # type: ignore[operator,call-overload]
        raise DataError(file, record, key, f"a whole number >= {low}", value)
    return int(value)  # type: ignore[call-overload,no-any-return]
