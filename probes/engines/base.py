"""The seam between measuring and engines: load, prefill, decode, close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

__all__ = ["Engine", "EngineUnavailableError", "InvalidOutputError"]


class EngineUnavailableError(Exception):
    """The engine, or a part that this format needs, is not installed or cannot run here; the text says which."""


class InvalidOutputError(Exception):
    """The engine produced logits that are not finite: its figures mean nothing."""


class Engine(Protocol):
    """One loaded model. All calls return after the device has finished; times are seconds."""

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all weights in memory."""

    def load(self) -> None:
        """Bring the weights into memory."""

    def prefill(self, tokens: int, slot: int = 0) -> float:
        """Process a prompt into `slot`, up to the first token's logits."""

    def decode(self, context_tokens: int, slots: int, steps: int) -> Sequence[float]:
        """`steps` decode steps of `slots` sequences that start with `context_tokens` each; seconds of each step."""

    def step(self, lengths: Mapping[int, int]) -> float:
        """One decode step of the slots in `lengths` (slot: tokens in its cache), for continuous batching."""

    def read_bytes(self, context_tokens: int, slots: int) -> int:
        """Bytes that one decode step must read: weights in use and cache."""

    def peak_device_bytes(self) -> int | None:
        """High-water mark of device memory; None when the model lives in host memory."""

    def versions(self) -> Mapping[str, str]:
        """Names and versions of what computes."""

    def close(self) -> None:
        """Give everything back."""
