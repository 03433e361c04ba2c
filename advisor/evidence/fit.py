"""The hierarchical fit: all effects at once, robust, with shrinkage to the parent group.

Minimises `Σ ρ(log predicted - log measured)/σ² + Σ (coefficient/width)²` with Huber's ρ: a penalised non-linear least
squares, i.e. the posterior mode under normal priors (Gelman & Hill 2007, ch. 12). The derivative by an effect is
taken numerically, one evaluation per effect, and passed on to the coefficients through the sparse design matrix;
coefficients are counted in prior widths, so the damped normal equations are well scaled for conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from advisor.evidence.cases import Cases
from advisor.evidence.predict import best_layout, log_values, taken
from advisor.sizing.efficiency import PRIORS, EfficiencyTable, Term

__all__ = ["Design", "FitResult", "State", "descend", "design_of", "fit", "linearised", "start_at"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HUBER = 0.15  # natural-log units: residuals beyond it count linearly
NOISE = 0.18  # weight of data against priors, log units: between 0.15 and 0.2, both compared by cross-validation
STEP = 1e-4
MAX_ITERATIONS = 40
MAX_MOVE = 2.0  # of any coefficient in one iteration
TOLERANCE = 3e-5
SOLVER_TOLERANCE, SOLVER_ROUNDS = 1e-3, 400


@dataclass(frozen=True, slots=True)
class FitResult:
    """Fitted terms, and the natural-log residual (predicted / measured) of every row, fitted or not."""

    terms: tuple[Term, ...]
    residuals: Floats

    def table(self) -> EfficiencyTable:
        return EfficiencyTable(self.terms)


@dataclass(frozen=True, slots=True)
class Design:
    """Terms over all cases. A level without a fitted row keeps its coefficient at 0: nothing pulls it away."""

    terms: tuple[Term, ...]
    levels: tuple[tuple[str, ...], ...]
    blocks: dict[str, tuple[slice, sparse.csr_matrix]]  # effect: columns, matrix (cases, columns) in prior widths
    widths: Floats
    base: dict[str, Floats]


def design_of(cases: Cases, terms: Sequence[Term]) -> Design:
    """Design matrices, made once for every fit to the same cases."""
    ordered = tuple(term for effect in PRIORS for term in terms if term.effect == effect)
    levels, widths = [], []
    matrices: dict[str, list[sparse.csr_matrix]] = {}
    for term in ordered:
        names, matrix = _term_matrix(cases, term)
        levels.append(names)
        matrices.setdefault(term.effect, []).append(matrix)
        widths += [term.width] * len(names)
    blocks, start = {}, 0
    for effect, stack in matrices.items():
        whole = sparse.hstack(stack).tocsr()
        blocks[effect] = (slice(start, start + whole.shape[1]), whole)
        start += whole.shape[1]
    return Design(ordered, tuple(levels), blocks, np.array(widths), EfficiencyTable(()).effects(cases.columns))


def fit(
    cases: Cases,
    log_measured: Floats,
    terms: Sequence[Term],
    fitted: Mask,
    design: Design | None = None,
    start: Floats | None = None,
    iterations: int = MAX_ITERATIONS,
) -> FitResult:
    """Coefficients from the rows in `fitted`, shape (rows,); deterministic. `start`: in prior widths, else 0."""
    design = design or design_of(cases, terms)
    start = np.zeros(len(design.widths)) if start is None else start
    state = descend(cases, design, log_measured, fitted, start, iterations)
    return FitResult(_with_coefficients(design, state.scaled), state.logs[state.best] - log_measured)


def start_at(design: Design, terms: Sequence[Term]) -> Floats:
    """Coefficients of fitted terms, in the prior widths of a design that may lack some of them."""
    known = {(t.effect, t.factors, t.covariate): t.coefficients for t in terms}
    beta = [
        known.get((term.effect, term.factors, term.covariate), {}).get(name, 0.0)
        for term, names in zip(design.terms, design.levels, strict=True)
        for name in names
    ]
    return np.array(beta) / design.widths


@dataclass(frozen=True, slots=True)
class State:
    """A point of the descent."""

    scaled: Floats  # coefficients in prior widths
    value: float
    effects: dict[str, Floats]
    logs: Floats
    best: NDArray[np.intp]


def descend(
    cases: Cases,
    design: Design,
    log_measured: Floats,
    fitted: Mask,
    start: Floats,
    iterations: int = MAX_ITERATIONS,
) -> State:
    """Levenberg and Marquardt's descent from coefficients `start`, in prior widths."""
    state = _objective(cases, design, log_measured, fitted, start)
    damping = 1e-2
    for _ in range(iterations):
        better, damping = _improved(cases, design, state, log_measured, fitted, damping)
        if better is None:
            break
        gain = (state.value - better.value) / state.value
        state, damping = better, max(damping / 5, 1e-6)
        if gain < TOLERANCE:
            break
    return state


