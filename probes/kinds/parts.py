"""The loaded model with some of its layers: what a layer costs and what the head does.

The step of a whole model cannot tell reading from overhead: both grow with it. With few layers the head, one large
matrix, is most of what is read, and with more of them the layers are, so two parts and the whole give both.
"""

from __future__ import annotations

import time
from dataclasses import replace

from probes.engines.base import Engine
from probes.engines.torch_engine import TorchEngine
from probes.kinds.session import Session
from probes.layers import LayerCount, layer_count
from probes.result import Measured

__all__ = ["measure_parts", "parts_of"]

STEPS, DROPPED = 6, 2  # after a change of layers the first steps find caches cold
DEEPER = 4  # the deeper part has this fraction of the layers
CACHE_FACTOR = 4
LEAST_LAYERS = 8
MOST_ROUNDS, BUDGET_S = 8, 6.0


def parts_of(whole: LayerCount) -> tuple[LayerCount, ...]:
    """Nothing for models of a few layers."""
    if whole.dense + whole.moe < LEAST_LAYERS:
        return ()
    if not whole.moe:
        return (LayerCount(1, 0), LayerCount(whole.dense // DEEPER, 0))
    base = min(1, whole.dense)
    return (LayerCount(base, 1), LayerCount(base, whole.moe // DEEPER))


def measure_parts(session: Session, engine: Engine, context_tokens: int) -> None:
    """Sends one point per part; rounds visit them in turn, so that a slow moment hits all of them.

    `step_ms` is the best step, from the best to the best of the second best round: with the few steps that there is
    time for, medians would follow every disturbance, and the difference of two parts more so.
    """
    a = session.spec.architecture
    if a is None or not isinstance(engine, TorchEngine) or session.device.type == "mps" or a.compression is not None:
        return
    whole, batch = layer_count(a), session.spec.batch
    best: dict[LayerCount, list[float]] = {part: [] for part in parts_of(whole)}
    read: dict[LayerCount, int] = {}
    session.reporter.phase("decode")
    start = time.perf_counter()
    for _ in range(MOST_ROUNDS):
        for part, rounds in best.items():
            engine.use(part)
            read[part] = engine.read_bytes(context_tokens, batch)
            rounds.append(min(engine.decode(context_tokens, batch, STEPS)[DROPPED:]))
        if time.perf_counter() - start > BUDGET_S:
            break
    if batch == 1 and best:
        _measure_attention(session, engine, max(best), context_tokens)
    engine.use(whole)
    for part, rounds in best.items():
        if session.device.type == "cpu" and read[part] < CACHE_FACTOR * session.cache_bytes:
            continue
        at = {"dense_layers": part.dense, "moe_layers": part.moe, "context_tokens": context_tokens, "batch": batch}
        values = {
            "step_ms": _best_two([s * 1e3 for s in rounds]),
            "read_bytes_per_s": Measured.of([read[part] / s for s in rounds]),
        }
        session.reporter.point("part", at, values)


def _measure_attention(session: Session, engine: TorchEngine, part: LayerCount, context_tokens: int) -> None:
    """Sends what the cache of `context_tokens` adds to a step of `part` of the layers: the time between the products,
    less that with an empty cache. Against the reading of weights it is too little to show in whole steps.
    """
    engine.use(part)
    found = []
    for _ in range(MOST_ROUNDS):
        between = [_between(engine, tokens) for tokens in (1, context_tokens)]
        if None in between:
            return
        found.append(1e3 * (between[1] - between[0]))
    at = {"dense_layers": part.dense, "moe_layers": part.moe, "context_tokens": context_tokens}
    spread = Measured.of(found)
    if spread.value > 0:  # of short contexts it may be less than what the rest varies by
        kept = replace(spread, low=max(0.0, spread.low))
        session.reporter.point("attention", at, {"attention_ms": kept})


def _between(engine: TorchEngine, context_tokens: int) -> float | None:
    engine.decode(context_tokens, 1, DROPPED + 1)
    return engine.between_s


def _best_two(samples: list[float]) -> Measured:
    ordered = sorted(samples)
    return Measured(ordered[0], ordered[0], ordered[min(1, len(ordered) - 1)], len(ordered))
