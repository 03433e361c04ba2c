"""Rates by the pace of the machine, as they are stored with a prediction."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PaceCurves", "RatesAt"]


@dataclass(frozen=True, slots=True)
class RatesAt:
    """Foreseen for one speed of memory, bytes per second, or of products, operations per second."""

    speed: float
    decode_tok_s: float  # of one sequence
    prefill_tok_s: float


@dataclass(frozen=True, slots=True)
class PaceCurves:
    """Rates by the pace of the machine, ascending, see `probes.pace`; on processors only."""

    by_memory: tuple[RatesAt, ...] = ()
    by_products: tuple[RatesAt, ...] = ()
