"""What own measurements have taught: one set of corrections per device, engine and format, and per measured model."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import mean, median, stdev

import numpy as np
from numpy.typing import NDArray

from advisor.catalog import Catalog
from advisor.catalog.calibration_records import LocalCalibration
from advisor.evidence.local_fit import NORMAL_90, LocalFit, fit_local
from advisor.evidence.observations import Observation, Run, runs_of
from probes.machine_records import Machine
from probes.result import ProbeResult
from probes.spec import SweepAxis

__all__ = ["first_off", "local_calibrations"]

LEAST_WIDTH = math.log(1.05)  # no machine repeats itself better than this from day to day
TRANSFER_DECODE = math.log(1.10)  # to another model of the same format, until two models say how much it is here
TRANSFER_PREFILL = math.log(1.20)
KEPT_RUNS = 20  # of each format, the newest

Floats = NDArray[np.float64]
Key = tuple[str, str]  # device, engine
_Pair = tuple[Run, Observation, float]  # with log(measured / fitted)


def local_calibrations(
    history: Sequence[ProbeResult], machine: Machine | None, catalog: Catalog
) -> tuple[LocalCalibration, ...]:
    """Most specific first: measured models, then their formats, then all formats. `history`: newest first, of any
    machine.

    `machine`: this one; its processors are known by their host's id, those of others only if the catalogue has them.
    """
    groups: dict[Key, list[Run]] = defaultdict(list)
    for run in runs_of(history, machine, catalog):
        for device_id in _device_ids(run, machine):
            groups[device_id, run.plan.engine.id].append(run)
    found = [item for key, runs in sorted(groups.items()) for item in _of_group(key, _newest(runs))]
    return tuple(sorted(found, key=lambda item: (not item.measured, not item.format_id)))


def first_off(result: ProbeResult) -> tuple[float | None, float | None]:
    """(decode rate, time to first token): measured over foreseen before the run; None where either is missing."""
    pairs = (
        (result.decode_tok_s, result.predicted.decode_tok_s),
        (result.ttft_ms, result.predicted.ttft_ms),
    )
    decode, ttft = (seen.value / said.value if seen and said and said.value > 0 else None for seen, said in pairs)
    return decode, ttft


def _device_ids(run: Run, machine: Machine | None) -> tuple[str, ...]:
    place = run.place
    if place.on_accelerator:
        return (place.device_id,)
    mine = machine is not None and run.result.fingerprint == machine.fingerprint
    return tuple(name for name in (place.host.id if mine else "", place.host.cpu_device_id or "") if name)


def _newest(runs: Sequence[Run]) -> list[Run]:
    """A few of each format: newest first, as they come."""
    kept: dict[str, int] = defaultdict(int)
    found = []
    for run in runs:
        kept[run.plan.format.id] += 1
        if kept[run.plan.format.id] <= KEPT_RUNS:
            found.append(run)
    return found


def _of_group(key: Key, runs: Sequence[Run]) -> Iterator[LocalCalibration]:
    pairs = [(run, seen) for run in runs for seen in run.observations]
    fit = fit_local([seen.plan_of(run) for run, seen in pairs], [seen for _, seen in pairs])
    found = [(run, seen, float(rest)) for (run, seen), rest in zip(pairs, fit.left, strict=True)]
    left = [item for item in found if item[1].part is None]  # parts serve the coefficients only
    if left:
        yield _any_format(key, left, fit)
    for format_id in dict.fromkeys(run.plan.format.id for run in runs):
        mine = [item for item in left if item[0].plan.format.id == format_id]
        whole = _whole_format(key, mine, fit)
        yield whole
        for variant_id in dict.fromkeys(run.plan.variant.id for run, _, _ in mine):
            rows = [item for item in mine if item[0].plan.variant.id == variant_id]
            yield _one_model(whole, variant_id, rows)


def _any_format(key: Key, rows: Sequence[_Pair], fit: LocalFit) -> LocalCalibration:
    """For formats that were not run: what the kernels of one engine share here. Their intervals stay public."""
    return LocalCalibration(
        device_id=key[0],
        engine_id=key[1],
        format_family="",
        effects=fit.shared,
        kinds=(),
        decode_factor=1.0,
        decode_factor_90=1.0,
        prefill_factor=1.0,
        prefill_factor_90=1.0,
        runs=len(_distinct(rows)),
    )


def _whole_format(key: Key, rows: Sequence[_Pair], fit: LocalFit) -> LocalCalibration:
    """For models that were not run: what remains after the fit, as the median over those that were."""
    runs = _distinct(rows)
    plan = runs[0].plan
    decode, prefill = (_by_model(rows, is_prefill=phase) for phase in (False, True))
    offs = first_off(runs[-1].result)
    return LocalCalibration(
        device_id=key[0],
        engine_id=key[1],
        format_family=plan.format.family,
        format_id=plan.format.id,
        effects=fit.effects[plan.format.id],
        kinds=tuple(sorted({run.plan.variant.architecture.kind for run in runs})),
        decode_factor=math.exp(_middle(decode)),
        decode_factor_90=math.exp(math.hypot(_width(rows, is_prefill=False), _transfer(decode, TRANSFER_DECODE))),
        prefill_factor=math.exp(_middle(prefill)),
        prefill_factor_90=math.exp(math.hypot(_width(rows, is_prefill=True), _transfer(prefill, TRANSFER_PREFILL))),
        runs=len(runs),
        most_sequences=max(seen.sequences for _, seen, _ in rows),
        first_decode_off=offs[0],
        first_ttft_off=offs[1],
        newest=max(run.result.started_at for run in runs)[:10],
        machines=len({run.result.fingerprint for run in runs}),
    )


def _one_model(whole: LocalCalibration, variant_id: str, rows: Sequence[_Pair]) -> LocalCalibration:
    """Comes on top of the format's own: the factors are what that one leaves."""
    runs = _distinct(rows)
    offs = first_off(runs[-1].result)
    decode, prefill = (_rests(rows, is_prefill=phase) for phase in (False, True))
    return replace(
        whole,
        effects=(),
        kinds=None,
        variant_id=variant_id,
        measured=True,
        decode_factor=math.exp(_middle(decode)) / whole.decode_factor if decode else 1.0,
        decode_factor_90=math.exp(_width(rows, is_prefill=False)),
        prefill_factor=math.exp(_middle(prefill)) / whole.prefill_factor if prefill else 1.0,
        prefill_factor_90=math.exp(_width(rows, is_prefill=True)) if prefill else whole.prefill_factor_90,
        runs=len(runs),
        most_context_tokens=max(_deepest(run.result) for run in runs),
        most_sequences=max(seen.sequences for _, seen, _ in rows),
        first_decode_off=offs[0],
        first_ttft_off=offs[1],
        newest=max(run.result.started_at for run in runs)[:10],
        machines=len({run.result.fingerprint for run in runs}),
    )


