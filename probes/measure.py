"""Measures a loaded model: prefill, decode, memory. Runs in the child; knows engines only through their seam."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from probes.engines.base import Engine
from probes.result import Measured, Point
from probes.spec import ProbeSpec

__all__ = ["DecodeRounds", "Reporter", "decode_rounds", "prefill_samples"]

SWEEP_PREFILL_S = 60.0  # a prompt of a sweep that would take longer is not processed
SAMPLE_BUDGET_S = 15.0  # a figure that takes longer is measured fewer times
MIN_STEPS = 8
DROPPED_STEPS = 1  # the first step of a round finds caches cold


@dataclass(slots=True)
class Reporter:
    """Sends phases and points to whoever watches; keeps the points for the result."""

    send_phase: Callable[[str, int, int], None]
    send_point: Callable[[Point], None]
    started_s: float = field(default_factory=time.perf_counter)
    points: list[Point] = field(default_factory=list)

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        self.send_phase(name, done, total)

    def point(self, name: str, at: dict[str, float], values: dict[str, Measured], label: str = "") -> None:
        point = Point(name, at, values, label, time.perf_counter() - self.started_s)
        self.points.append(point)
        self.send_point(point)


@dataclass(frozen=True, slots=True)
class DecodeRounds:
    """Decode at one position, measured in rounds with the memory's speed read before and after each."""

    step_s: tuple[float, ...]
    round_step_s: tuple[float, ...]  # median of each round
    canaries: tuple[float, ...]  # bytes per second: one before each round and one after the last
    read_bytes: int

    @property
    def tok_s(self) -> Measured:
        """Tokens per second of one sequence."""
        return Measured.of([1 / s for s in self.step_s])

    def mbu(self, best_read: float) -> Measured | None:
        """Bytes read per second of each round / the best read bandwidth of the run, bytes per second."""
        if best_read <= 0:
            return None
        return Measured.of([rate / best_read for rate in self.read_rates])

    @property
    def read_rates(self) -> list[float]:
        """Bytes per second of each round."""
        return [self.read_bytes / s for s in self.round_step_s]


def prefill_samples(engine: Engine, tokens: int, repeats: int) -> list[float]:
    """Seconds of each prefill. The first one chooses kernels and is dropped, unless there is no time for another."""
    start = time.perf_counter()
    samples = [engine.prefill(tokens)]
    while len(samples) <= repeats and time.perf_counter() - start + samples[-1] < SAMPLE_BUDGET_S:
        samples.append(engine.prefill(tokens))
    return samples[1:] or samples


def decode_rounds(
    engine: Engine, spec: ProbeSpec, context_tokens: int, canary: Callable[[], float] | None, *, slots: int = 1
) -> DecodeRounds:
    """`spec.repeats` rounds of `spec.output_tokens` steps, fewer where they would take too long."""
    warm = engine.decode(context_tokens, slots, 2)
    affordable = int(SAMPLE_BUDGET_S / spec.repeats / warm[-1])
    steps = max(MIN_STEPS, min(spec.output_tokens, affordable)) + DROPPED_STEPS
    kept: list[float] = []
    rounds: list[float] = []
    canaries = [canary()] if canary else []
    for _ in range(spec.repeats):
        seconds = list(engine.decode(context_tokens, slots, steps))[DROPPED_STEPS:]
        kept += seconds
        rounds.append(median(seconds))
        canaries += [canary()] if canary else []
    middle = context_tokens + steps // 2
    return DecodeRounds(tuple(kept), tuple(rounds), tuple(canaries), engine.read_bytes(middle, slots))