def _improved(
    cases: Cases, design: Design, state: State, log_measured: Floats, fitted: Mask, damping: float
) -> tuple[State | None, float]:
    """(a better state or None, the damping that reached it)."""
    jacobian, weight, residual = linearised(cases, design, state, log_measured, fitted)
    gradient = jacobian.T @ (weight * residual) + state.scaled
    diagonal = jacobian.power(2).T @ weight + 1
    for _ in range(6):
        move = _solved(jacobian, weight, diagonal, damping, -gradient)
        move *= min(1.0, MAX_MOVE / max(float(np.abs(move * design.widths).max()), 1e-9))
        trial = _objective(cases, design, log_measured, fitted, state.scaled + move)
        if trial.value < state.value:
            return trial, damping
        damping *= 6
    return None, damping


def _objective(cases: Cases, design: Design, log_measured: Floats, fitted: Mask, scaled: Floats) -> State:
    effects = dict(design.base)
    for name, (columns, matrix) in design.blocks.items():
        effects[name] = effects[name] + matrix @ scaled[columns]
    logs = log_values(cases, effects)
    best = best_layout(cases, logs)
    size = np.abs((logs[best] - log_measured)[fitted])
    loss = np.where(size < HUBER, size**2, 2 * HUBER * size - HUBER**2).sum() / NOISE**2
    return State(scaled, float(loss + (scaled**2).sum()), effects, logs, best)


def linearised(
    cases: Cases, design: Design, state: State, log_measured: Floats, fitted: Mask
) -> tuple[sparse.csr_matrix, Floats, Floats]:
    """(Jacobian by coefficients, weights, residuals) of the fitted rows."""
    rows = state.best[fitted]
    subset, base = taken(cases, rows), state.logs[rows]
    effects = {name: value[rows] for name, value in state.effects.items()}
    parts = []
    for name, (_, matrix) in design.blocks.items():
        moved = log_values(subset, {**effects, name: effects[name] + STEP})
        parts.append(sparse.diags((moved - base) / STEP) @ matrix[rows])
    residual = base - log_measured[fitted]
    weight = np.where(np.abs(residual) < HUBER, 1.0, HUBER / np.maximum(np.abs(residual), 1e-9)) / NOISE**2
    return sparse.hstack(parts).tocsr(), weight, residual


def _solved(jacobian: sparse.csr_matrix, weight: Floats, diagonal: Floats, damping: float, right: Floats) -> Floats:
    """Solution of the damped normal equations by conjugate gradients with the diagonal as preconditioner."""
    extra, scale = damping * diagonal, 1 / ((1 + damping) * diagonal)
    turned = jacobian.T.tocsr()

    def times(v: Floats) -> Floats:
        product: Floats = turned @ (weight * (jacobian @ v)) + v + extra * v
        return product

    size = (len(right), len(right))
    operator = LinearOperator(size, matvec=times, dtype=np.float64)
    conditioner = LinearOperator(size, matvec=lambda v: scale * v, dtype=np.float64)
    found, _ = cg(operator, right, rtol=SOLVER_TOLERANCE, maxiter=SOLVER_ROUNDS, M=conditioner)
    return np.asarray(found, dtype=np.float64)


def _term_matrix(cases: Cases, term: Term) -> tuple[tuple[str, ...], sparse.csr_matrix]:
    values = np.ones(len(cases)) if term.covariate is None else cases.columns.numbers[term.covariate]
    keys = np.array(cases.columns.keys(term.factors))
    blank = np.array([bool(term.factors) and "" in key.split("|") for key in keys])
    names = np.unique(keys[~blank])  # "not stated" is no level of its own
    place = np.minimum(np.searchsorted(names, keys), len(names) - 1)
    rows = np.flatnonzero(names[place] == keys)
    scaled = values[rows] * term.width
    matrix = sparse.csr_matrix((scaled, (rows, place[rows])), shape=(len(cases), len(names)))
    return tuple(map(str, names)), matrix


def _with_coefficients(design: Design, scaled: Floats) -> tuple[Term, ...]:
    beta, out, start = scaled * design.widths, [], 0
    for term, names in zip(design.terms, design.levels, strict=True):
        values = beta[start : start + len(names)]
        out.append(replace(term, coefficients=dict(zip(names, map(float, values), strict=True))))
        start += len(names)
    return tuple(out)
