"""Stored measurements as observations of the step model: one plan, one phase, seconds and their spread.

A run is set against the prediction for the memory bandwidth of that same run, so that a busy minute moves neither the
coefficients nor the prediction for the next model; how much the bandwidth itself varies widens the interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from advisor.catalog import Catalog
from advisor.catalog.errors import FathomError
from advisor.sizing.plan import Plan
from probes.machine_records import Machine
from probes.place import as_measured, place_of, plan_at
from probes.result import Measured, Place, Point, ProbeResult
from probes.spec import EngineName, Kind, ProbeSpec, SweepAxis

__all__ = ["Observation", "Run", "runs_of"]

SLICE_ERROR = 0.07  # of an extrapolation from a few layers
LEAST_SPREAD = 0.02  # no reading repeats itself better
FEW_SAMPLES = 5
_KINDS = (Kind.FULL, Kind.SLICE, Kind.SWEEP)
_AXES = (SweepAxis.CONTEXT, SweepAxis.BATCH)


@dataclass(frozen=True, slots=True)
class Observation:
    """Seconds of a decode step of `sequences` at `context_tokens` each, or of the prefill of `context_tokens`.

    `spread`: half of the range that the samples spanned, log units.
    """

    is_prefill: bool
    context_tokens: float
    sequences: int
    seconds: float
    spread: float


@dataclass(frozen=True, slots=True)
class Run:
    """What one result teaches. `bandwidth_bytes_per_s`: as read while it ran."""

    result: ProbeResult
    plan: Plan
    place: Place
    bandwidth_bytes_per_s: float
    observations: tuple[Observation, ...]


def runs_of(history: Sequence[ProbeResult], machine: Machine | None, catalog: Catalog) -> Iterator[Run]:
    """Of every result that teaches something. `machine`: this one, for results stored without their place."""
    for result in history:
        bandwidth, place = result.bandwidth_bytes_per_s, _place(result, machine, catalog)
        if not _teaches(result) or bandwidth is None or bandwidth.value <= 0 or place is None:
            continue
        try:
            plan = plan_at(result.spec, replace(place, host=as_measured(place.host, result)), catalog)
        except FathomError:  # a model, format or accelerator that this catalogue lacks
            continue
        found = tuple(_observations(result))
        if found:
            yield Run(result, plan, place, bandwidth.value, found)


def _teaches(result: ProbeResult) -> bool:
    spec = result.spec
    if not result.is_valid or spec.kind not in _KINDS or spec.engine is EngineName.ENDPOINT:
        return False
    return "fits_in_cache" not in result.flags and (spec.kind is not Kind.SWEEP or spec.sweep_axis in _AXES)


def _place(result: ProbeResult, machine: Machine | None, catalog: Catalog) -> Place | None:
    if result.place is not None or machine is None or result.fingerprint != machine.fingerprint:
        return result.place
    return place_of(result.spec, machine, catalog)


def _observations(result: ProbeResult) -> Iterator[Observation]:
    if result.spec.kind is not Kind.SWEEP:
        yield from _headline(result)
    if result.spec.kind is not Kind.SLICE:  # the points of a slice are of a part of the model
        yield from (seen for point in result.points if (seen := _of_point(point, result.spec)) is not None)


def _headline(result: ProbeResult) -> Iterator[Observation]:
    """Full runs repeat their headline in the points; slices have no points of the whole."""
    if result.spec.kind is not Kind.SLICE and result.points:
        return
    spec, more = result.spec, SLICE_ERROR if result.spec.kind is Kind.SLICE else 0.0
    longest = max(spec.prompt_tokens)
    if result.decode_tok_s is not None:
        yield _decode(result.decode_tok_s, longest, spec, spec.batch, more)
    if result.prefill_tok_s is not None:
        yield _prefill(result.prefill_tok_s, longest, more)


def _of_point(point: Point, spec: ProbeSpec) -> Observation | None:
    decode, prefill = point.values.get("decode_tok_s"), point.values.get("prefill_tok_s")
    if point.name == "decode" and decode is not None and decode.value > 0:
        return _decode(decode, point.at.get("context_tokens", 0.0), spec, int(point.at.get("batch", 1)), 0.0)
    if point.name == "prefill" and prefill is not None and prefill.value > 0:
        return _prefill(prefill, point.at.get("prompt_tokens", 0.0), 0.0)
    return None


def _decode(rate: Measured, prompt_tokens: float, spec: ProbeSpec, sequences: int, more: float) -> Observation:
    context = prompt_tokens + spec.output_tokens / 2
    return Observation(False, context, max(1, sequences), 1 / rate.value, math.hypot(_spread(rate), more))


def _prefill(rate: Measured, tokens: float, more: float) -> Observation:
    return Observation(True, max(1.0, tokens), 1, max(1.0, tokens) / rate.value, math.hypot(_spread(rate), more))


def _spread(figure: Measured) -> float:
    """Half of the log of the range that the samples spanned; twice that of too few samples."""
    if figure.low <= 0:
        return 1.0
    seen = math.log(figure.high / figure.low) / 2
    return max(LEAST_SPREAD, seen * (1.0 if figure.n >= FEW_SAMPLES else 2.0))
