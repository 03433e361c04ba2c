"""The hierarchical fit: all effects at once, robust, with shrinkage to the parent group.

Minimises `Σ ρ(log predicted - log measured)/σ² + Σ (coefficient/width)²` with Huber's ρ: a penalised non-linear least
squares, i.e. the posterior mode under normal priors (Gelman & Hill 2007, ch. 12). The derivative by an effect is
taken numerically, one evaluation per effect, and passed on to the coefficients through the sparse design matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve

from advisor.evidence.cases import Cases
from advisor.evidence.predict import best_layout, log_values, taken
from advisor.sizing.efficiency import PRIORS, EfficiencyTable, Term

__all__ = ["FitResult", "fit"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HUBER = 0.15  # natural-log units: residuals beyond it count linearly
NOISE = 0.18  # weight of data against priors, log units: between 0.15 and 0.2, both compared by cross-validation
STEP = 1e-4
MAX_ITERATIONS = 20
MAX_MOVE = 2.0  # of any coefficient in one iteration
TOLERANCE = 3e-4


@dataclass(frozen=True, slots=True)
class FitResult:
    """Fitted terms, and the natural-log residual (predicted / measured) of every row, fitted or not."""

    terms: tuple[Term, ...]
    residuals: Floats
    iterations: int

    def table(self) -> EfficiencyTable:
        return EfficiencyTable(self.terms)


@dataclass(frozen=True, slots=True)
class _Design:
    terms: tuple[Term, ...]
    levels: tuple[tuple[str, ...], ...]
    blocks: dict[str, tuple[slice, sparse.csr_matrix]]  # effect: columns, matrix (cases, columns)
    widths: Floats
    base: dict[str, Floats]


def fit(cases: Cases, log_measured: Floats, terms: Sequence[Term], fitted: Mask) -> FitResult:
    """Coefficients from the rows in `fitted`, shape (rows,); deterministic."""
    design = _design(cases, terms, fitted[cases.row])
    beta = np.zeros(len(design.widths))
    state = _objective(cases, design, log_measured, fitted, beta)
    damping, rounds = 1e-2, 0
    while rounds < MAX_ITERATIONS:
        rounds += 1
        hessian, gradient = _curvature(cases, design, state, log_measured, fitted)
        better = None
        for _ in range(6):
            damped = hessian.copy()
            damped[np.diag_indices_from(damped)] *= 1 + damping
            move = cho_solve(cho_factor(damped, overwrite_a=True), -gradient)
            move *= min(1.0, MAX_MOVE / max(float(np.abs(move).max()), 1e-9))
            trial = _objective(cases, design, log_measured, fitted, state.beta + move)
            if trial.value < state.value:
                better = trial
                break
            damping *= 6
        if better is None:
            break
        gain = (state.value - better.value) / state.value
        state, damping = better, max(damping / 5, 1e-6)
        if gain < TOLERANCE:
            break
    return FitResult(_with_coefficients(design, state.beta), state.logs[state.best] - log_measured, rounds)


@dataclass(frozen=True, slots=True)
class _State:
    beta: Floats
    value: float
    effects: dict[str, Floats]
    logs: Floats
    best: NDArray[np.intp]


def _objective(cases: Cases, design: _Design, log_measured: Floats, fitted: Mask, beta: Floats) -> _State:
    effects = dict(design.base)
    for name, (columns, matrix) in design.blocks.items():
        effects[name] = effects[name] + matrix @ beta[columns]
    logs = log_values(cases, effects)
    best = best_layout(cases, logs)
    size = np.abs((logs[best] - log_measured)[fitted])
    loss = np.where(size < HUBER, size**2, 2 * HUBER * size - HUBER**2).sum() / NOISE**2
    return _State(beta, float(loss + ((beta / design.widths) ** 2).sum()), effects, logs, best)


def _curvature(
    cases: Cases, design: _Design, state: _State, log_measured: Floats, fitted: Mask
) -> tuple[Floats, Floats]:
    """(Gauss-Newton matrix, gradient) at a state, halved as usual."""
    rows = state.best[fitted]
    subset, base = taken(cases, rows), state.logs[rows]
    effects = {name: value[rows] for name, value in state.effects.items()}
    parts = []
    for name, (_, matrix) in design.blocks.items():
        moved = log_values(subset, {**effects, name: effects[name] + STEP})
        parts.append(sparse.diags((moved - base) / STEP) @ matrix[rows])
    jacobian = sparse.hstack(parts).tocsr()
    residual = base - log_measured[fitted]
    weight = np.where(np.abs(residual) < HUBER, 1.0, HUBER / np.maximum(np.abs(residual), 1e-9)) / NOISE**2
    hessian = np.asarray((jacobian.T @ (sparse.diags(weight) @ jacobian)).todense())
    hessian[np.diag_indices_from(hessian)] += 1 / design.widths**2
    gradient: Floats = jacobian.T @ (weight * residual) + state.beta / design.widths**2
    return hessian, gradient


def _design(cases: Cases, terms: Sequence[Term], fitted: Mask) -> _Design:
    """Design matrices over all cases, with the levels that occur in the fitted ones."""
    ordered = tuple(term for effect in PRIORS for term in terms if term.effect == effect)
    levels, blocks, widths = [], {}, []
    matrices: dict[str, list[sparse.csr_matrix]] = {}
    for term in ordered:
        names, matrix = _term_matrix(cases, term, fitted)
        levels.append(names)
        matrices.setdefault(term.effect, []).append(matrix)
        widths += [term.width] * len(names)
    start = 0
    for effect, stack in matrices.items():
        whole = sparse.hstack(stack).tocsr()
        blocks[effect] = (slice(start, start + whole.shape[1]), whole)
        start += whole.shape[1]
    base = EfficiencyTable(()).effects(cases.columns)
    return _Design(ordered, tuple(levels), blocks, np.array(widths), base)


def _term_matrix(cases: Cases, term: Term, fitted: Mask) -> tuple[tuple[str, ...], sparse.csr_matrix]:
    values = np.ones(len(cases)) if term.covariate is None else cases.columns.numbers[term.covariate]
    keys = np.array(cases.columns.keys(term.factors))
    blank = np.array([bool(term.factors) and "" in key.split("|") for key in keys])
    names = np.unique(keys[fitted & ~blank])  # "not stated" is no level of its own
    place = np.minimum(np.searchsorted(names, keys), len(names) - 1)
    rows = np.flatnonzero(names[place] == keys)
    matrix = sparse.csr_matrix((values[rows], (rows, place[rows])), shape=(len(cases), len(names)))
    return tuple(map(str, names)), matrix


def _with_coefficients(design: _Design, beta: Floats) -> tuple[Term, ...]:
    out, start = [], 0
    for term, names in zip(design.terms, design.levels, strict=True):
        values = beta[start : start + len(names)]
        out.append(replace(term, coefficients=dict(zip(names, map(float, values), strict=True))))
        start += len(names)
    return tuple(out)
