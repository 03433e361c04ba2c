"""What a probe should measure, said before it runs: bytes from its tensors, seconds from the sizing model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from advisor.catalog import Catalog
from advisor.catalog.errors import FathomError
from advisor.catalog.quantity import Basis, Quantity
from advisor.sizing.efficiency import EfficiencyTable
from advisor.sizing.plan import Load
from probes.cpu import available_bytes
from probes.duration import duration_s
from probes.lessons import lessons_of
from probes.load_time import foreseen_load
from probes.machine_records import Machine
from probes.moments import ForeseenMoment, foreseen_moments, foreseen_points
from probes.need import Need, memory_limit, need_of, refusal
from probes.needs import needed
from probes.pace import rates_by_pace
from probes.pace_curves import PaceCurves
from probes.place import accelerator_of, device_at, measured_bandwidth, place_of
from probes.possible import refuse_impossible
from probes.result import Place, Prediction, ProbeResult
from probes.slice_depths import with_depths
from probes.spec import EngineName, Kind, ProbeSpec, SweepAxis
from probes.sweep_values import at_position, fitted, positions

__all__ = ["NOTHING_FORESEEN", "Foresight", "foresee", "load_of"]

BANDWIDTH_FACTOR = 1.5  # a quarter-second reading against a probe's own: neighbours come and go
NOTHING = Need(0, 0, 0, 0)
RUNS_THAT_COUNT = 20
PATIENCE, MOST_S = 2.0, 7 * 86_400.0
PEAK_SPARE_BYTES = 600 * 2**20  # oneDNN and the allocator keep up to half a GiB of scratch, run by run


@dataclass(frozen=True, slots=True)
class Foresight:
    """`refused`: (bytes needed, bytes that may be taken) when the probe would not fit. `unknown`: why seconds are
    missing. `runs`: the probe that can be run: of a sweep, the values that fit; of a slice, the layers.
    """

    prediction: Prediction
    need: Need
    refused: tuple[int, int] | None
    unknown: str = ""
    place: Place | None = None
    runs: ProbeSpec | None = None

    def patient(self, spec: ProbeSpec) -> ProbeSpec:
        """`spec` with time for twice the longest duration foreseen: it ends what hangs, not what is slow."""
        longest = self.prediction.duration_s.high if self.prediction.duration_s else 0.0
        return replace(spec, timeout_s=min(max(spec.timeout_s, PATIENCE * longest), MOST_S))


NOTHING_FORESEEN = Foresight(Prediction(), NOTHING, None)


def foresee(
    spec: ProbeSpec,
    machine: Machine,
    catalog: Catalog,
    history: Sequence[ProbeResult] = (),
    table: EfficiencyTable | None = None,
) -> Foresight:
    """Raises UnsupportedError for a format or architecture that the engine cannot run (NotHereError: not on this
    device), and InputError for a device that is not here.

    `history`: earlier results of this machine; they give its bandwidth and the engine's own overhead.
    `table`: other than the calibration in force, which the catalogue carries.
    """
    if spec.engine is EngineName.ENDPOINT:
        return Foresight(Prediction(), NOTHING, None, "the server's hardware is not known", runs=spec)
    alike = [r for r in history if r.spec.engine is spec.engine and r.spec.device == spec.device]
    refuse_impossible(spec, machine)
    accelerator = accelerator_of(spec, machine)
    free = available_bytes() if accelerator is None else accelerator.free_bytes or accelerator.memory_bytes

    runtime_bytes = _runtime(alike)

    def need_for(one: ProbeSpec) -> Need:
        return _learned(needed(one), runtime_bytes)

    spec = with_depths(fitted(spec, need_for, memory_limit(free), machine.cpu.threads), need_for, memory_limit(free))
    first, most = _first_and_most(spec, need_for)
    place = place_of(spec, machine, catalog, history)
    assert place is not None  # only an endpoint has none
    bandwidth = _bandwidth(spec, place, machine, catalog, history)
    moments, by_pace, unknown = _moments(spec, place, catalog, table)
    prediction = Prediction(
        peak_bytes=Quantity(
            most.total_bytes,
            first.tensor_bytes + first.cache_bytes,
            most.total_bytes + PEAK_SPARE_BYTES,
            Basis.ESTIMATED,
            "tensors of the architecture",
        ),
        load_s=foreseen_load(first.tensor_bytes, alike, spec.engine, virtual=bool(machine.cpu.hypervisor)),
        bandwidth_bytes_per_s=bandwidth,
        lessons=lessons_of(spec, history),
        by_pace=by_pace,
    )
    if moments:
        assert bandwidth is not None  # of a card that the catalogue does not know, no rates are foreseen
        usual = bandwidth.value if place.on_accelerator else place.host.memory_bandwidth_bytes_per_s
        prediction = _with_seconds(prediction, moments, first, spec, machine, usual)
    return Foresight(prediction, most, refusal(most, free), unknown, place, spec)


def _first_and_most(spec: ProbeSpec, need: Callable[[ProbeSpec], Need]) -> tuple[Need, Need]:
    """Of the first position of a sweep and of the one that needs most; the same for everything else."""
    if spec.kind is not Kind.SWEEP or not positions(spec):
        only = need(spec)
        return only, only
    found = [need(at_position(spec, position)) for position in positions(spec)]
    return found[0], max(found, key=lambda n: n.total_bytes)


def load_of(spec: ProbeSpec) -> Load:
    """One measurement as a steady load."""
    return Load(max(spec.prompt_tokens), spec.output_tokens, spec.context_tokens, concurrency=spec.batch)


def _moments(
    spec: ProbeSpec, place: Place, catalog: Catalog, table: EfficiencyTable | None
) -> tuple[list[ForeseenMoment], PaceCurves, str]:
    """With the rates by the machine's pace, and why there is neither."""
    try:
        return foreseen_moments(spec, place, catalog, table), rates_by_pace(spec, place, catalog, table), ""
    except FathomError as problem:
        return [], PaceCurves(), str(problem)


