"""What each point of a probe should measure, foreseen at once, before the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from advisor.catalog import Catalog
from advisor.catalog.quantity import Quantity
from advisor.sizing.alone import Moment, Speed, speeds_alone
from advisor.sizing.efficiency import EfficiencyTable, table_for
from probes.need import need_of
from probes.place import plan_at
from probes.result import ForeseenPoint, Place
from probes.spec import EngineName, Kind, ProbeSpec, SweepAxis
from probes.sweep_values import at_position, positions

__all__ = ["ForeseenMoment", "foreseen_moments", "foreseen_points"]

_IN_PROCESS = (EngineName.TORCH, EngineName.OPENVINO, EngineName.ORT)


@dataclass(frozen=True, slots=True)
class ForeseenMoment:
    """One position of a sweep; other probes have one, at the longest prompt."""

    format_id: str
    context_tokens: int
    sequences: int
    speed: Speed


def foreseen_moments(
    spec: ProbeSpec, place: Place, catalog: Catalog, table: EfficiencyTable | None
) -> list[ForeseenMoment]:
    """In the order of the sweep's positions. Raises FathomError where the model, format or device is not known."""
    singles = _singles(spec)
    given = [(one.format_id, *_load(one)) for one in singles]
    moments = [
        Moment(plan_at(replace(spec, format_id=name), place, catalog), context, spec.output_tokens, sequences)
        for name, context, sequences in given
    ]
    speeds = speeds_alone(moments, table or table_for(catalog))
    if spec.engine in _IN_PROCESS:
        speeds = [_unserved(speed, m.prompt_tokens) for speed, m in zip(speeds, moments, strict=True)]
    if spec.engine is EngineName.TORCH and not place.on_accelerator:
        rate = place.host.memory_bandwidth_bytes_per_s
        speeds = [
            replace(speed, decode_tok_s=_no_faster_than(rate / need_of(one, whole=True).read_bytes, speed.decode_tok_s))
            for speed, one in zip(speeds, singles, strict=True)
        ]
    return [ForeseenMoment(*at, speed) for at, speed in zip(given, speeds, strict=True)]


def _no_faster_than(steps_per_s: float, decode: Quantity) -> Quantity:
    """What is foretold from other formats may say that a step takes less than reading its bytes does. It cannot; the
    interval keeps its upper end, for memory may be faster than it was.
    """
    if decode.value <= steps_per_s:
        return decode
    return replace(decode, value=steps_per_s, low=decode.low * steps_per_s / decode.value)


def _unserved(speed: Speed, prompt_tokens: int) -> Speed:
    """Without what a server takes to receive a request and to send the first token."""
    rate = speed.prefill_tok_s
    ttft = replace(
        speed.ttft_ms, value=1e3 * prompt_tokens / rate.value, low=1e3 * prompt_tokens / rate.high,
        high=1e3 * prompt_tokens / rate.low,
    )  # fmt: skip
    return replace(speed, ttft_ms=ttft)


def foreseen_points(spec: ProbeSpec, moments: Sequence[ForeseenMoment], cores: int) -> tuple[ForeseenPoint, ...]:
    """Of a sweep, by the names and positions under which it reports. The step model knows no number of threads: only
    that of all cores is foreseen.
    """
    if spec.kind is not Kind.SWEEP:
        return ()
    pairs = zip(positions(spec), moments, strict=True)
    return tuple(point for position, moment in pairs for point in _of(moment, position, spec, cores))


def _of(moment: ForeseenMoment, position: int | str, spec: ProbeSpec, cores: int) -> Iterator[ForeseenPoint]:
    at: dict[str, float] = {"context_tokens": moment.context_tokens, "batch": moment.sequences}
    if spec.sweep_axis is SweepAxis.THREADS:
        if position != cores:
            return
        at["threads"] = cores
    if spec.sweep_axis is SweepAxis.CONTEXT:
        prompt = {"prefill_tok_s": moment.speed.prefill_tok_s, "ttft_ms": moment.speed.ttft_ms}
        yield ForeseenPoint("prefill", {"prompt_tokens": moment.context_tokens}, prompt, moment.format_id)
    yield ForeseenPoint("decode", at, {"decode_tok_s": moment.speed.decode_tok_s}, moment.format_id)


def _singles(spec: ProbeSpec) -> list[ProbeSpec]:
    if spec.kind is not Kind.SWEEP or not positions(spec):
        return [spec]
    return [at_position(spec, position) for position in positions(spec)]


def _load(one: ProbeSpec) -> tuple[int, int]:
    """(tokens of context, sequences) of the one position of a spec."""
    context, sequences = max(one.prompt_tokens), one.batch
    if one.kind is Kind.SWEEP and one.sweep_axis is SweepAxis.CONTEXT:
        context = one.sweep_values[0]
    if one.kind is Kind.SWEEP and one.sweep_axis is SweepAxis.BATCH:
        sequences = one.sweep_values[0]
    return context, sequences
