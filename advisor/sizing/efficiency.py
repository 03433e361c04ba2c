"""How much of the datasheet each engine reaches on each machine: fitted coefficients, and local replacements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["EfficiencyTable", "LocalCalibration", "efficiency_table"]


@dataclass(frozen=True, slots=True)
class LocalCalibration:
    """Measurements of this machine, summarised as factors on the public calibration.

    Applies to plans with the same device (or CPU host), engine and format family. A factor multiplies the predicted
    seconds; `*_factor_90` >= 1 is the half-width of the 90 % interval that remains, as a factor.
    `measured`: the plan itself was run (basis MEASURED), else a relative was (CALIBRATED).
    """

    device_id: str
    engine_id: str
    format_family: str
    decode_factor: float
    decode_factor_90: float
    prefill_factor: float
    prefill_factor_90: float
    runs: int
    measured: bool = False


@dataclass(frozen=True, slots=True)
class EfficiencyTable:
    """Coefficients of `data/calibration.yaml`, with local replacements."""

    local: tuple[LocalCalibration, ...] = ()

    def with_local(self, local: Sequence[LocalCalibration]) -> EfficiencyTable:
        """The same table in which measurements of this machine come first."""
        return EfficiencyTable(tuple(local) + self.local)


def efficiency_table() -> EfficiencyTable:
    """The public calibration, read once."""
    raise NotImplementedError
