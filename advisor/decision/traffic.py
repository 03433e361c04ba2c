"""How many replicas hold the scenario's traffic, and at what latency, for every plan of the grid.

The step model gives the time of a decode step at a few batch sizes. Between two of them it is taken as linear, and
the closed form of `advisor.serving` finds the fewest replicas that meet the limits; the best section wins. Requests
in a closed loop without pauses (`concurrency`) share replicas directly.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from advisor.decision.loaded import Alone, Rows, Served
from advisor.decision.scenario import Scenario
from advisor.decision.space import Space
from advisor.serving.closed_form import ReplicaRates, Traffic, closed_form
from advisor.serving.workload import Slo
from advisor.sizing.columns import LoadColumns
from advisor.sizing.grid import evaluate

__all__ = ["first_answer_s", "one_replica", "serve", "unloaded"]

Floats = NDArray[np.float64]

BATCHES = (16, 256)  # where the step model is asked, beside one sequence
_SEATS = {"continuous": 256, "slots": 16, "static": 1}  # default number of sequences an engine takes at once


def unloaded(space: Space, scenario: Scenario) -> Alone:
    """Sizes every plan for one sequence of the full context."""
    if not len(space):  # nothing to ask the step model about
        none, no = np.zeros(0), np.zeros(0, dtype=np.bool_)
        return Alone(no, none, none, none, none, none, none, none, no)
    grid = evaluate(space.plans.compact(), _loads(space, scenario, 1, full_context=True))
    ttft, tpot = grid.ttft_s.value, grid.tpot_s.value
    device_bytes = grid.weights_bytes + grid.kv_cache_bytes + grid.activation_bytes + grid.overhead_bytes
    return Alone(
        fits=grid.fits,
        shortfall_bytes=grid.shortfall_bytes,
        used_bytes=device_bytes * space.devices + grid.host_bytes,
        ttft_s=ttft,
        tpot_s=tpot,
        e2e_s=ttft + tpot * np.maximum(_outputs(space) - 1, 0),
        ttft_factor=grid.ttft_s.high / np.maximum(ttft, 1e-12),
        tpot_factor=grid.tpot_s.high / np.maximum(tpot, 1e-12),
        extrapolated=grid.extrapolated,
    )


def first_answer_s(space: Space, ttft_s: Floats, tpot_s: Floats) -> Floats:
    """Time to the first token that the user asked for: after a chain of thought that nobody asked for."""
    return ttft_s + space.table.hidden_tokens[space.plans.model] * tpot_s


def one_replica(alone: Alone) -> Served:
    """The smallest fleet there is, almost idle: no budget below its cost can be met."""
    n = len(alone.ttft_s)
    ones, none = np.ones(n), np.zeros(n)
    return Served(ones, ones, alone.ttft_s, alone.tpot_s, alone.e2e_s, none, none)


def serve(space: Space, scenario: Scenario, alone: Alone) -> Served:
    """Replicas and latency under the scenario's traffic."""
    if not len(space):
        return Served(*(np.zeros(0) for _ in fields(Served)))
    if not len(space):  # every plan already failed alone
        return one_replica(alone)
    sections = _Sections(space, scenario, alone)
    work = _Work(alone.ttft_s, _outputs(space), _slo(scenario))
    users, pause = scenario.closed_loop_users, scenario.closed_loop_pause_s
    if users is not None and pause == 0:
        return _share_out(users, work, sections)
    if scenario.arrivals_per_s is not None:
        return _open(np.full(len(space), scenario.arrivals_per_s), work, sections)
    asking = users or 1.0
    first = _open(asking / (pause + alone.e2e_s), work, sections)
    slower = np.where(np.isfinite(first.e2e_s), first.e2e_s, alone.e2e_s)
    return _open(asking / (pause + slower), work, sections)


@dataclass(frozen=True, slots=True)
class _Work:
    """One request on every plan: its prefill, its output, its limits."""

    prefill_s: Floats
    output_tokens: Floats
    slo: Slo

    def take(self, rows: Rows) -> _Work:
        return _Work(self.prefill_s[rows], self.output_tokens[rows], self.slo)


@dataclass(frozen=True, slots=True)
class _Section:
    """Decode steps between two batch sizes: `base_s` for one sequence, `slope_s` for each further one."""

    seats: Floats  # 0: this section cannot be used
    base_s: Floats
    slope_s: Floats

    def take(self, rows: NDArray[np.intp]) -> _Section:
        return _Section(self.seats[rows], self.base_s[rows], self.slope_s[rows])


class _Sections:
    """The sections of every plan; the step model is asked only for the rows that still matter."""

    def __init__(self, space: Space, scenario: Scenario, alone: Alone) -> None:
        self._space, self._scenario, self._alone = space, scenario, alone
        runtimes = space.plans.runtimes
        limit = np.array([_SEATS[r.engine.batching] for r in runtimes], dtype=np.float64)
        self._limit = limit[space.plans.runtime]
        self._known: dict[int, tuple[NDArray[np.intp], _Section, Floats]] = {}

    def first(self) -> tuple[_Section, Floats]:
        """From one sequence to the first batch, all rows; and the step at that batch."""
        return self._known_or_asked(np.arange(len(self._space)), 0, self._alone.tpot_s)

    def next(self, rows: NDArray[np.intp], position: int, step_s: Floats) -> tuple[_Section, Floats]:
        """From batch `position - 1` to `position` for some rows, ascending; `step_s` at the lower end."""
        return self._known_or_asked(rows, position, step_s)

    def _known_or_asked(self, rows: NDArray[np.intp], position: int, step_s: Floats) -> tuple[_Section, Floats]:
        """Asks the step model once: a second look, at other traffic, wants no rows that the first did not."""
        if position not in self._known or not np.isin(rows, self._known[position][0]).all():
            before = BATCHES[position - 1] if position else 1.0
            self._known[position] = (rows, *self._section(rows, before, step_s, BATCHES[position]))
        asked, section, after = self._known[position]
        at = np.searchsorted(asked, rows)
        return section.take(at), after[at]

    def _section(self, rows: NDArray[np.intp], before: float, step_s: Floats, batch: float) -> tuple[_Section, Floats]:
        part = self._space.take(rows)
        grid = evaluate(part.plans.compact(), _loads(part, self._scenario, batch, full_context=False))
        seats = np.minimum(np.minimum(grid.max_concurrency, self._limit[rows]), batch)
        after = grid.tpot_s.value
        slope = np.maximum(after - step_s, 0) / (batch - before)
        usable = seats >= (1 if before == 1 else before + 1)
        return _Section(np.where(usable, seats, 0), step_s - slope * (before - 1), slope), after


