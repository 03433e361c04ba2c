"""What each kind of term is worth: cross-validated scores with everything, and without one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.evidence.cases import Cases, build_cases
from advisor.evidence.crossvalidation import fold_fits, out_of_fold
from advisor.evidence.fit import FitResult
from advisor.evidence.scores import Summary
from advisor.evidence.terms import TERMS
from advisor.evidence.truth import TruthRow
from advisor.evidence.validate import predicted_row, scored
from advisor.evidence.widths import fitted_widths
from advisor.sizing.efficiency import Term

__all__ = ["Ablation", "ablations"]

STEPS = 3  # of a fit to which something is missing


@dataclass(frozen=True, slots=True)
class Ablation:
    """Scores of one scheme without `left_out` ("" for the full fit)."""

    left_out: str
    scheme: str
    summary: Summary


def ablations(rows: Sequence[TruthRow], schemes: Sequence[str] = ("group", "device")) -> Iterator[Ablation]:
    """The full fit, then the fit with each effect at its starting value, then without each factor or covariate.

    Lazily: a variant takes some ten seconds, and there are about fifty. All have the folds of the published fit and
    the widths of the full one, so the first lines are the published scores. The others take `STEPS` steps from the
    full fit to the same folds, which has not seen the rows that are held out either.
    """
    cases = build_cases(rows)
    measured = np.log([row.value for row in rows])
    full = fitted_widths(cases, measured, TERMS, np.ones(len(rows), dtype=bool))
    fits = {scheme: fold_fits(rows, cases, scheme, full) for scheme in schemes}
    for scheme in schemes:
        yield _scored("", scheme, rows, cases, fits[scheme])
    for name, terms in _variants(full):
        for scheme in schemes:
            found = fold_fits(rows, cases, scheme, terms, starts=fits[scheme], iterations=STEPS)
            yield _scored(name, scheme, rows, cases, found)


def _scored(
    name: str, scheme: str, rows: Sequence[TruthRow], cases: Cases, fits: Sequence[FitResult]
) -> Ablation:
    held = out_of_fold(rows, cases, scheme, fits)
    predicted = [
        predicted_row(row, float(residual), 0.0, extrapolated=False, relative=True)
        for row, residual in zip(rows, held.residuals, strict=True)
    ]
    return Ablation(name, scheme, scored(predicted, []).summary)


def _variants(full: Sequence[Term]) -> Iterator[tuple[str, tuple[Term, ...]]]:
    for effect in dict.fromkeys(term.effect for term in full):
        yield f"effect {effect}", tuple(t for t in full if t.effect != effect)
    for name in sorted({part for term in full for part in (*term.factors, term.covariate or "")} - {""}):
        yield name, tuple(t for t in full if name not in t.factors and t.covariate != name)
