"""How much of the datasheet each engine reaches on each machine: fitted effects, and local replacements.

An effect is `link(base + Σ coefficient · covariate)` over terms; a term is a set of factors (engine, back end,
device class, …) whose level picks the coefficient, times an optional covariate. Unknown levels have coefficient 0,
so an unseen device falls back to its generation, class and engine. The coefficients are `data/calibration.yaml`,
written by `advisor calibrate`; nothing here is typed by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.calibration_records import LocalCalibration
from advisor.catalog.catalog import Catalog
from advisor.catalog.errors import DataError
from advisor.catalog.files import DataFile, read_yaml
from advisor.catalog.paths import DATA_DIR
from advisor.sizing.factors import FactorColumns

__all__ = [
    "CALIBRATION_FILE",
    "FRACTIONS",
    "PRIORS",
    "EfficiencyArrays",
    "EfficiencyTable",
    "LocalCalibration",
    "Term",
    "apply_link",
    "efficiency_table",
    "on_processors",
    "table_for",
]

CALIBRATION_FILE = DATA_DIR / "calibration.yaml"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EfficiencyArrays:
    """Effects as arrays of shape (plans,). Shares of a datasheet rate lie in 0..1; `*_s` are seconds."""

    bandwidth: Floats
    compute: Floats
    expert_bandwidth: Floats  # of routed experts, relative to `bandwidth`
    expert_compute: Floats  # relative to `compute`
    cache: Floats
    attention: Floats
    link: Floats
    pcie: Floats
    host_bandwidth: Floats
    host_compute: Floats
    interference: Floats  # share of a prefill pass by which it delays running decodes
    routing: Floats  # exponent on the tokens of a batch: popular experts make batches touch fewer of them
    layer_s: Floats  # launches and gaps per layer and step
    moe_layer_s: Floats
    step_s: Floats
    sequence_s: Floats  # scheduling, sampling and detokenising, per sequence and step
    collective_s: Floats
    first_token_s: Floats  # constant part of the time to first token
    sync_s: Floats  # hand-over to the CPU, per MoE layer
    hop_s: Floats  # hand-over between pipeline stages
    padding: Floats  # rows
    dispatch: Floats  # times the bytes that six passes over the hidden states move
    prompt_reads: Floats  # of the weights, by each chunk of a prompt: expanding and packing them for large products
    pcie_scaling: Floats  # exponent: how much n devices speed up streaming from the host
    bias: Floats  # multiplies seconds


# Starting point of the fit and value of an effect without any term: shares, else seconds or counts.
PRIORS: Mapping[str, float] = {
    "bandwidth": 0.75,
    "compute": 0.5,
    "expert_bandwidth": 0.85,
    "expert_compute": 0.6,
    "cache": 0.6,
    "attention": 0.3,
    "link": 0.6,
    "pcie": 0.7,
    "host_bandwidth": 0.6,
    "host_compute": 0.4,
    "interference": 0.8,
    "routing": 0.95,
    "layer_s": 10e-6,
    "moe_layer_s": 10e-6,
    "step_s": 100e-6,
    "sequence_s": 5e-6,
    "collective_s": 8e-6,
    "first_token_s": 20e-3,
    "sync_s": 20e-6,
    "hop_s": 200e-6,
    "padding": 8.0,
    "dispatch": 1.0,
    "prompt_reads": 1.0,
    "pcie_scaling": 0.7,
    "bias": 1.0,
}
FRACTIONS = frozenset(list(PRIORS)[:12])  # logistic link; the others are exponential


@dataclass(frozen=True, slots=True)
class Term:
    """One set of coefficients of one effect: by level of `factors` (joined with "|"), times `covariate`."""

    effect: str
    factors: tuple[str, ...]  # (): one coefficient for all
    covariate: str | None
    width: float  # standard deviation of the prior around 0
    coefficients: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class EfficiencyTable:
    """Coefficients of `data/calibration.yaml`, with local replacements. Compared by identity.

    `newest`: engine id to the decimal year of its newest measured build ("": of any engine).
    `seen`: factor to the levels that the fit has seen. `intervals`: see `advisor.sizing.intervals`.
    """

    terms: tuple[Term, ...]
    newest: Mapping[str, float] = field(default_factory=dict)
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict)
    intervals: Mapping[str, Any] = field(default_factory=dict)
    local: tuple[LocalCalibration, ...] = ()

    def with_local(self, local: Sequence[LocalCalibration]) -> EfficiencyTable:
        """The same table in which measurements of this machine come first."""
        return replace(self, local=tuple(local) + self.local)

    def effects(self, columns: FactorColumns, only: frozenset[str] | None = None) -> dict[str, Floats]:
        """Linear predictors by effect, arrays of shape (plans,)."""
        out = {name: np.full(columns.size, _base(name)) for name in PRIORS if only is None or name in only}
        for term in self.terms:
            if term.effect not in out:
                continue
            part = columns.pick(term.factors, term.coefficients)
            out[term.effect] = out[term.effect] + (
                part if term.covariate is None else part * columns.numbers[term.covariate]
            )
        return out

    def evaluate(self, columns: FactorColumns) -> EfficiencyArrays:
        """All effects, linked."""
        return apply_link(self.effects(columns))


def apply_link(effects: Mapping[str, Floats]) -> EfficiencyArrays:
    """Linear predictors to shares (logistic) and to seconds, rows and factors (exponential)."""
    return EfficiencyArrays(**{f.name: _linked(f.name, effects[f.name]) for f in fields(EfficiencyArrays)})


def on_processors(e: EfficiencyArrays, processor: NDArray[np.bool_]) -> EfficiencyArrays:
    """Plans that run on the processor alone use its rates, as the host part of a hybrid run does."""
    return replace(
        e,
        bandwidth=np.where(processor, e.host_bandwidth, e.bandwidth),
        compute=np.where(processor, e.host_compute, e.compute),
    )


@lru_cache(maxsize=2)
def efficiency_table(path: Path = CALIBRATION_FILE) -> EfficiencyTable:
    """The public calibration, read once. Raises DataError."""
    raw: Any = read_yaml(DataFile(path, path.name, True))
    if not isinstance(raw, dict) or "terms" not in raw:
        raise DataError(path.name, "", "terms", "the file that `advisor calibrate --write` makes")
    return EfficiencyTable(
        terms=tuple(_term(path, item) for item in raw["terms"]),
        newest={str(k): float(v) for k, v in raw["newest_engine_year"].items()},
        seen={factor: frozenset(map(str, levels)) for factor, levels in raw["levels"].items()},
        intervals=raw["intervals"],
    )


def table_for(catalog: Catalog) -> EfficiencyTable:
    """The calibration in force: the public one, with the own measurements that the catalogue carries before it."""
    return _with_local(efficiency_table(), catalog.calibrations) if catalog.calibrations else efficiency_table()


@lru_cache(maxsize=8)
def _with_local(table: EfficiencyTable, local: tuple[LocalCalibration, ...]) -> EfficiencyTable:
    """The same object for the same measurements: answers are remembered by table."""
    return table.with_local(local)


def _term(path: Path, item: Mapping[str, Any]) -> Term:
    if item["effect"] not in PRIORS:
        raise DataError(path.name, str(item["effect"]), "effect", f"one of {', '.join(PRIORS)}")
    return Term(
        effect=item["effect"],
        factors=tuple(item["factors"]),
        covariate=item.get("covariate"),
        width=float(item["width"]),
        coefficients={str(k): float(v) for k, v in item["coefficients"].items()},
    )


def _base(name: str) -> float:
    prior = PRIORS[name]
    return float(np.log(prior / (1 - prior)) if name in FRACTIONS else np.log(prior))


def _linked(name: str, value: Floats) -> Floats:
    if name in FRACTIONS:
        return 1 / (1 + np.exp(-np.clip(value, -12, 12)))
    return np.exp(np.clip(value, -25, 8))
