"""Which values of a sweep this machine can take, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from probes.need import MARGIN, Need
from probes.result import SweepEnd
from probes.spec import Kind, LeftOut, ProbeSpec, SweepAxis, SweepLimit

__all__ = ["SweepWatch", "at_position", "fitted", "positions"]

SLOWER = 0.97  # a larger batch that gives less than this share of the best throughput so far ends the sweep
_ASCENDING = (SweepAxis.BATCH, SweepAxis.CONTEXT, SweepAxis.THREADS)


def positions(spec: ProbeSpec) -> tuple[int | str, ...]:
    """Values or format ids, in the order of measurement."""
    return spec.sweep_formats if spec.sweep_axis is SweepAxis.FORMAT else spec.sweep_values


def at_position(spec: ProbeSpec, position: int | str) -> ProbeSpec:
    """The sweep with this one position only."""
    if isinstance(position, str):
        return replace(spec, format_id=position, sweep_formats=(position,))
    return replace(spec, sweep_values=(position,))


def fitted(spec: ProbeSpec, need: Callable[[ProbeSpec], Need], allowed_bytes: int, threads: int) -> ProbeSpec:
    """The sweep with the values that fit, in ascending order, and the others under `left_out`; the one that needs least
    stays in any case, so that it can be refused with its own figures. Other kinds of probe come back as they are.

    `need`: bytes of a sweep with one position; `MARGIN` comes on top. `threads`: that the machine has.
    """
    if spec.kind is not Kind.SWEEP or not positions(spec):
        return spec
    if spec.sweep_axis in _ASCENDING:
        spec = replace(spec, sweep_values=tuple(sorted(set(spec.sweep_values))))
    if spec.sweep_axis is SweepAxis.THREADS:
        return _existing(spec, threads)
    needed = {p: int(need(at_position(spec, p)).total_bytes * MARGIN) for p in positions(spec)}
    least = min(needed, key=lambda p: needed[p])
    kept = [p for p in needed if needed[p] <= allowed_bytes] or [least]
    beyond = tuple(_left_out(p, needed[p], allowed_bytes) for p in needed if p not in kept)
    return _with(spec, kept, beyond)


def _existing(spec: ProbeSpec, threads: int) -> ProbeSpec:
    kept: list[int | str] = [v for v in spec.sweep_values if v <= threads]
    beyond = tuple(LeftOut(v, SweepLimit.THREADS, v, threads) for v in spec.sweep_values if v > threads)
    return _with(spec, kept or [threads], beyond)


def _left_out(position: int | str, needed: int, allowed: int) -> LeftOut:
    if isinstance(position, str):
        return LeftOut(0, SweepLimit.MEMORY, needed, allowed, position)
    return LeftOut(position, SweepLimit.MEMORY, needed, allowed)


def _with(spec: ProbeSpec, kept: list[int | str], beyond: tuple[LeftOut, ...]) -> ProbeSpec:
    beyond = (*spec.left_out, *beyond)
    if spec.sweep_axis is SweepAxis.FORMAT:
        return replace(spec, sweep_formats=tuple(str(p) for p in kept), left_out=beyond)
    return replace(spec, sweep_values=tuple(int(p) for p in kept), left_out=beyond)


@dataclass(slots=True)
class SweepWatch:
    """Says after each point whether the sweep has reached its end, and why. `least_gain`: 0 where single readings of
    throughput say too little.
    """

    spec: ProbeSpec
    least_gain: float = SLOWER
    best_tok_s: float = 0.0
    last: int | str = 0

    def stop(self, position: int | str, tpot_ms: float, output_tok_s: float) -> SweepEnd | None:
        """`tpot_ms`: of one sequence; `output_tok_s`: of all of them. Formats and threads follow no order, so slowness
        of one says nothing about the next.
        """
        self.last = position
        if not isinstance(position, int) or self.spec.sweep_axis not in (SweepAxis.BATCH, SweepAxis.CONTEXT):
            return None
        limit, best = self.spec.tpot_limit_ms, self.best_tok_s
        self.best_tok_s = max(best, output_tok_s)
        if limit is not None and tpot_ms > limit:
            return SweepEnd(SweepLimit.LATENCY, position, tpot_ms, limit)
        if self.spec.sweep_axis is SweepAxis.BATCH and output_tok_s < self.least_gain * best:
            return SweepEnd(SweepLimit.THROUGHPUT, position, output_tok_s, best)
        return None

    def end(self) -> SweepEnd:
        """Of a sweep that ran through: the first value that was left out beforehand, if any."""
        if self.spec.left_out:
            first = self.spec.left_out[0]
            return SweepEnd(first.limit, first.value, first.needed, first.allowed, first.format_id)
        if isinstance(self.last, str):
            return SweepEnd(SweepLimit.DONE, format_id=self.last)
        return SweepEnd(SweepLimit.DONE, self.last)
