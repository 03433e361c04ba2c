"""Stored measurements as observations of the step model: one plan, one phase, seconds and their spread.

A run is set against the prediction for the memory bandwidth of that same run, so that a busy minute moves neither the
coefficients nor the prediction for the next model, and likewise for the matrix products read in between; how much
either varies from run to run widens the interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from advisor.catalog import Catalog
from advisor.catalog.errors import FathomError
from advisor.catalog.records import Architecture
from advisor.sizing.plan import Plan
from probes.disturbance import disturbance_of
from probes.engines.precision import RUNNABLE_FORMATS, canonical_format
from probes.layers import LayerCount
from probes.machine_records import Machine
from probes.place import as_measured, bandwidth_meanwhile, place_of, plan_at, usual_products
from probes.result import Measured, Place, Point, ProbeResult
from probes.spec import EngineName, Kind, ProbeSpec, SweepAxis

__all__ = ["UNREPEATED", "Observation", "Run", "runs_of"]

SLICE_ERROR = 0.07  # of an extrapolation from a few layers
LEAST_SPREAD = 0.02  # no reading repeats itself better
FEW_SAMPLES = 5
UNREPEATED = 0.31  # log units x sqrt(seconds): 90 % of prompts measured once (benchmarks/unrepeated.py, 2026-11-27)
PART_STEPS = 12
DISTURBED_CORES = 0.5  # other processes beyond this leave no few steps untouched
_KINDS = (Kind.FULL, Kind.SLICE, Kind.SWEEP)
_AXES = (SweepAxis.CONTEXT, SweepAxis.BATCH)


@dataclass(frozen=True, slots=True)
class Observation:
    """Seconds of a decode step of `sequences` at `context_tokens` each, or of the prefill of `context_tokens`, or
    (`is_attention`) only of what the cache adds to such a step.

    `spread`: half of the range that the samples spanned, log units. `disturbed`: by how much others may have slowed it
    besides, likewise. `part`: the layers that ran, where it was not the
    whole model: such a step tells what a layer costs and what the head does, which is how reading and overhead part.
    """

    is_prefill: bool
    context_tokens: float
    sequences: int
    seconds: float
    spread: float
    part: LayerCount | None = None
    disturbed: float = 0.0
    is_attention: bool = False

    @property
    def width(self) -> float:
        """Half-width of what the quiet machine may do, log units of seconds."""
        return math.hypot(self.spread, self.disturbed)

    def plan_of(self, run: Run) -> Plan:
        """The run's plan, with as many layers as ran."""
        if self.part is None:
            return run.plan
        a = run.plan.variant.architecture
        fewer = replace(
            a, num_layers=self.part.dense + self.part.moe, first_k_dense_replace=self.part.dense if a.is_moe else 0
        )
        name = f"{run.plan.variant.id}/{self.part.dense}+{self.part.moe}"  # models are told apart by their ids
        return replace(run.plan, variant=replace(run.plan.variant, id=name, architecture=fewer))


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
    products = {name: usual_products(name, history) for name in {r.fingerprint for r in history}}
    for result in history:
        bandwidth, place = bandwidth_meanwhile(result), _place(result, machine, catalog)
        if not _teaches(result) or bandwidth is None or bandwidth <= 0 or place is None:
            continue
        try:
            host = as_measured(place.host, result, products[result.fingerprint])
            plan = plan_at(result.spec, replace(place, host=host), catalog)
        except FathomError:  # a model, format or accelerator that this catalogue lacks
            continue
        width, reading = disturbance_of(result).width, _product_spread(result)
        found = tuple(
            replace(seen, disturbed=math.hypot(width, reading) if seen.is_prefill else width)
            for seen in _observations(result)
        )
        if found:
            yield Run(result, plan, place, bandwidth, found)


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
    yield from (seen for point in result.points if (seen := _of_point(point, result.spec)) is not None)
    yield from (seen for point in result.points if (seen := _of_part(point, result)) is not None)
    yield from (seen for point in result.points if (seen := _of_attention(point)) is not None)


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
    if "dense_layers" in point.at:
        return None
    decode, prefill = point.values.get("decode_tok_s"), point.values.get("prefill_tok_s")
    if point.name == "decode" and decode is not None and decode.value > 0:
        return _decode(decode, point.at.get("context_tokens", 0.0), spec, int(point.at.get("batch", 1)), 0.0)
    if point.name == "prefill" and prefill is not None and prefill.value > 0:
        return _prefill(prefill, point.at.get("prompt_tokens", 0.0), 0.0)
    return None


