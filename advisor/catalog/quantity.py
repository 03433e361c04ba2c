"""A number that a user sees: value, interval, basis, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Basis", "Quantity"]


class Basis(StrEnum):
    """How a number is known, best first."""

    EXACT = "exact"  # arithmetic on published dimensions; no error to state
    MEASURED = "measured"  # on this machine
    CALIBRATED = "calibrated"  # physics with coefficients from measurements on this machine
    ESTIMATED = "estimated"  # physics with coefficients fitted to public measurements
    EXTRAPOLATED = "extrapolated"  # as estimated, outside the range of the measurements


@dataclass(frozen=True, slots=True)
class Quantity:
    """`value` with its 90 % interval [`low`, `high`], all in the unit that the field name carries."""

    value: float
    low: float
    high: float
    basis: Basis
    source: str = ""  # formula id, file or publication

    @classmethod
    def exact(cls, value: float, source: str = "") -> Quantity:
        return cls(value, value, value, Basis.EXACT, source)

    @classmethod
    def within(cls, value: float, factor: float, basis: Basis, source: str = "") -> Quantity:
        """Interval [value / factor, value * factor]; `factor` >= 1."""
        return cls(value, value / factor, value * factor, basis, source)

    def holds(self, value: float) -> bool:
        """Whether `value` lies within the interval."""
        return self.low <= value <= self.high

    def as_json(self) -> dict[str, float | str]:
        """The object of the command-line contract: `{value, low, high, basis}`."""
        return {"value": self.value, "low": self.low, "high": self.high, "basis": str(self.basis)}
