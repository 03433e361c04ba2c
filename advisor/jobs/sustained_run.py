"""The requests of a stored sustained measurement on the simulator, under the rules of the probe's own server."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from advisor.catalog import Catalog
from advisor.catalog.errors import InputError
from advisor.catalog.quantity import Basis, Quantity
from advisor.serving.engines import EngineOptions
from advisor.serving.requests import request_table
from advisor.serving.simulate import simulate
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import RequestTable
from advisor.sizing.efficiency import table_for
from advisor.sizing.plan import Load, Plan
from advisor.sizing.size import size
from advisor.sizing.steptables import step_tables
from probes.machine_records import Machine
from probes.place import place_of, plan_at, with_own
from probes.result import ProbeResult
from probes.spec import LoadTarget
from probes.traffic import DRAIN_FACTOR, Request, arrivals

__all__ = ["DRAIN_FACTOR", "Replay", "Simulated", "replay_of"]

# One whole prompt per step, then a decode step of all that run, in as many slots as the probe had.
_RULES = EngineOptions(block_tokens=1, chunked_prefill=False, prefill_first=True, reserve_output=True)


@dataclass(frozen=True, slots=True)
class Simulated:
    """The requests with the moments that the simulation gave them; those after `ended_s` never happened."""

    requests: tuple[Request, ...]
    ended_s: float


@dataclass(frozen=True, slots=True)
class Replay:
    """`fast` and `slow`: every step at the ends of its 90 % interval."""

    expected: Simulated
    fast: Simulated
    slow: Simulated
    basis: Basis


def replay_of(found: ProbeResult, target: LoadTarget, machine: Machine, catalog: Catalog) -> Replay:
    """The probe's own requests, which its seed repeats, on the step model with what this machine has taught.

    A sustained run teaches the step model nothing, so it is compared with what other measurements say.
    Raises InputError for a run without requests.
    """
    rows = tuple(arrivals(found.spec, target))
    place = found.place or place_of(found.spec, machine, catalog, [found])
    if place is None or not rows:
        raise InputError("measurement", "a run of the built-in engine in which requests arrived", found.id)
    catalog = with_own(catalog, found.spec)
    plan, load = plan_at(found.spec, place, catalog), _load(found, target)
    costs = _costs(plan, load, target, catalog, max(r.prompt_tokens for r in rows))
    speed = size(plan, load, catalog)
    ends = [
        _at(costs, target, _end(speed.tpot_ms, side), _end(speed.ttft_ms, side)) for side in ("low", "high")
    ]
    expected, fast, slow = (_run(version, rows, target) for version in (costs, *ends))
    return Replay(expected, fast, slow, speed.tpot_ms.basis)


def _load(found: ProbeResult, target: LoadTarget) -> Load:
    prompt, output = max(found.spec.prompt_tokens), found.spec.output_tokens
    return Load(prompt, output, int(1.5 * (prompt + output)) + 1, concurrency=target.slots)


def _costs(plan: Plan, load: Load, target: LoadTarget, catalog: Catalog, longest: int) -> StepCosts:
    tables = asdict(step_tables(plan, load, table=table_for(catalog)))
    tables |= {"max_num_seqs": target.slots, "max_num_batched_tokens": max(longest, target.slots)}
    tables["kvcap_tokens"] = max(tables["kvcap_tokens"], target.slots * load.context_tokens)
    return StepCosts(**tables)


def _end(quantity: Quantity, side: str) -> float:
    """The end of an interval as a multiple of its value."""
    return float(getattr(quantity, side)) / quantity.value if quantity.value > 0 else 1.0


def _at(costs: StepCosts, target: LoadTarget, decode: float, prefill: float) -> StepCosts:
    """Decode steps, which hold at most one token per slot, and prompts at other speeds."""
    seconds = zip(costs.ntok, costs.step_s, strict=True)
    return replace(
        costs,
        step_s=tuple(s * (decode if n <= target.slots else prefill) for n, s in seconds),
        cdec=costs.cdec * decode,
        cmix=costs.cmix * decode,
        cpre=costs.cpre * prefill,
    )


def _run(costs: StepCosts, rows: tuple[Request, ...], target: LoadTarget) -> Simulated:
    """The probe stops when all is answered, or gives up at a multiple of its length: what is left is not counted."""
    outcome = simulate(costs, _table(rows), options=_RULES).outcome
    limit = DRAIN_FACTOR * target.duration_s
    requests = tuple(
        _moments(row, first, last, limit)
        for row, first, last in zip(rows, outcome.first_token_s, outcome.last_token_s, strict=True)
    )
    return Simulated(requests, min(limit, float(np.nanmax(outcome.last_token_s))))


def _moments(row: Request, first_s: float, last_s: float, limit_s: float) -> Request:
    if not first_s <= limit_s:
        return Request(row.arrival_s, row.prompt_tokens, row.output_tokens)
    ended = last_s <= limit_s
    return replace(
        row,
        first_token_s=float(first_s),
        finished_s=float(last_s) if ended else None,
        generated=row.output_tokens if ended else 1,
    )


def _table(rows: tuple[Request, ...]) -> RequestTable:
    arrival = np.array([row.arrival_s for row in rows])
    prompts = np.array([row.prompt_tokens for row in rows])
    return request_table(arrival, prompts, np.array([row.output_tokens for row in rows]))