def _open(rate: Floats, work: _Work, sections: _Sections) -> Served:
    """Requests that arrive at `rate` (plans,), whatever the fleet does. Where one replica holds them with a small
    batch, larger batches are not tried."""
    section, step = sections.first()
    best = _closed_form(rate, work, section)
    rows = np.arange(len(rate))
    for position in range(1, len(BATCHES)):
        more = (best.replicas[rows] > 1) & (section.seats >= BATCHES[position - 1])
        rows, step = rows[more], step[more]
        if not len(rows):
            break
        section, step = sections.next(rows, position, step)
        answer = _closed_form(rate[rows], work.take(rows), section)
        best = best.better(rows, answer)
    return best


def _closed_form(rate: Floats, work: _Work, section: _Section) -> Served:
    base = np.maximum(section.base_s, 1e-9)
    rates = ReplicaRates(work.prefill_s, work.prefill_s, base, section.slope_s, section.seats)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        answer = closed_form(rates, Traffic(rate, work.output_tokens), work.slo)
    return Served(
        replicas=np.where(section.seats >= 1, answer.replicas, np.inf),
        concurrency=np.maximum(answer.concurrency, 1.0),
        ttft_s=answer.ttft_s,
        tpot_s=answer.tpot_s,
        e2e_s=answer.e2e_s,
        utilisation=answer.utilisation,
        requests_per_s=rate,
    )


def _share_out(users: float, work: _Work, sections: _Sections) -> Served:
    """`users` requests always in flight, shared equally: as many on each replica as the limits allow.

    In one turn of a replica with b requests each of them decodes to its end and the b prompts are read in between.
    """
    section, step = sections.first()
    every = np.arange(len(step))
    best = _shared(users, 1.0, work, section)
    for position in range(len(BATCHES)):
        if position:
            section, step = sections.next(every, position, step)
        low = BATCHES[position - 1] if position else 1
        for batch in _powers_between(low, min(users, BATCHES[position])):
            best = best.better(every, _shared(users, batch, work, section))
        if users <= BATCHES[position]:
            break
    return best


def _shared(users: float, batch: float, work: _Work, section: _Section) -> Served:
    replicas = np.ceil(users / batch)
    each = users / replicas
    steps = np.maximum(work.output_tokens - 1, 1)
    step = section.base_s + section.slope_s * (each - 1) + (each - 1) * work.prefill_s / steps
    ttft = work.prefill_s + step * (0 if each <= 1 else 1)
    e2e = ttft + step * np.maximum(work.output_tokens - 1, 0)
    good = (section.seats >= np.ceil(each)) & _within(work.slo, ttft, step, e2e)
    return Served(
        replicas=np.where(good, replicas, np.inf),
        concurrency=np.full_like(step, each),
        ttft_s=ttft,
        tpot_s=step,
        e2e_s=e2e,
        utilisation=each / np.maximum(section.seats, 1),
        requests_per_s=users / e2e,
    )


def _within(slo: Slo, ttft: Floats, tpot: Floats, e2e: Floats) -> NDArray[np.bool_]:
    good = np.isfinite(e2e)
    for seconds, limit in ((ttft, slo.ttft_ms), (tpot, slo.tpot_ms), (e2e, slo.e2e_ms)):
        if limit is not None:
            good &= seconds * 1e3 <= limit
    return good


def _powers_between(low: float, high: float) -> list[float]:
    """2·low, 4·low, … up to `high`, and `high` itself."""
    powers = []
    while low * 2 < high:
        low *= 2
        powers.append(low)
    return [*powers, high]


def _slo(scenario: Scenario) -> Slo:
    return Slo(scenario.ttft_ms, scenario.tpot_ms, scenario.e2e_ms, scenario.percentile)


def _outputs(space: Space) -> Floats:
    return space.table.output_tokens[space.plans.model]


def _loads(space: Space, scenario: Scenario, concurrency: float, *, full_context: bool) -> LoadColumns:
    """Room per sequence: the whole context for one request, and in engines with fixed slots; else one request."""
    model = space.plans.model
    output = space.table.output_tokens[model]
    slots = np.array([r.engine.batching != "continuous" for r in space.plans.runtimes], dtype=np.bool_)
    whole = full_context | slots[space.plans.runtime]
    return LoadColumns.from_arrays(
        input_tokens=float(scenario.input_tokens),
        output_tokens=output,
        context_tokens=np.where(whole, space.table.context_tokens[model], scenario.input_tokens + output),
        concurrency=concurrency,
        cached_input_tokens=float(scenario.cached_input_tokens),
    )
