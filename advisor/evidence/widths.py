"""How wide the priors are, from the data: empirical Bayes.

A width is the standard deviation between the levels of a term (how much engines, devices or formats differ in an
effect). The declared width counts as one level; the measured ones are added by expectation-maximisation under
Laplace's approximation: `w² = (w0² + Σ (β² + Var β)) / (1 + levels)` (Laird & Ware 1982; Gelman & Hill 2007, ch. 18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import inv

from advisor.evidence.cases import Cases
from advisor.evidence.fit import Design, State, descend, design_of, linearised
from advisor.sizing.efficiency import Term

__all__ = ["fitted_widths"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROUNDS = 4
DECLARED_LEVELS = 1.0
NARROWEST, WIDEST = 0.01, 2.0


def fitted_widths(cases: Cases, log_measured: Floats, terms: Sequence[Term], fitted: Mask) -> tuple[Term, ...]:
    """The terms with widths estimated from the rows in `fitted`, shape (rows,); deterministic."""
    design = design_of(cases, terms)
    declared = np.array([term.width for term in design.terms])
    scaled = np.zeros(len(design.widths))
    for _ in range(ROUNDS):
        state = descend(cases, design, log_measured, fitted, scaled)
        jacobian, weight, _ = linearised(cases, design, state, log_measured, fitted)
        widths = _widths(design, declared, state, jacobian, weight)
        ratio = np.repeat(widths / [term.width for term in design.terms], [len(names) for names in design.levels])
        scaled = state.scaled / ratio
        design = _rescaled(design, widths, ratio)
    return design.terms


def _widths(
    design: Design, declared: Floats, state: State, jacobian: sparse.csr_matrix, weight: Floats
) -> Floats:
    """New width of every term from the posterior mean and variance of its coefficients."""
    precision = np.asarray((jacobian.T @ (sparse.diags(weight) @ jacobian)).todense())
    precision[np.diag_indices_from(precision)] += 1
    second = (state.scaled**2 + np.diag(inv(precision, check_finite=False))) * design.widths**2
    seen = np.asarray(abs(jacobian).sum(axis=0)).ravel() > 0
    out, start = np.empty(len(design.terms)), 0
    for n, names in enumerate(design.levels):
        place = slice(start, start + len(names))
        start += len(names)
        moments = second[place][seen[place]]
        out[n] = (DECLARED_LEVELS * declared[n] ** 2 + moments.sum()) / (DECLARED_LEVELS + len(moments))
    return np.clip(np.sqrt(out), NARROWEST, WIDEST)


def _rescaled(design: Design, widths: Floats, ratio: Floats) -> Design:
    """The same design with other widths."""
    return Design(
        terms=tuple(replace(term, width=float(width)) for term, width in zip(design.terms, widths, strict=True)),
        levels=design.levels,
        blocks={
            name: (columns, matrix.multiply(ratio[columns]).tocsr())
            for name, (columns, matrix) in design.blocks.items()
        },
        widths=design.widths * ratio,
        base=design.base,
    )
