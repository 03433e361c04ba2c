"""Rounds over slices of a model: short visits in turn, until the extrapolation is as sure as it should be."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from probes.extrapolation import TARGET, Round, extrapolated
from probes.layers import LayerCount

__all__ = ["DECODE", "PREFILL", "Effort", "of_slices", "steps_of_visit", "visited"]

VISIT_S = 0.2  # of one slice: equal times of all slices catch equally many of the short disturbances
MOST_STEPS, LEAST_STEPS = 12, 2


@dataclass(frozen=True, slots=True)
class Effort:
    """`least`, `most`: rounds; this and the time are per repeat that was asked for. `there_and_back`: a round visits
    every slice twice, in mirrored order, so that what changes steadily meanwhile cancels; else every other round goes
    the other way.
    """

    seconds_per_repeat: float
    least: int
    most_per_repeat: int
    there_and_back: bool

    def budget_s(self, repeats: int) -> float:
        return self.seconds_per_repeat * repeats

    def most(self, repeats: int) -> int:
        return max(self.least, self.most_per_repeat * repeats)

    def rounds_within(self, repeats: int, round_s: float) -> int:
        """How many there are where the noise never gets small."""
        return min(self.most(repeats), max(self.least, int(self.budget_s(repeats) / max(round_s, 1e-9)) + 1))


DECODE = Effort(seconds_per_repeat=20.0, least=8, most_per_repeat=32, there_and_back=True)
PREFILL = Effort(seconds_per_repeat=20.0, least=3, most_per_repeat=4, there_and_back=False)


def visited(
    visit: Callable[[LayerCount], float],
    slices: Sequence[LayerCount],
    whole: LayerCount,
    effort: Effort,
    *,
    repeats: int = 3,
    beside: Sequence[LayerCount] = (),
    before: Callable[[int], object] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Round]:
    """Seconds of every slice, round by round; ends when the noise of the extrapolation is under `TARGET`, or with time
    or rounds spent.

    `visit`: measures one slice, seconds. `beside`: other counts, visited with the slices but not extrapolated from.
    `before`: called before each round with its number.
    """
    rounds: list[Round] = []
    start = clock()
    while len(rounds) < effort.most(repeats):
        before(len(rounds))
        rounds.append(_round(visit, (*slices, *beside), len(rounds), effort))
        if len(rounds) < effort.least:
            continue
        if clock() - start > effort.budget_s(repeats) or _is_sure(rounds, slices, whole):
            break
    return rounds


def steps_of_visit(step_s: float) -> int:
    """How many steps to take of a slice whose step takes so long."""
    return min(MOST_STEPS, max(LEAST_STEPS, round(VISIT_S / max(step_s, 1e-9))))


def of_slices(rounds: Sequence[Round], slices: Sequence[LayerCount]) -> list[Round]:
    return [{count: seconds[count] for count in slices} for seconds in rounds]


def _round(visit: Callable[[LayerCount], float], counts: Sequence[LayerCount], number: int, effort: Effort) -> Round:
    if not effort.there_and_back:
        return {count: visit(count) for count in (counts if number % 2 == 0 else counts[::-1])}
    there = {count: visit(count) for count in counts}
    back = {count: visit(count) for count in counts[::-1]}
    return {count: fmean((there[count], back[count])) for count in counts}


def _is_sure(rounds: Sequence[Round], slices: Sequence[LayerCount], whole: LayerCount) -> bool:
    return extrapolated(of_slices(rounds, slices), whole).noise <= TARGET
