"""Which fitted coefficients make up the share of a datasheet rate that a plan reaches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from advisor.sizing.efficiency import PRIORS, EfficiencyTable, Term
from advisor.sizing.factors import FactorColumns

__all__ = ["Contribution", "contributions", "contributions_text", "share_of"]

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one term adds to the logarithm (of seconds) or to the log-odds (of a share)."""

    name: str  # the level that picked the coefficient, or the covariate
    change: float


def contributions(table: EfficiencyTable, columns: FactorColumns, effect: str) -> tuple[Contribution, ...]:
    """Of the first pairing in `columns`, the largest first. Together with the prior they are the linear predictor."""
    found = [_of(term, columns) for term in table.terms if term.effect == effect]
    return tuple(sorted((c for c in found if c.change), key=lambda c: -abs(c.change)))


def contributions_text(found: tuple[Contribution, ...]) -> str:
    """The largest ones, as "vllm +0.21, cuda -0.05"; the rest as one sum."""
    shown = [f"{c.name} {c.change:+.2f}" for c in found[:_SHOWN]]
    rest = sum(c.change for c in found[_SHOWN:])
    return ", ".join([*shown, f"… {rest:+.2f}"] if len(found) > _SHOWN else shown) or "0"


def share_of(found: tuple[Contribution, ...], effect: str) -> float:
    """The share itself: the logistic function of the prior's log-odds and all changes."""
    start = PRIORS[effect]
    odds = start / (1 - start) * float(np.exp(sum(c.change for c in found)))
    return odds / (1 + odds)


def _of(term: Term, columns: FactorColumns) -> Contribution:
    part = columns.pick(term.factors, term.coefficients)
    names = [_level(columns, factor) for factor in term.factors]
    if term.covariate is not None:
        part = part * columns.numbers[term.covariate]
        names.append(term.covariate)
    return Contribution(" ".join(name for name in names if name) or "constant", float(np.asarray(part).ravel()[0]))


def _level(columns: FactorColumns, factor: str) -> str:
    found = columns.factors[factor]
    level = found.levels[int(found.codes[0])]
    return f"{factor} ?" if level == "?" else level
