"""What own measurements have taught: one set of corrections per device, engine and format, and per measured model."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median, stdev

from advisor.catalog import Catalog
from advisor.catalog.calibration_records import LocalCalibration
from advisor.evidence.local_fit import NORMAL_90, LocalFit, fit_local
from advisor.evidence.local_rows import (
    Row,
    by_model,
    distinct,
    memory_changes,
    middle,
    phases,
    product_changes,
    width_of,
)
from advisor.evidence.observations import Run, runs_of
from advisor.sizing.distance import REPEATS, Drift, drifts
from advisor.sizing.efficiency import efficiency_table
from advisor.sizing.products import product_elements
from probes.machine_records import Machine
from probes.result import ProbeResult

__all__ = ["first_off", "local_calibrations"]

KEPT_RUNS = 20  # of each format, the newest

Key = tuple[str, str]  # device, engine
Changes = tuple[float, float]  # of memory and of products from run to run


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
    changes = (memory_changes(runs), product_changes(runs))
    for format_id in dict.fromkeys(run.plan.format.id for run in runs):
        mine = [item for item in left if item[0].plan.format.id == format_id]
        whole = _whole_format(key, mine, fit, changes)
        yield whole
        for variant_id in dict.fromkeys(run.plan.variant.id for run, _, _ in mine):
            rows = [item for item in mine if item[0].plan.variant.id == variant_id]
            yield _one_model(whole, variant_id, rows, changes)


def _any_format(key: Key, rows: Sequence[Row], fit: LocalFit) -> LocalCalibration:
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
        runs=len(distinct(rows)),
    )


def _whole_format(key: Key, rows: Sequence[Row], fit: LocalFit, changes: Changes) -> LocalCalibration:
    """For models that were not run: what remains after the fit, as the median over those that were."""
    runs = distinct(rows)
    plan = runs[0].plan
    seen, drift = phases(rows), drifts(efficiency_table().intervals)
    offs = first_off(runs[-1].result)
    return LocalCalibration(
        device_id=key[0],
        engine_id=key[1],
        format_family=plan.format.family,
        format_id=plan.format.id,
        effects=fit.effects[plan.format.id],
        kinds=tuple(sorted({run.plan.variant.architecture.kind for run in runs})),
        decode_factor=_over_models(seen.decode),
        decode_factor_90=_carried(seen.decode, drift["decode|product"], changes[0]),
        prefill_factor=_over_models(seen.prefill),
        prefill_factor_90=_carried(seen.prefill, drift["prefill|product"], changes[1]),
        loaded_factor=_over_models(seen.loaded or seen.decode),
        loaded_factor_90=_carried(seen.loaded, drift["decode|product"], changes[0]) if seen.loaded else None,
        **seen.positions(),
        products=tuple(sorted({product_elements(run.plan.variant.architecture) for run in runs})),
        runs=len(runs),
        first_decode_off=offs[0],
        first_ttft_off=offs[1],
        newest=max(run.result.started_at for run in runs)[:10],
        machines=len({run.result.fingerprint for run in runs}),
    )


def _one_model(whole: LocalCalibration, variant_id: str, rows: Sequence[Row], changes: Changes) -> LocalCalibration:
    """Comes on top of the format's own: the factors are what that one leaves."""
    runs = distinct(rows)
    offs = first_off(runs[-1].result)
    seen = phases(rows)
    loaded = seen.loaded or (() if whole.loaded_factor_90 else seen.decode)
    return replace(
        whole,
        **(seen.positions() if seen.prefill else seen.positions() | {"prompts": whole.prompts}),
        effects=(),
        kinds=None,
        variant_id=variant_id,
        measured=True,
        products=(),
        decode_factor=_relative(seen.decode, whole.decode_factor),
        decode_factor_90=math.exp(width_of(seen.decode, changes[0])),
        prefill_factor=_relative(seen.prefill, whole.prefill_factor),
        prefill_factor_90=math.exp(width_of(seen.prefill, changes[1])) if seen.prefill else whole.prefill_factor_90,
        loaded_factor=_relative(loaded, whole.loaded_factor),
        loaded_factor_90=math.exp(width_of(seen.loaded, changes[0])) if seen.loaded else None,
        runs=len(runs),
        first_decode_off=offs[0],
        first_ttft_off=offs[1],
        newest=max(run.result.started_at for run in runs)[:10],
        machines=len({run.result.fingerprint for run in runs}),
    )


def _over_models(rows: Sequence[Row]) -> float:
    """Factor on seconds: the median over the models' own middles."""
    return math.exp(median(_middles(rows))) if rows else 1.0


def _relative(rows: Sequence[Row], to: float) -> float:
    return math.exp(middle(rows)) / to if rows else 1.0


def _carried(rows: Sequence[Row], drift: Drift, changes: float) -> float:
    """Half-width, as a factor, for another model with products of the same size: how much the models that were run
    differ here, and until there are three, how much models differ on public machines.
    """
    found = _middles(rows)
    between = NORMAL_90 * stdev(found) if len(found) > 2 else drift.repeat
    return math.exp(math.hypot(width_of(rows, changes), max(REPEATS, between)))


def _middles(rows: Sequence[Row]) -> list[float]:
    return [middle(mine) for mine in by_model(rows).values()]
