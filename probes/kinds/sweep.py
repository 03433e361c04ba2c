"""Decode along one axis: depth of context, sequences, threads, or formats; every point is sent as soon as it is
measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from advisor.catalog.errors import InputError
from probes.engines.base import Engine
from probes.engines.factory import make_engine
from probes.engines.torch_engine import set_threads
from probes.kinds.full import SPARE_TOKENS, decode_flags, load, prefill_figures, share_of_bandwidth
from probes.kinds.session import Session
from probes.measure import SWEEP_PREFILL_S, DecodeRounds, decode_rounds, prefill_samples
from probes.result import Measured, ProbeResult
from probes.spec import SweepAxis
from probes.sweep_values import SweepWatch
from probes.system import own_peak_bytes

__all__ = ["run_sweep"]

SHORT_PROMPT = 128  # tokens


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
    prompts: list[PromptRate] = []
    watch, end = SweepWatch(session.spec), None
    for index, value in enumerate(values):
        session.reporter.phase("sweep", index, len(values))
        if axis is SweepAxis.CONTEXT:
            prompts.append(_prompt(session, engine, value, prompts))
        found = _measure(session, engine, axis, value, bandwidth)
        rounds.append(found)
        slots_now = value if axis is SweepAxis.BATCH else session.spec.batch
        end = watch.stop(value, 1e3 / found.tok_s.value, found.tok_s.value * slots_now)
        if end is not None:
            break
    first, peak = rounds[0], engine.peak_device_bytes() or own_peak_bytes()
    result = _summary(session, replace(result, peak_bytes=peak, sweep_end=end or watch.end()), engine, first)
    if prompts and prompts[0].is_measured:
        result = replace(result, prefill_tok_s=prompts[0].tok_s, ttft_ms=prompts[0].ttft_ms)
    flags = ["long_prompts_left_out"] if any(not p.is_measured for p in prompts) else []
    return session.finish(result, decode_flags(session, engine, first, bandwidth) + flags)


@dataclass(frozen=True, slots=True)
class PromptRate:
    """Of one prompt of a sweep. Not measured: the rate of a shorter one, which says that it would take too long."""

    tokens: int
    tok_s: Measured
    ttft_ms: Measured
    is_measured: bool = True


def _prompt(session: Session, engine: Engine, tokens: int, before: list[PromptRate]) -> PromptRate:
    """By the rate of the one before, unless at that rate it would take too long."""
    rate = before[-1].tok_s.value if before else _first_rate(engine, tokens)
    if tokens / rate > SWEEP_PREFILL_S:
        shorter = Measured.of([rate])
        return PromptRate(tokens, shorter, shorter, is_measured=False)
    session.multiply()
    seconds = prefill_samples(engine, tokens, session.spec.repeats)
    figures = prefill_figures(session, tokens, seconds, keep=True)
    return PromptRate(tokens, figures["prefill_tok_s"], figures["ttft_ms"])


def _first_rate(engine: Engine, tokens: int) -> float:
    """Tokens per second of a short prompt, the better of two: the first may choose kernels."""
    short = min(tokens, SHORT_PROMPT)
    return short / min(engine.prefill(short), engine.prefill(short))


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
        session.reads([])
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