def _with_seconds(
    prediction: Prediction, moments: Sequence[ForeseenMoment], need: Need, spec: ProbeSpec, machine: Machine,
    usual_read: float,
) -> Prediction:  # fmt: skip
    """Of a sweep: every point, and the first one as the headline. `need`: of the first. `usual_read`: bytes per second
    of memory as it usually is while probes run; the bandwidth that a run reports is its best reading.
    """
    cores, virtual = machine.cpu.cores, bool(machine.cpu.hypervisor)
    prediction = replace(prediction, points=foreseen_points(spec, moments, cores))
    speed = moments[0].speed
    decode = speed.decode_tok_s
    whole = need_of(_first(spec), whole=True) if spec.engine is EngineName.TORCH else need
    read = whole.read_bytes / usual_read
    source = "decode x bytes / usual speed of memory"
    mbu = Quantity(decode.value * read, decode.low * read, decode.high * read, decode.basis, source)
    share = need.read_bytes / max(1, whole.read_bytes)  # a slice does less
    load = prediction.load_s.value if prediction.load_s else 0.0
    steps = tuple(1 / max(m.speed.decode_tok_s.value, 1e-9) for m in moments)
    prompts = tuple(m.speed.ttft_ms.value / 1e3 for m in moments) if spec.sweep_axis is SweepAxis.CONTEXT else ()
    seconds = duration_s(spec, speed.prefill_tok_s.value, decode.value, load, share, steps, prompts, virtual=virtual)
    prediction = replace(prediction, duration_s=Quantity.within(seconds, 2.0, Basis.ESTIMATED, "sum of the phases"))
    if spec.kind is not Kind.SWEEP or spec.sweep_axis is SweepAxis.CONTEXT:
        prompt = {"prefill_tok_s": speed.prefill_tok_s, "ttft_ms": speed.ttft_ms}
        return replace(prediction, decode_tok_s=decode, mbu=mbu, **prompt)
    other = spec.sweep_axis is SweepAxis.THREADS and spec.sweep_values[0] != cores
    return prediction if other else replace(prediction, decode_tok_s=decode, mbu=mbu)


def _first(spec: ProbeSpec) -> ProbeSpec:
    return at_position(spec, positions(spec)[0]) if spec.kind is Kind.SWEEP and positions(spec) else spec


def _bandwidth(
    spec: ProbeSpec, place: Place, machine: Machine, catalog: Catalog, history: Sequence[ProbeResult]
) -> Quantity | None:
    """Of the memory that the weights are read from: as earlier probes read it, else timed now or by its datasheet.
    None for an accelerator that the catalogue does not know.
    """
    known = measured_bandwidth(machine.fingerprint, history, spec.device)
    if known is not None:
        return Quantity.within(known, BANDWIDTH_FACTOR, Basis.CALIBRATED, "earlier probes of this machine")
    if place.on_accelerator:
        device = device_at(place, catalog) if place.device_id else None
        rate = device.bandwidth_bytes_per_s if device else 0.0
        source = "datasheet of the card x memory slices" if place.part else "datasheet"
        return Quantity(rate, rate / BANDWIDTH_FACTOR, rate, Basis.ESTIMATED, source) if device else None
    rate = place.host.memory_bandwidth_bytes_per_s
    return Quantity.within(rate, BANDWIDTH_FACTOR, Basis.ESTIMATED, "a reading just timed")


def _runtime(history: Sequence[ProbeResult]) -> int | None:
    """What earlier probes of this device took beyond tensors, cache and activations; None where there are none."""
    extra = []
    for r in history:
        if not r.is_valid or not r.peak_bytes or not r.tensor_bytes or r.peak_bytes <= r.tensor_bytes:
            continue
        if r.spec.kind is Kind.SWEEP:  # whose cache grows with its values
            continue
        own = needed(r.spec)
        extra.append(r.peak_bytes - r.tensor_bytes - own.cache_bytes - own.activation_bytes)
        if len(extra) == RUNS_THAT_COUNT:
            break
    return int(median(extra)) if extra else None


def _learned(need: Need, runtime_bytes: int | None) -> Need:
    """The runtime as it was measured here."""
    if runtime_bytes is None:
        return need
    return replace(need, runtime_bytes=max(need.runtime_bytes // 2, runtime_bytes))
