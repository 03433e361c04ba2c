"""What each kind of term is worth: cross-validated scores with everything, and without one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.evidence.cases import build_cases
from advisor.evidence.crossvalidation import cross_validate
from advisor.evidence.scores import Summary
from advisor.evidence.terms import TERMS
from advisor.evidence.truth import TruthRow
from advisor.evidence.validate import predicted_row, scored
from advisor.evidence.widths import fitted_widths
from advisor.sizing.efficiency import Term

__all__ = ["Ablation", "ablations"]

FOLDS = 6


@dataclass(frozen=True, slots=True)
class Ablation:
    """Scores of one scheme without `left_out` ("" for the full fit)."""

    left_out: str
    scheme: str
    summary: Summary


def ablations(rows: Sequence[TruthRow], schemes: Sequence[str] = ("group", "device")) -> Iterator[Ablation]:
    """The full fit, then the fit with each effect at its starting value, then without each factor or covariate.

    Lazily: a run takes some seconds for every scheme, and there are about sixty. Widths are those of the full fit.
    """
    cases = build_cases(rows)
    measured = np.log([row.value for row in rows])
    full = fitted_widths(cases, measured, TERMS, np.ones(len(rows), dtype=bool))
    for name, terms in _variants(full):
        for scheme in schemes:
            held = cross_validate(rows, cases, scheme, terms, FOLDS, warm=True)
            predicted = [
                predicted_row(row, float(held.residuals[n]), 0.0, extrapolated=False, relative=True)
                for n, row in enumerate(rows)
            ]
            yield Ablation(name, scheme, scored(predicted, []).summary)


def _variants(full: Sequence[Term]) -> Iterator[tuple[str, tuple[Term, ...]]]:
    yield "", tuple(full)
    for effect in dict.fromkeys(term.effect for term in full):
        yield f"effect {effect}", tuple(t for t in full if t.effect != effect)
    for name in sorted({part for term in full for part in (*term.factors, term.covariate or "")} - {""}):
        yield name, tuple(t for t in full if name not in t.factors and t.covariate != name)
