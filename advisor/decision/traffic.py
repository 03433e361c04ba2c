"""How many replicas hold the scenario's traffic, and at what latency, for every plan of the grid.

The step model gives the time of a decode step at a few batch sizes. Between two of them it is taken as linear, and
the closed form of `advisor.serving` finds the fewest replicas that meet the limits; the best section wins. Requests
in a closed loop without pauses (`concurrency`) share replicas directly.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.decision.scenario import Scenario
from advisor.decision.space import Space
from advisor.serving.closed_form import ReplicaRates, Traffic, closed_form
from advisor.serving.workload import Slo
from advisor.sizing.columns import LoadColumns, PlanColumns
from advisor.sizing.grid import GridResult, evaluate

__all__ = ["Served", "Times", "serve", "unloaded"]

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_] | NDArray[np.intp]

BATCHES = (8, 64, 256)  # where the step model is asked, beside one sequence
_SEATS = {"continuous": 256, "slots": 16, "static": 1}  # default number of sequences an engine takes at once


@dataclass(frozen=True, slots=True)
class Times:
    """One request alone on one replica. Arrays of shape (plans,)."""

    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats

    def take(self, rows: Rows) -> Times:
        return Times(self.ttft_s[rows], self.tpot_s[rows], self.e2e_s[rows])


@dataclass(frozen=True, slots=True)
class Served:
    """The scenario's traffic on the fewest replicas; infinite replicas: no number meets the limits. Seconds are at
    the scenario's percentile. `low` and `high` factors of the step model's interval apply to all of them."""

    replicas: Floats
    concurrency: Floats  # sequences in flight per replica
    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats
    utilisation: Floats
    requests_per_s: Floats  # of the whole fleet, at the peak

    def take(self, rows: Rows) -> Served:
        return Served(*(getattr(self, item.name)[rows] for item in fields(self)))

    def spread(self, rows: NDArray[np.bool_]) -> Served:
        """These plans at the rows chosen of a larger grid; no fleet at the others."""
        columns = []
        for item in fields(self):
            column = np.full(len(rows), np.inf if item.name == "replicas" else np.nan)
            column[rows] = getattr(self, item.name)
            columns.append(column)
        return Served(*columns)


def unloaded(space: Space, scenario: Scenario) -> tuple[GridResult, Times]:
    """Sizes every plan for one sequence of the full context."""
    grid = evaluate(_compact(space.plans), _loads(space, scenario, 1, full_context=True))
    steps = np.maximum(_outputs(space) - 1, 0)
    return grid, Times(grid.ttft_s.value, grid.tpot_s.value, grid.ttft_s.value + grid.tpot_s.value * steps)


def serve(space: Space, scenario: Scenario, alone: Times) -> Served:
    """Replicas and latency under the scenario's traffic."""
    sections = _sections(space, scenario, alone)
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

    def take(self, rows: Rows) -> _Section:
        return _Section(self.seats[rows], self.base_s[rows], self.slope_s[rows])


def _sections(space: Space, scenario: Scenario, alone: Times) -> tuple[_Section, ...]:
    runtimes = space.plans.runtimes
    limit = np.array([_SEATS[r.engine.batching] for r in runtimes], dtype=np.float64)[space.plans.runtime]
    plans = _compact(space.plans)
    sections = []
    before, step = 1.0, alone.tpot_s
    for batch in BATCHES:
        grid = evaluate(plans, _loads(space, scenario, batch, full_context=False))
        seats = np.minimum(np.minimum(grid.max_concurrency, limit), batch)
        slope = np.maximum(grid.tpot_s.value - step, 0) / (batch - before)
        usable = seats >= (1 if before == 1 else before + 1)
        sections.append(_Section(np.where(usable, seats, 0), step - slope * (before - 1), slope))
        before, step = float(batch), grid.tpot_s.value
        if not usable.any():
            break
    return tuple(sections)


def _open(rate: Floats, work: _Work, sections: tuple[_Section, ...]) -> Served:
    """Requests that arrive at `rate` (plans,), whatever the fleet does."""
    best = _closed_form(rate, work, sections[0])
    for section in sections[1:]:
        rows = (section.seats >= 1) & (best.replicas > 1)
        if rows.any():
            answer = _closed_form(rate[rows], work.take(rows), section.take(rows)).spread(rows)
            best = _choose(answer.replicas < best.replicas, answer, best)
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


def _share_out(users: float, work: _Work, sections: tuple[_Section, ...]) -> Served:
    """`users` requests always in flight, shared equally: as many on each replica as the limits allow.

    In one turn of a replica with b requests each of them decodes to its end and the b prompts are read in between.
    """
    best: Served | None = None
    for section in sections:
        for batch in _powers_up_to(min(users, BATCHES[-1])):
            answer = _shared(users, batch, work, section)
            best = answer if best is None else _choose(answer.replicas < best.replicas, answer, best)
    assert best is not None  # one request is always tried
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


def _choose(rows: NDArray[np.bool_], yes: Served, no: Served) -> Served:
    return Served(*(np.where(rows, getattr(yes, item.name), getattr(no, item.name)) for item in fields(Served)))


def _powers_up_to(limit: float) -> list[float]:
    powers = [1.0]
    while powers[-1] * 2 <= limit:
        powers.append(powers[-1] * 2)
    return powers if powers[-1] == limit else [*powers, limit]


def _slo(scenario: Scenario) -> Slo:
    return Slo(scenario.ttft_ms, scenario.tpot_ms, scenario.e2e_ms, scenario.percentile)


def _outputs(space: Space) -> Floats:
    return space.table.output_tokens[space.plans.model]


def _compact(plans: PlanColumns) -> PlanColumns:
    """The same rows with tables of only what they use: the step model computes once per table entry and pair."""
    columns: dict[str, Any] = {}
    for table, index in (("models", "model"), ("runtimes", "runtime"), ("hardware", "machine")):
        used, position = np.unique(getattr(plans, index), return_inverse=True)
        columns[table] = tuple(getattr(plans, table)[i] for i in used)
        columns[index] = position.astype(np.intp)
    return replace(plans, **columns)


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
