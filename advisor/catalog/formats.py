"""Weight formats: which storage type each tensor role gets, and its exact block size and scales."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Format"]


@dataclass(frozen=True, slots=True)
class Format:
    """How the weights of a checkpoint are stored."""

    id: str
    name: str
    family: str
    bits_per_weight: float  # nominal, of the quantised tensors only
    compute_precision: str  # precision of the matrix products where the device has it
    weight_only: bool
    source: tuple[str, ...] = ()
