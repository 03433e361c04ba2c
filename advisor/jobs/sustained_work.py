"""A sustained measurement against the simulation of the same requests, window by window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from advisor.catalog import Catalog
from advisor.catalog.errors import InputError
from advisor.evidence.in_force import known_catalog
from advisor.jobs.answers import SustainedReport, Window
from advisor.serving.engines import EngineOptions
from advisor.serving.requests import request_table
from advisor.serving.result import SimulationResult
from advisor.serving.simulate import simulate
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import RequestTable
from advisor.sizing.efficiency import table_for
from advisor.sizing.plan import Load
from advisor.sizing.steptables import step_tables
from probes.machine import detect
from probes.machine_records import Machine
from probes.place import place_of, plan_at
from probes.result import Point, ProbeResult
from probes.spec import Kind, LoadTarget
from probes.store import Store
from probes.traffic import arrivals

__all__ = ["derating_of", "sustained_report", "windows_of"]

Floats = NDArray[np.float64]

# One whole prompt per step, then a decode step of all that run, in as many slots as the probe had.
_RULES = EngineOptions(block_tokens=1, chunked_prefill=False, prefill_first=True, reserve_output=True)
_FIRST_SHARE = 0.2  # of the windows: the device is still cool
_SMOOTH = 5


@dataclass(frozen=True, slots=True)
class _Simulated:
    result: SimulationResult
    table: RequestTable


def sustained_report(result_id: str, tell: Callable[[float, str, int], None]) -> SustainedReport:
    """Raises InputError for a measurement that is not a sustained run of this machine."""
    tell(0.1, "sustained", 0)
    store, machine = Store(), detect()
    found = store.get(result_id)
    target = None if found is None or found.spec.kind is not Kind.SUSTAINED else found.spec.load
    if found is None or target is None or target.elapsed_before_s:
        raise InputError("measurement", "a stored sustained run in one piece", result_id)
    if found.fingerprint != machine.fingerprint or found.spec.endpoint is not None:
        raise InputError("measurement", "a sustained run of this machine with the built-in engine", found.machine_name)
    catalog = known_catalog()
    simulated = _simulate(found, target, machine, catalog)
    windows = windows_of(found.points, simulated.result, simulated.table)
    plan = found.spec
    return SustainedReport(
        title=f"{plan.variant_id} · {plan.format_id} · {plan.device}",
        requests=len(simulated.table),
        windows=windows,
        figures=_figures(found, simulated),
        derating=derating_of(windows),
        calibrated=bool(catalog.calibrations),
    )


def _simulate(found: ProbeResult, target: LoadTarget, machine: Machine, catalog: Catalog) -> _Simulated:
    """The probe's own requests, which its seed repeats, on the step model with what this machine has taught."""
    rows = list(arrivals(found.spec, target))
    if not rows:
        raise InputError("measurement", "a run in which requests arrived", found.id)
    table = request_table(
        np.array([r.arrival_s for r in rows]),
        np.array([r.prompt_tokens for r in rows]),
        np.array([r.output_tokens for r in rows]),
    )
    place = found.place or place_of(found.spec, machine, catalog, [found])
    if place is None:
        raise InputError("measurement", "a run with the built-in engine", found.id)
    plan = plan_at(found.spec, place, catalog)
    prompt, output = max(found.spec.prompt_tokens), found.spec.output_tokens
    load = Load(prompt, output, int(1.5 * (prompt + output)) + 1, concurrency=target.slots)
    tables = asdict(step_tables(plan, load, table=table_for(catalog)))
    longest = int(table.input_tokens.max())
    tables |= {"max_num_seqs": target.slots, "max_num_batched_tokens": max(longest, target.slots)}
    tables["kvcap_tokens"] = max(tables["kvcap_tokens"], target.slots * load.context_tokens)
    return _Simulated(simulate(StepCosts(**tables), table, options=_RULES), table)


def windows_of(points: Sequence[Point], result: SimulationResult, table: RequestTable) -> tuple[Window, ...]:
    """The probe counts a request's tokens in the window in which it ends; so is the simulation."""
    ends = result.outcome.last_token_s
    windows, start = [], 0.0
    for point in points:
        if point.name != "window" or "elapsed_s" not in point.at:
            continue
        end = point.at["elapsed_s"]
        mine = (ends > start) & (ends <= end)
        tokens = float(table.output_tokens[mine].sum())
        seen, tpot = point.values.get("output_tok_s"), point.values.get("p50_tpot_ms")
        windows.append(
            Window(
                end_s=end,
                measured_tok_s=seen.value if seen else 0.0,
                simulated_tok_s=tokens / max(end - start, 1e-9),
                measured_tpot_ms=tpot.value if tpot else None,
                simulated_tpot_ms=_median_ms(result.outcome.tpot_s[mine]),
            )
        )
        start = end
    return tuple(windows)


def derating_of(windows: Sequence[Window]) -> tuple[tuple[float, float], ...]:
    """Step time over that of the cool device: measured over simulated, as a multiple of the same at the start."""
    known = [w for w in windows if w.measured_tpot_ms and w.simulated_tpot_ms]
    if len(known) < 2 * _SMOOTH:
        return ()
    ratio = [(w.measured_tpot_ms or 0.0) / (w.simulated_tpot_ms or 1.0) for w in known]
    cool = median(ratio[: max(_SMOOTH, int(_FIRST_SHARE * len(ratio)))])
    half = _SMOOTH // 2
    smooth = [median(ratio[max(0, i - half) : i + half + 1]) / cool for i in range(len(ratio))]
    return tuple((w.end_s, factor) for w, factor in zip(known, smooth, strict=True))


def _figures(found: ProbeResult, simulated: _Simulated) -> tuple[tuple[str, float, float], ...]:
    """What both know, measured first."""
    outcome = simulated.result.outcome
    values = {"ttft_ms": outcome.ttft_s * 1e3, "tpot_ms": outcome.tpot_s * 1e3}
    ours = {f"p{p}_{name}": float(np.nanpercentile(v, p)) for name, v in values.items() for p in (50, 95, 99)}
    ours["output_tok_s"] = simulated.result.output_tok_s
    return tuple((name, found.figures[name].value, value) for name, value in ours.items() if name in found.figures)


def _median_ms(seconds: Floats) -> float | None:
    known = seconds[~np.isnan(seconds)]
    return float(np.median(known)) * 1e3 if len(known) else None
