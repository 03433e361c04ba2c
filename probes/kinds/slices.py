"""A variant too large for the machine: a few of its layers and the head are measured, and the whole is extrapolated."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import mean, median

from advisor.catalog.errors import InputError, UnsupportedError
from probes.engines.factory import make_engine
from probes.engines.torch_engine import TorchEngine
from probes.kinds.full import FASTER_THAN_MEMORY, SPARE_TOKENS, load
from probes.kinds.session import Session
from probes.layers import LayerCount, extrapolate, layer_count, slices_of
from probes.measure import FEWEST_ROUNDS, SLICE_PREFILL_S
from probes.need import DEFAULT_DEPTHS, need_of
from probes.result import Measured, ProbeResult
from probes.system import own_peak_bytes

__all__ = ["run_slice"]

STEPS = 12
DROPPED = 2  # after switching to another slice, the first steps find caches cold
ROUNDS_FACTOR = 2  # a slice is short: twice the usual number of rounds
OUTLIER = 0.25


def run_slice(session: Session) -> ProbeResult:
    """All slices share one load: the deepest is loaded, the others are its first layers.

    Rounds visit the slices in turn, so that a slow minute hits all of them; each round gives one extrapolation, and the
    spread of these is the stated error. `decode_tok_s`, `ttft_ms`, `prefill_tok_s` are those of the whole variant.
    """
    spec, a = session.spec, session.spec.architecture
    if a is None:
        raise InputError("architecture", "dimensions of the variant", None)
    slices, whole = slices_of(a, spec.slice_layers or DEFAULT_DEPTHS), layer_count(a)
    deepest = LayerCount(max(s.dense for s in slices), max(s.moe for s in slices))
    bandwidth = session.benchmark()
    tokens = spec.context_tokens + SPARE_TOKENS
    engine = make_engine(spec, slots=spec.batch, tokens=tokens, layers=deepest)
    if not isinstance(engine, TorchEngine):
        raise UnsupportedError(f"engine '{spec.engine}' cannot load single layers")
    result = load(session, engine)
    prefill = _prefill(session, engine, slices, whole)
    peak = engine.peak_device_bytes() or own_peak_bytes()
    steps, fastest = _decode(session, engine, slices, whole)
    overhead = peak - engine.tensor_bytes - engine.cache_bytes
    flags = ["extrapolated"]
    if fastest > FASTER_THAN_MEMORY * max((*session.canaries, bandwidth.high)):
        flags.append("invalid_faster_than_memory")
    longest = max(spec.prompt_tokens)
    kept, dropped = _without_outliers(steps)
    flags += ["contaminated_slice"] if dropped else []
    rate = Measured.of([1 / s for s in kept])
    full = need_of(spec, whole=True)
    return session.finish(
        replace(
            result,
            peak_bytes=peak,
            decode_tok_s=rate,
            prefill_tok_s=Measured.of([longest / s for s in prefill]),
            ttft_ms=Measured.of([s * 1e3 for s in prefill]),
            bandwidth_bytes_per_s=session.best_read(),
            figures={
                "full_decode_tok_s": rate,
                "full_peak_bytes": Measured.of([full.tensor_bytes + full.cache_bytes + max(0, overhead)]),
            },
            versions=dict(engine.versions()),
        ),
        flags,
    )


def _prefill(session: Session, engine: TorchEngine, slices: tuple[LayerCount, ...], whole: LayerCount) -> list[float]:
    """Seconds of the longest prompt through the whole model: one value per round, disturbed rounds left out."""
    tokens = max(session.spec.prompt_tokens)
    session.reporter.phase("prefill")
    rounds: list[dict[LayerCount, float]] = []
    start = time.perf_counter()
    while len(rounds) <= ROUNDS_FACTOR * session.spec.repeats:  # the first one chooses kernels
        if len(rounds) > FEWEST_ROUNDS and time.perf_counter() - start > SLICE_PREFILL_S:
            break
        seconds = {}
        for count in slices:
            engine.use(count)
            seconds[count] = engine.prefill(tokens)
        rounds.append(seconds)
    for count in slices:
        ttft = Measured.of([r[count] * 1e3 for r in rounds[1:]])
        session.reporter.point("prefill", {**_at(count), "prompt_tokens": tokens}, {"ttft_ms": ttft})
    kept, _ = _without_outliers([extrapolate(r, whole) for r in rounds[1:]])
    return kept


def _decode(
    session: Session, engine: TorchEngine, slices: tuple[LayerCount, ...], whole: LayerCount
) -> tuple[list[float], float]:
    """(seconds of one step of the whole model, one value per round; fastest bytes per second seen)."""
    spec = session.spec
    context, canary = max(spec.prompt_tokens), session.canary()
    engine.use(slices[-1])
    session.choose_threads(lambda: min(engine.decode(context, spec.batch, 3)))
    rounds: list[dict[LayerCount, float]] = []
    fastest, total = 0.0, ROUNDS_FACTOR * spec.repeats
    for index in range(total):
        session.reporter.phase("slice", index, total)
        canary()
        seconds = {}
        for count in slices:
            engine.use(count)
            seconds[count] = mean(engine.decode(context, spec.batch, STEPS)[DROPPED:])
            fastest = max(fastest, engine.read_bytes(context, spec.batch) / seconds[count])
        rounds.append(seconds)
    canary()
    for count in slices:
        engine.use(count)
        step = Measured.of([r[count] * 1e3 for r in rounds])
        speed = Measured.of([engine.read_bytes(context, spec.batch) / r[count] for r in rounds])
        at = {**_at(count), "context_tokens": context, "batch": spec.batch}
        session.reporter.point("decode", at, {"step_ms": step, "read_bytes_per_s": speed})
    return [extrapolate(r, whole) for r in rounds], fastest


def _without_outliers(seconds: list[float]) -> tuple[list[float], bool]:
    """Rounds further than a quarter from the median were disturbed."""
    middle = median(seconds)
    kept = [s for s in seconds if abs(s - middle) <= OUTLIER * middle]
    return (kept or seconds), len(kept) < len(seconds)


def _at(count: LayerCount) -> dict[str, float]:
    return {"dense_layers": count.dense, "moe_layers": count.moe}
