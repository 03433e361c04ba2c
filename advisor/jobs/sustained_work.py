"""A sustained measurement against the simulation of the same requests: figures, and how the run went over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from advisor.catalog.errors import InputError
from advisor.catalog.quantity import Quantity
from advisor.evidence.in_force import known_catalog
from advisor.jobs.answers import SustainedFigure, SustainedReport, Window
from advisor.jobs.sustained_run import DRAIN_FACTOR, Replay, Simulated, replay_of
from probes.machine import detect
from probes.result import Measured, Point, ProbeResult
from probes.spec import Kind, LoadTarget
from probes.store import Store
from probes.traffic import Account, Request

__all__ = ["NEWEST", "derating_of", "sustained_report", "windows_of"]

NEWEST = "latest"  # instead of an id
LATENCIES = tuple(f"p{p}_{name}" for name in ("ttft_ms", "tpot_ms") for p in (50, 95, 99))
_FIGURES = (*LATENCIES, "output_tok_s", "finished_requests", "queue_length_end")
_FIRST_SHARE = 0.2  # of the windows: the device is still cool
_SMOOTH = 5


def sustained_report(result_id: str, tell: Callable[[float, str, int], None]) -> SustainedReport:
    """Raises InputError for a measurement that is not a sustained run of this machine."""
    tell(0.1, "sustained", 0)
    found, target = _measurement(result_id)
    replay = replay_of(found, target, detect(), known_catalog())
    windows = windows_of(found.points, replay)
    plan = found.spec
    return SustainedReport(
        result_id=found.id,
        title=f"{plan.variant_id} · {plan.format_id} · {plan.device}",
        requests=len(replay.expected.requests),
        rate_per_s=target.requests_per_s,
        duration_s=target.duration_s,
        given_up_s=DRAIN_FACTOR * target.duration_s,
        windows=windows,
        figures=_figures(found, target, replay),
        derating=derating_of(windows),
        basis=replay.basis,
    )


def _measurement(result_id: str) -> tuple[ProbeResult, LoadTarget]:
    store, here = Store(), detect().fingerprint
    if result_id == NEWEST:
        runs = store.history(fingerprint=here, valid_only=True, kinds=(Kind.SUSTAINED,))
        found = next((r for r in runs if r.spec.endpoint is None), None)
    else:
        found = store.get(result_id)
    target = None if found is None or found.spec.kind is not Kind.SUSTAINED else found.spec.load
    if found is None or target is None or target.elapsed_before_s:
        raise InputError("measurement", "the id of a stored sustained run in one piece", result_id)
    if found.fingerprint != here or found.spec.endpoint is not None:
        raise InputError("measurement", "a sustained run of this machine with the built-in engine", found.machine_name)
    return found, target


def windows_of(points: Sequence[Point], replay: Replay) -> tuple[Window, ...]:
    """The probe counts a request's tokens in the window in which it ends; so is the simulation."""
    simulated = replay.expected
    windows, start, finished = [], 0.0, 0
    for point in points:
        if point.name != "window" or "elapsed_s" not in point.at:
            continue
        end = point.at["elapsed_s"]
        mine = [r for r in simulated.requests if r.finished_s is not None and start < r.finished_s <= end]
        counts = [_finished(run, end) for run in (simulated, replay.slow, replay.fast)]
        finished += round(_value(point, "finished_requests") or 0.0)
        windows.append(
            Window(
                end_s=end,
                arrived=sum(r.arrival_s <= end for r in simulated.requests),
                measured_finished=finished,
                simulated_finished=counts[0],
                simulated_range=(min(counts), max(counts)),
                measured_tok_s=_value(point, "output_tok_s") or 0.0,
                simulated_tok_s=sum(r.output_tokens for r in mine) / max(end - start, 1e-9),
                measured_tpot_ms=_value(point, "p50_tpot_ms"),
                simulated_tpot_ms=_median_ms(mine),
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


def _figures(found: ProbeResult, target: LoadTarget, replay: Replay) -> tuple[SustainedFigure, ...]:
    """What both know, by the probe's own account of either."""
    ours = [_account(run, target) for run in (replay.expected, replay.fast, replay.slow)]
    rows = []
    for name in _FIGURES:
        values = [figures[name].value for figures in ours if name in figures]
        if name in found.figures and len(values) == len(ours):
            simulated = Quantity(values[0], min(values), max(values), replay.basis, "simulation of the same requests")
            rows.append(SustainedFigure(name, found.figures[name].quantity(f"probe {found.id}"), simulated))
    return tuple(rows)


def _account(run: Simulated, target: LoadTarget) -> dict[str, Measured]:
    account = Account(target)
    for request in run.requests:
        if request.finished_s is not None:
            account.finish(request)
    figures = account.figures(run.ended_s)
    return figures | {"queue_length_end": Measured.of([float(_waiting(run.requests, target.duration_s))])}


def _finished(run: Simulated, until_s: float) -> int:
    return sum(r.finished_s is not None and r.finished_s <= until_s for r in run.requests)


def _waiting(requests: Sequence[Request], at_s: float) -> int:
    """Arrived, and not begun: the first token comes out of the step in which a request begins."""
    return sum(r.arrival_s <= at_s and (r.first_token_s is None or r.first_token_s > at_s) for r in requests)


def _value(point: Point, name: str) -> float | None:
    seen = point.values.get(name)
    return seen.value if seen else None


def _median_ms(requests: Sequence[Request]) -> float | None:
    known = [tpot for r in requests if (tpot := r.tpot_ms) is not None]
    return median(known) if known else None
