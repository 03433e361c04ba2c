"""Arithmetic on quantities, positive or unknown (None): the ends of a result come from the ends of its inputs."""

from __future__ import annotations

from advisor.catalog.quantity import Basis, Quantity

__all__ = ["over", "plus", "scaled", "times"]

_WORST_FIRST = (Basis.EXTRAPOLATED, Basis.ESTIMATED, Basis.CALIBRATED, Basis.MEASURED, Basis.EXACT)


def plus(a: Quantity | None, b: Quantity | None) -> Quantity | None:
    if a is None or b is None:
        return None
    return Quantity(a.value + b.value, a.low + b.low, a.high + b.high, _worse(a, b))


def times(a: Quantity | None, b: Quantity | None) -> Quantity | None:
    if a is None or b is None:
        return None
    return Quantity(a.value * b.value, a.low * b.low, a.high * b.high, _worse(a, b))


def over(a: Quantity | None, b: Quantity | None) -> Quantity | None:
    """`b` is never zero."""
    if a is None or b is None:
        return None
    return Quantity(a.value / b.value, a.low / b.high, a.high / b.low, _worse(a, b))


def scaled(a: Quantity | None, factor: float) -> Quantity | None:
    """`factor` >= 0 and exact."""
    return None if a is None else Quantity(a.value * factor, a.low * factor, a.high * factor, a.basis, a.source)


def _worse(a: Quantity, b: Quantity) -> Basis:
    return min(a.basis, b.basis, key=_WORST_FIRST.index)
