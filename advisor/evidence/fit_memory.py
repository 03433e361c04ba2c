"""Fits the memory coefficients to data/truth/memory*.csv and writes data/calibration_memory.yaml.

Run `python -m advisor.evidence.fit_memory`. Each engine's workspace is a sum of physical features with non-negative
coefficients, fitted with a robust loss on relative errors and drawn weakly towards 1 (the value that the shape alone
would give). Intervals are quantiles of measured / predicted with every row predicted by a fit that did not see its
model; `cross_validated` holds the scores of such fits, by model and by source.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.paths import DATA_DIR
from advisor.evidence.memory_rows import MemoryRow, read_memory_rows, workspace_of
from advisor.evidence.memory_truth import MemoryParts, row_parts, whole_gguf_file
from advisor.sizing.memory import load_memory_model, visible_keys, workspace_features, workspace_kind

__all__ = ["TRUTH_FILES", "fit_memory"]

Floats = NDArray[np.float64]
TRUTH_FILES = (DATA_DIR / "truth" / "memory.csv", DATA_DIR / "truth" / "memory_more.csv")
FEW = 5
ROUNDING = 1e-3  # logs print two decimals of a mebibyte or gibibyte
DRAW = 0.02  # weight of one pseudo-row that says "coefficient 1" for features that are bytes
UTILISATION_THEN = 0.9  # vLLM's default at the time of the reports
COUNTED = frozenset({"one", "vocab", "int4"})  # features in other units than bytes: no pseudo-row


@dataclass(frozen=True, slots=True)
class _Case:
    row: MemoryRow
    parts: MemoryParts


def fit_memory(paths: Sequence[Path], catalog: Catalog) -> dict[str, Any]:
    """The content of calibration_memory.yaml, from all rows of the files."""
    cases = _cases([row for path in paths for row in read_memory_rows(path)], catalog)
    kinds: dict[str, list[_Case]] = defaultdict(list)
    for case in cases:
        if case.parts.kind and case.row.what in ("compute_buffer_bytes", "peak_bytes"):
            kinds[case.parts.kind].append(case)
    models: dict[str, Any] = {}
    ratios: dict[str, list[float]] = defaultdict(list)
    for kind, own in sorted(kinds.items()):
        models[kind] = _model(own)
        for case, ratio in zip(own, _left_out(own), strict=True):
            ratios[case.parts.group].append(ratio)
    for case in cases:
        if not case.parts.kind and case.parts.exact > 0:
            ratios[case.parts.group].append(case.row.value_bytes / case.parts.exact)
    intervals = _intervals(ratios)
    for model in models.values():
        if model["rows"] < FEW:  # too few to speak for themselves
            model |= {name: intervals["buffer"][name] for name in ("low", "high")}
    return {
        "models": models,
        "intervals": intervals,
        "cross_validated": {"by_model": _scores(kinds, _by_model), "by_source": _scores(kinds, _by_source)},
        "header_bytes_per_token": _header(cases, catalog),
        **_server_constants(cases, models["server"], catalog),
        "visible_share": _visible(catalog),
    }


def _cases(rows: Sequence[MemoryRow], catalog: Catalog) -> list[_Case]:
    out = []
    for row in rows:
        if row.what == "peak_bytes" and not row.context_tokens:  # its cache is an assumption
            continue
        try:
            out.append(_Case(row, row_parts(row, catalog)))
        except ValueError:  # named by `predict_memory_rows`
            continue
    return out


def _model(cases: Sequence[_Case]) -> dict[str, Any]:
    names, design, target = _design(cases)
    coefficients = _solve(names, design, target)
    errors = np.abs(_predicted(design, coefficients) / target - 1)
    held = _interval(_left_out(cases))
    return {
        "bytes_per": {n: float(f"{c:.6g}") for n, c in zip(names, coefficients, strict=True)},
        "rows": len(cases),
        "median_error": float(f"{np.median(errors):.4g}"),
        "p90_error": float(f"{np.quantile(errors, 0.9):.4g}"),
        "low": held["low"],
        "high": held["high"],
    }


def _design(cases: Sequence[_Case]) -> tuple[list[str], Floats, Floats]:
    """Columns: the features, then the exact bytes; target: measured bytes."""
    names = list(dict.fromkeys(n for case in cases for n in case.parts.features))
    rows = [[float(case.parts.features.get(n, 0.0)) for n in names] + [case.parts.exact] for case in cases]
    return names, np.array(rows), np.array([case.row.value_bytes for case in cases])


def _solve(names: Sequence[str], design: Floats, target: Floats) -> Floats:
    """Non-negative least squares on relative errors, robust (Cauchy)."""
    from scipy.optimize import least_squares

    features, exact = design[:, :-1], design[:, -1]
    drawn = np.array([0.0 if n in COUNTED else DRAW for n in names])
    start = np.array([1e7 if n == "one" else 1.0 for n in names])
    unit = np.where(start > 1, start, 1.0)

    def residuals(x: Floats) -> Floats:
        predicted = features @ (x * unit) + exact
        return np.concatenate([(predicted / target - 1) * 10, drawn * (x - 1)])

    found = least_squares(residuals, np.ones(len(names)), bounds=(0, np.inf), loss="cauchy", f_scale=0.5)
    solution: Floats = found.x * unit
    return solution


def _predicted(design: Floats, coefficients: Floats) -> Floats:
    predicted: Floats = design[:, :-1] @ coefficients + design[:, -1]
    return predicted


def _by_model(row: MemoryRow) -> str:
    return row.model_id


def _by_row(row: MemoryRow) -> str:
    return row.id


def _by_source(row: MemoryRow) -> str:
    return f"{row.source} {row.source_ref}"


def _left_out(cases: Sequence[_Case], group: Callable[[MemoryRow], str] = _by_model) -> list[float]:
    """Measured / predicted, each row by a fit without its group.

    Where one group is all there is: without its model; where one model is all: without the row.
    """
    names, design, target = _design(cases)
    choices = [np.array([name(case.row) for case in cases]) for name in (group, _by_model, _by_row)]
    groups = next((found for found in choices if len(set(found)) > 1), choices[-1])
    out = np.ones(len(cases))
    for one in sorted(set(groups)):
        held = groups == one
        keep = ~held if not held.all() else held
        coefficients = _solve(names, design[keep], target[keep])
        out[held] = target[held] / _predicted(design[held], coefficients)
    return [float(ratio) for ratio in out]


def _scores(kinds: Mapping[str, Sequence[_Case]], group: Callable[[MemoryRow], str]) -> dict[str, Any]:
    """Errors of buffers and peaks whose group the fit did not see, over all engines and by engine."""
    errors = {kind: np.abs(1 / np.array(_left_out(cases, group)) - 1) for kind, cases in sorted(kinds.items())}
    return {name: _score(found) for name, found in {"all": np.concatenate(list(errors.values())), **errors}.items()}


def _score(errors: Floats) -> dict[str, Any]:
    return {
        "rows": len(errors),
        "median_error": float(f"{np.median(errors):.4g}"),
        "within_20_percent": float(f"{np.mean(errors <= 0.2):.4g}"),
    }


def _intervals(ratios: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """By group, and by the first word of the groups; a group of few rows takes the interval of its word."""
    pooled: dict[str, list[float]] = defaultdict(list)
    for group, values in ratios.items():
        pooled[group.split("_")[0]] += values
    own = {group: values if len(values) >= FEW else pooled[group.split("_")[0]] for group, values in ratios.items()}
    return {group: _interval(values) for group, values in sorted({**pooled, **own}.items())}


def _interval(ratios: Sequence[float]) -> dict[str, Any]:
    """Split-conformal 90 % interval: the shortest that holds 90 % of n + 1 ratios, all of them where rows are few.

    Never narrower than the rounding of the sources.
    """
    ordered = sorted(ratios)
    n = len(ordered)
    held = min(ceil(0.9 * (n + 1)), n)
    low, high = min(zip(ordered, ordered[held - 1 :], strict=False), key=lambda ends: ends[1] / ends[0])
    return {
        "low": round(floor(1e5 * min(low, 1 - ROUNDING)) / 1e5, 5),  # outwards: the rows at the ends stay inside
        "high": round(ceil(1e4 * max(high, 1 + ROUNDING)) / 1e4, 4),
        "rows": n,
    }


def _header(cases: Sequence[_Case], catalog: Catalog) -> float:
    """Median of (file - tensors) per vocabulary entry over whole GGUF files."""
    now = load_memory_model().header_bytes_per_token
    found = []
    for case in cases:
        if whole_gguf_file(case.row) and case.parts.group == "weights":
            vocab = catalog.variant(case.row.model_id).architecture.vocab_size
            tensors = case.parts.exact - now * vocab
            found.append((case.row.value_bytes - tensors) / vocab)
    return float(f"{max(median(found), 0.0):.4g}") if found else 0.0


def _server_constants(cases: Sequence[_Case], server: Mapping[str, Any], catalog: Catalog) -> dict[str, float]:
    """What vLLM holds beside weights, pool and profiled peak: one device, and more in a group."""
    alone: list[float] = []
    grouped: list[float] = []
    for case in cases:
        row = case.row
        if row.what != "kv_pool_bytes":
            continue
        device = catalog.device(row.device_id)
        visible = row.device_visible_gib * 2**30 or float(device.usable_memory_bytes or device.memory_bytes)
        budget = visible * (row.gpu_memory_utilization or UTILISATION_THEN)
        features = workspace_features(workspace_kind(row.engine_id), workspace_of(row, catalog))
        weights = row_parts(_loaded(row), catalog).exact
        rest = budget - weights - row.value_bytes - server["bytes_per"]["peak"] * float(np.asarray(features["peak"]))
        (grouped if row.tp > 1 else alone).append(rest)
    base = max(median(alone), 0.0) if alone else 0.0
    extra = max(median(grouped) - base, 0.0) if grouped else 0.0
    return {"non_torch_bytes": float(f"{base:.4g}"), "collective_bytes": float(f"{extra:.4g}")}


def _loaded(row: MemoryRow) -> MemoryRow:
    return replace(row, what="weights_bytes", scope="gpu")


def _visible(catalog: Catalog) -> dict[str, float]:
    """Driver-visible share of the label, by class and kind of memory, where the catalogue knows both."""
    shares: dict[str, list[float]] = defaultdict(list)
    for device in catalog.devices.values():
        if device.usable_memory_bytes is not None and not device.unified_memory:
            for name in visible_keys(device):
                shares[name].append(device.usable_memory_bytes / device.memory_bytes)
    return {name: float(f"{median(values):.4g}") for name, values in sorted(shares.items()) if len(values) > 2}


def main() -> None:
    content = fit_memory(TRUTH_FILES, load_catalog())
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    note = "# Written by `python -m advisor.evidence.fit_memory` from data/truth/memory*.csv; do not edit.\n"
    (DATA_DIR / "calibration_memory.yaml").write_text(note + text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
