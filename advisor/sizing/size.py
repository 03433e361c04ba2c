"""The answer for one plan under one load."""

from __future__ import annotations

from advisor.catalog import Catalog
from advisor.sizing.columns import Tuning
from advisor.sizing.plan import Load, Plan, Sizing

__all__ = ["size"]


def size(plan: Plan, load: Load, catalog: Catalog, tuning: Tuning | None = None) -> Sizing:
    """Bytes, seconds, limits and suggestions of a plan. The catalogue is searched for suggestions."""
    raise NotImplementedError
