"""Factors of measured rows: the layouts of one row share them."""

from __future__ import annotations

import numpy as np

from advisor.evidence.cases import Cases
from advisor.evidence.predict import best_layout
from advisor.sizing.factors import Factor, FactorColumns

__all__ = ["rows_columns"]


def rows_columns(cases: Cases) -> FactorColumns:
    """Factors and covariates by row instead of by case."""
    first = best_layout(cases, np.zeros(len(cases)))
    factors = {name: Factor(f.levels, f.codes[first]) for name, f in cases.columns.factors.items()}
    return FactorColumns(len(first), factors, {k: v[first] for k, v in cases.columns.numbers.items()})
