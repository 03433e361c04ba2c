"""A variant too large for the machine: a few of its layers and the head are measured, and the whole is extrapolated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from advisor.catalog.errors import InputError, UnsupportedError
from probes.engines.factory import make_engine
from probes.engines.torch_engine import TorchEngine
from probes.extrapolation import Extrapolated, extrapolated
from probes.kinds.full import SPARE_TOKENS, faster_than_memory, load
from probes.kinds.session import Session
from probes.layers import LayerCount, deepest_of, ends_of, layer_count, slices_of
from probes.need import DEFAULT_DEPTHS, need_of
from probes.result import Measured, ProbeResult
from probes.slice_rounds import DECODE, PREFILL, steps_of_visit, visited
from probes.system import own_peak_bytes

__all__ = ["MEMORY_ERROR", "decode_visit", "run_slice"]

CANARY_EVERY = 6  # rounds
MEMORY_ERROR = 0.02  # bytes are counted; what the runtime takes beside them differs from load to load
UNSURE = 0.07  # half of the interval that noise gives
MANY_LEFT_OUT = 0.2  # of the rounds


def run_slice(session: Session) -> ProbeResult:
    """All slices share one load: the deepest is loaded, the others are its first layers.

    `decode_tok_s`, `ttft_ms`, `prefill_tok_s` are those of the whole variant with their intervals, see
    `probes.extrapolation`; the points say what each slice took.
    """
    spec, a = session.spec, session.spec.architecture
    if a is None:
        raise InputError("architecture", "dimensions of the variant", None)
    slices, whole = slices_of(a, spec.slice_layers or DEFAULT_DEPTHS), layer_count(a)
    bandwidth = session.benchmark()
    tokens = spec.context_tokens + SPARE_TOKENS
    engine = make_engine(spec, slots=spec.batch, tokens=tokens, layers=deepest_of(slices))
    if not isinstance(engine, TorchEngine):
        raise UnsupportedError(f"engine '{spec.engine}' cannot load single layers")
    result = load(session, engine)
    prefill = _prefill(session, engine, slices, whole)
    engine.use(deepest_of(slices))
    session.choose_threads(lambda: min(engine.decode(max(spec.prompt_tokens), spec.batch, 3)))
    peak = engine.peak_device_bytes() or own_peak_bytes()
    decode, usual_read = _decode(session, engine, slices, whole)
    longest, rate = max(spec.prompt_tokens), _rate(decode, 1.0)
    result = replace(
        result,
        peak_bytes=peak,
        decode_tok_s=rate,
        prefill_tok_s=_rate(prefill, longest),
        ttft_ms=Measured(prefill.value * 1e3, prefill.low * 1e3, prefill.high * 1e3, prefill.rounds),
        bandwidth_bytes_per_s=session.best_read(),
        figures={"full_decode_tok_s": rate, "full_peak_bytes": _full_peak(session, engine, peak)},
        versions=dict(engine.versions()),
    )
    too_fast = faster_than_memory(usual_read, (*session.canaries, bandwidth.high))
    return session.finish(result, _flags(decode) + (["invalid_faster_than_memory"] if too_fast else []))


def decode_visit(engine: TorchEngine, context_tokens: int, batch: int = 1) -> Callable[[LayerCount], float]:
    """Measures one slice: the mean of a few steps. A mean, because a step of many layers meets every short disturbance
    and one of few layers every other: their medians would not lie on a line.
    """
    seen: dict[LayerCount, float] = {}

    def visit(count: LayerCount) -> float:
        engine.use(count)
        if count not in seen:
            seen[count] = min(engine.decode(context_tokens, batch, 2))
        seen[count] = fmean(engine.decode(context_tokens, batch, steps_of_visit(seen[count])))
        return seen[count]

    return visit


def _prefill(session: Session, engine: TorchEngine, slices: Sequence[LayerCount], whole: LayerCount) -> Extrapolated:
    """Of the longest prompt. A prompt is long enough for two depths of each sort to do."""
    tokens, ends = max(session.spec.prompt_tokens), ends_of(slices)

    def visit(count: LayerCount) -> float:
        engine.use(count)
        return engine.prefill(tokens)

    session.reporter.phase("prefill")
    visit(ends[0])  # chooses kernels
    repeats = session.spec.repeats
    rounds = visited(visit, ends, whole, PREFILL, repeats=repeats, before=lambda _: session.multiply())
    for count in ends:
        ttft = Measured.of([r[count] * 1e3 for r in rounds])
        session.reporter.point("prefill", {**_at(count), "prompt_tokens": tokens}, {"ttft_ms": ttft})
    return extrapolated(rounds, whole)


def _decode(
    session: Session, engine: TorchEngine, slices: Sequence[LayerCount], whole: LayerCount
) -> tuple[Extrapolated, float]:
    """(seconds of one step of the whole model; bytes per second that the fastest slice usually reads)."""
    spec, canary = session.spec, session.canary()
    context, total = max(spec.prompt_tokens), DECODE.most_per_repeat * spec.repeats

    def before(number: int) -> None:
        session.reporter.phase("slice", number, total)
        if number % CANARY_EVERY == 0:
            canary()

    visit = decode_visit(engine, context, spec.batch)
    rounds = visited(visit, slices, whole, DECODE, repeats=spec.repeats, before=before)
    canary()
    usual = []
    for count in slices:
        engine.use(count)
        read_bytes = engine.read_bytes(context, spec.batch)
        step = Measured.of([r[count] * 1e3 for r in rounds])
        speed = Measured.of([read_bytes / r[count] for r in rounds])
        usual.append(speed.value)
        at = {**_at(count), "context_tokens": context, "batch": spec.batch}
        session.reporter.point("decode", at, {"step_ms": step, "read_bytes_per_s": speed})
    return extrapolated(rounds, whole), max(usual)


def _full_peak(session: Session, engine: TorchEngine, peak: int) -> Measured:
    """Tensors and cache of the whole by count, and what this load took beside its own."""
    full, beside = need_of(session.spec, whole=True), peak - engine.tensor_bytes - engine.cache_bytes
    value = full.tensor_bytes + full.cache_bytes + max(0, beside)
    return Measured(value, value * (1 - MEMORY_ERROR), value * (1 + MEMORY_ERROR), 1)


def _rate(seconds: Extrapolated, tokens: float) -> Measured:
    return Measured(tokens / seconds.value, tokens / seconds.high, tokens / seconds.low, seconds.rounds)


def _flags(decode: Extrapolated) -> list[str]:
    flags = ["extrapolated"]
    if decode.left_out > MANY_LEFT_OUT * (decode.rounds + decode.left_out):
        flags.append("contaminated_slice")
    return [*flags, "slice_unsure"] if decode.noise > UNSURE else flags


def _at(count: LayerCount) -> dict[str, float]:
    return {"dense_layers": count.dense, "moe_layers": count.moe}
