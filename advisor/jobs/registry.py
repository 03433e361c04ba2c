"""Probes that run in the background of this process: start, watch, cancel. Knows nothing of pages."""

from __future__ import annotations

from dataclasses import dataclass

from probes.result import Point, Prediction, ProbeResult, State
from probes.spec import ProbeSpec
from probes.store import Store

__all__ = ["ProbeRegistry", "Snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A probe at one moment; never changes, a later moment is another snapshot."""

    id: str
    spec: ProbeSpec
    state: State
    phase: str = ""  # key of a text: probes.phase.<phase>
    done: int = 0
    total: int = 0
    elapsed_s: float = 0.0
    predicted: Prediction = Prediction()
    points: tuple[Point, ...] = ()
    result: ProbeResult | None = None
    error: str = ""


class ProbeRegistry:
    """One per process (the app keeps it in `st.cache_resource`). Results go to the store even when nobody watches."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()

    def start(self, spec: ProbeSpec, predicted: Prediction = Prediction()) -> str:  # noqa: B008
        """Begin a probe and return its id at once. Raises InputError when one already runs on the same device."""
        raise NotImplementedError  # being written

    def snapshot(self, probe_id: str) -> Snapshot | None:
        raise NotImplementedError  # being written

    def cancel(self, probe_id: str) -> None:
        """Ask it to stop; it is gone within a second."""
        raise NotImplementedError  # being written

    def running(self) -> tuple[Snapshot, ...]:
        raise NotImplementedError  # being written

    def close(self) -> None:
        """Stop all probes."""
        raise NotImplementedError  # being written