def _of_part(point: Point, result: ProbeResult) -> Observation | None:
    """A step of some of the layers, by a full run or a slice; not where layers differ from each other.

    A full run keeps the best step of a part, so it is brought to the conditions of the whole model's median by the
    ratio of that to its best.
    """
    spec = result.spec
    step, a = point.values.get("step_ms"), spec.architecture
    part = LayerCount(int(point.at.get("dense_layers", 0)), int(point.at.get("moe_layers", 0)))
    batch = max(1, int(point.at.get("batch", 1)))
    if "dense_layers" not in point.at or step is None or step.value <= 0 or part == LayerCount(0, 0):
        return None
    if (result.conditions.foreign_cores or 0.0) > DISTURBED_CORES:
        return None
    if a is None or not _divides(a, part) or (batch > 1 and part.moe):  # a slice keeps few of the experts
        return None
    if not _is_uniform(spec.format_id):
        return None
    context = point.at.get("context_tokens", 0.0) + PART_STEPS / 2
    rate = result.decode_tok_s
    usual = rate.high / rate.value if point.name == "part" and rate is not None and rate.value > 0 else 1.0
    return Observation(False, context, batch, usual * step.value / 1e3, _spread(step), part)


def _of_attention(point: Point) -> Observation | None:
    """Of any format: caches are alike, and no weight is read."""
    seen = point.values.get("attention_ms")
    if seen is None or seen.value <= 0:
        return None
    part = LayerCount(int(point.at["dense_layers"]), int(point.at["moe_layers"]))
    return Observation(False, point.at["context_tokens"], 1, seen.value / 1e3, _spread(seen), part, is_attention=True)


def _divides(a: Architecture, part: LayerCount) -> bool:
    alike = a.compression is None and a.sliding_window is None and a.moe_layer_interval == 1
    return alike and (a.is_moe or not part.moe)


def _is_uniform(format_id: str) -> bool:
    """Only where head and layers are read by the same kernels do parts tell reading from overhead."""
    precision = RUNNABLE_FORMATS.get(canonical_format(format_id))
    return precision is not None and precision.attention == precision.feed_forward == precision.head


def _decode(rate: Measured, prompt_tokens: float, spec: ProbeSpec, sequences: int, more: float) -> Observation:
    context = prompt_tokens + spec.output_tokens / 2
    return Observation(False, context, max(1, sequences), 1 / rate.value, math.hypot(_spread(rate), more))


def _prefill(rate: Measured, tokens: float, more: float) -> Observation:
    seconds = max(1.0, tokens) / rate.value
    once = UNREPEATED / math.sqrt(max(1.0, seconds)) if rate.n == 1 else 0.0
    return Observation(True, max(1.0, tokens), 1, seconds, math.hypot(max(_spread(rate), once), more))


def _product_spread(result: ProbeResult) -> float:
    """Of the reading of products that prompts are set against; 0 without one. A few short products are easily slowed,
    and the prompt then looks better than it was.
    """
    if result.conditions.product_ops_per_s is not None:
        return _spread(result.conditions.product_ops_per_s)
    rates = [p.values["ops_per_s"] for p in result.points if p.name == "gemm" and "ops_per_s" in p.values]
    return _spread(max(rates, key=lambda rate: rate.value)) if rates else 0.0


def _spread(figure: Measured) -> float:
    """Half of the log of the range that the samples spanned; twice that of too few samples."""
    if figure.low <= 0:
        return 1.0
    seen = math.log(figure.high / figure.low) / 2
    return max(LEAST_SPREAD, seen * (1.0 if figure.n >= FEW_SAMPLES else 2.0))
