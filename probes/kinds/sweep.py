"""Decode along one axis: depth of context, sequences, threads, or formats; every point is sent as soon as it is
measured.
"""

from __future__ import annotations

from dataclasses import replace

from advisor.catalog.errors import InputError
from probes.engines.base import Engine
from probes.engines.factory import make_engine
from probes.engines.torch_engine import set_threads
from probes.kinds.full import SPARE_TOKENS, decode_flags, load, share_of_bandwidth
from probes.kinds.session import Session
from probes.measure import DecodeRounds, decode_rounds
from probes.result import Measured, ProbeResult
from probes.spec import SweepAxis
from probes.sweep_values import SweepWatch
from probes.system import own_peak_bytes

__all__ = ["run_sweep"]


def run_sweep(session: Session) -> ProbeResult:
    """Figures of the result are those of the first point (of a format sweep: the first format), but the peak, which is
    that of all that was measured. The values are those that fit, see `probes.sweep_values`.
    """
    axis = session.spec.sweep_axis
    if axis is SweepAxis.FORMAT:
        return _formats(session)
    if axis is None or not session.spec.sweep_values:
        raise InputError("sweep", "an axis and at least one value", axis)
    bandwidth = session.benchmark()
    values = session.spec.sweep_values
    slots = max(values) if axis is SweepAxis.BATCH else session.spec.batch
    engine = make_engine(session.spec, slots=slots, tokens=session.spec.context_tokens + SPARE_TOKENS)
    result = load(session, engine)
    rounds: list[DecodeRounds] = []
    watch, end = SweepWatch(session.spec), None
    for index, value in enumerate(values):
        session.reporter.phase("sweep", index, len(values))
        found = _measure(session, engine, axis, value, bandwidth)
        rounds.append(found)
        slots_now = value if axis is SweepAxis.BATCH else session.spec.batch
        end = watch.stop(value, 1e3 / found.tok_s.value, found.tok_s.value * slots_now)
        if end is not None:
            break
    first, peak = rounds[0], engine.peak_device_bytes() or own_peak_bytes()
    result = _summary(session, replace(result, peak_bytes=peak, sweep_end=end or watch.end()), engine, first)
    return session.finish(result, decode_flags(session, engine, first, bandwidth))


def _measure(session: Session, engine: Engine, axis: SweepAxis, value: int, bandwidth: Measured) -> DecodeRounds:
    spec = session.spec
    context = value if axis is SweepAxis.CONTEXT else max(spec.prompt_tokens)
    slots = value if axis is SweepAxis.BATCH else spec.batch
    if axis is SweepAxis.THREADS:
        set_threads(value)
    rounds = decode_rounds(engine, spec, context, session.canary(), slots=slots)
    tok_s = rounds.tok_s
    values = {
        "decode_tok_s": tok_s,
        "output_tok_s": Measured(tok_s.value * slots, tok_s.low * slots, tok_s.high * slots, tok_s.n),
        "step_ms": Measured.of([s * 1e3 for s in rounds.step_s]),
    }
    mbu = share_of_bandwidth(session, engine, rounds)
    if mbu is not None:
        values["mbu"] = mbu
    if axis is SweepAxis.FORMAT and "slow_decode_kernel" in decode_flags(session, engine, rounds, bandwidth):
        values["slow_kernel"] = Measured.of([1.0])  # the kernel's speed must not pass as the format's
    at = {"context_tokens": context, "batch": slots}
    if axis is SweepAxis.THREADS:
        at["threads"] = value
    session.reporter.point("decode", at, values, spec.format_id)
    return rounds


def _formats(session: Session) -> ProbeResult:
    """One load per format; the best of the summary is the first format's."""
    bandwidth = session.benchmark()
    summary: ProbeResult | None = None
    flags: list[str] = []
    peak = 0
    formats, watch = session.spec.sweep_formats, SweepWatch(session.spec)
    for index, format_id in enumerate(formats):
        session.reporter.phase("sweep", index, len(formats))
        session.spec = replace(session.spec, format_id=format_id)
        engine = make_engine(session.spec, slots=session.spec.batch, tokens=session.spec.context_tokens + SPARE_TOKENS)
        result = load(session, engine)
        rounds = _measure(session, engine, SweepAxis.FORMAT, 0, bandwidth)
        watch.stop(format_id, 1e3 / rounds.tok_s.value, rounds.tok_s.value * session.spec.batch)
        peak = max(peak, engine.peak_device_bytes() or own_peak_bytes())
        if summary is None:
            summary = _summary(session, result, engine, rounds)
            flags = decode_flags(session, engine, rounds, bandwidth)
        engine.close()
    if summary is None:
        raise InputError("formats", "at least one format", formats)
    return session.finish(replace(summary, peak_bytes=peak, sweep_end=watch.end()), flags)


def _summary(session: Session, result: ProbeResult, engine: Engine, first: DecodeRounds) -> ProbeResult:
    return replace(
        result,
        decode_tok_s=first.tok_s,
        mbu=first.mbu(session.best_read().value),
        read_bytes_per_token=first.read_bytes // max(1, session.spec.batch),
        bandwidth_bytes_per_s=session.best_read(),
        versions=dict(engine.versions()),
    )