def _deepest(result: ProbeResult) -> int:
    """Tokens of context that were reached: a sweep may end before its last value."""
    spec = result.spec
    if spec.sweep_axis is not SweepAxis.CONTEXT:
        return spec.context_tokens
    reached = [p.at["context_tokens"] for p in result.points if p.name == "decode" and "context_tokens" in p.at]
    return int(max(reached, default=0)) + spec.output_tokens


def _distinct(rows: Sequence[_Pair]) -> list[Run]:
    """Newest first."""
    return list({run.result.id: run for run, _, _ in rows}.values())


def _rests(rows: Sequence[_Pair], *, is_prefill: bool) -> list[float]:
    return [rest for _, seen, rest in rows if seen.is_prefill is is_prefill]


def _by_model(rows: Sequence[_Pair], *, is_prefill: bool) -> list[float]:
    """Median remainder of each model."""
    found: dict[str, list[float]] = defaultdict(list)
    for run, seen, rest in rows:
        if seen.is_prefill is is_prefill:
            found[run.plan.variant.id].append(rest)
    return [median(values) for values in found.values()]


def _middle(values: Sequence[float]) -> float:
    return median(values) if values else 0.0


def _transfer(by_model: Sequence[float], assumed: float) -> float:
    """Half-width, log units, of carrying over to another model: seen between models, else assumed."""
    return max(LEAST_WIDTH, NORMAL_90 * stdev(by_model)) if len(by_model) > 2 else assumed


def _width(rows: Sequence[_Pair], *, is_prefill: bool) -> float:
    """Half-width of the 90 % interval, log units: scatter of runs, spread inside them, changes of bandwidth."""
    chosen = [item for item in rows if item[1].is_prefill is is_prefill]
    if not chosen:
        return math.log(2.0)
    scatter = stdev(rest for _, _, rest in chosen) if len(chosen) > 1 else 0.0
    readings = [math.log(run.bandwidth_bytes_per_s) for run in _distinct(chosen)]
    between = 0.0 if is_prefill or len(readings) < 2 else stdev(readings)
    inside = mean(seen.spread for _, seen, _ in chosen)
    return max(LEAST_WIDTH, math.hypot(NORMAL_90 * scatter, inside, NORMAL_90 * between))
