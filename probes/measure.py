"""Measures a loaded model: prefill, decode, memory. Runs in the child; knows engines only through their seam."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from probes.engines.base import Engine
from probes.result import Measured, Point
from probes.spec import ProbeSpec

__all__ = ["DecodeRounds", "Reporter", "decode_rounds", "prefill_samples", "rounds_of", "times_of"]

SWEEP_PREFILL_S = 60.0  # a prompt of a sweep that would take longer is not processed
SAMPLE_BUDGET_S = 15.0  # a figure that takes longer is measured fewer times
MIN_STEPS = 8
VISIT_S, VISIT_STEPS = 2.0, 3  # of a round: memory that moves within seconds is read as often
TIMES_VIRTUAL = 4  # as many rounds on a virtual machine: one whose memory was read 4 % apart (standard deviation) from
# half a minute to the next, 3 % from two minutes to the next; a calm quarter of a minute says nothing of the next
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
        """Bytes read per second of each round / what memory was read at beside it: the mean of the readings before and
        after. `best_read`: of the run, bytes per second, for rounds with no readings. None where it is 0.

        The best reading of a run is one moment of memory that moves within seconds, no yardstick for all rounds.
        """
        if best_read <= 0:
            return None
        rates = self.read_rates
        beside = [(before + after) / 2 for before, after in pairwise(self.canaries)] or [best_read] * len(rates)
        return Measured.of([rate / read for rate, read in zip(rates, beside, strict=True)])

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


def rounds_of(spec: ProbeSpec, step_s: float) -> tuple[int, int]:
    """(rounds, steps that count in each): `spec.repeats` times `spec.output_tokens` steps, fewer where they would take
    too long, in rounds of about VISIT_S.
    """
    affordable = int(SAMPLE_BUDGET_S / spec.repeats / step_s)
    steps = max(MIN_STEPS, min(spec.output_tokens, affordable))
    each = min(steps, max(VISIT_STEPS, int(VISIT_S / step_s)))
    return math.ceil(spec.repeats * steps / each), each


def times_of(spec: ProbeSpec, *, virtual: bool) -> int:
    """How many times as many rounds a whole model takes as `rounds_of` says. `virtual`: a virtual machine, whose memory
    others use, too. An accelerator has its own, and who asks for one repetition wants it quick.
    """
    return TIMES_VIRTUAL if virtual and spec.repeats > 1 and not spec.device.startswith("cuda") else 1


def decode_rounds(
    engine: Engine,
    spec: ProbeSpec,
    context_tokens: int,
    canary: Callable[[], float] | None,
    *,
    slots: int = 1,
    times: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> DecodeRounds:
    """`times` as many as `rounds_of` the step that is found. `progress`: is told how many are done, of how many."""
    warm = engine.decode(context_tokens, slots, 2)
    count, steps = rounds_of(spec, warm[-1])
    count, steps = times * count, steps + DROPPED_STEPS
    kept: list[float] = []
    rounds: list[float] = []
    canaries = [canary()] if canary else []
    for done in range(count):
        if progress is not None:
            progress(done, count)
        seconds = list(engine.decode(context_tokens, slots, steps))[DROPPED_STEPS:]
        kept += seconds
        rounds.append(median(seconds))
        canaries += [canary()] if canary else []
    middle = context_tokens + steps // 2
    return DecodeRounds(tuple(kept), tuple(rounds), tuple(canaries), engine.read_bytes(middle, slots))
