"""Step curves of every plan of the grid: what a step costs with 1, 4, 16, … sequences, and what a prompt adds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from advisor.decision.loaded import Alone
from advisor.decision.scenario import Scenario
from advisor.decision.space import Space
from advisor.serving.plan_costs import rules_of
from advisor.serving.steady import StepCurve
from advisor.sizing.columns import LoadColumns, Tuning
from advisor.sizing.footprint import footprint_columns
from advisor.sizing.grid import StepContext, step_context
from advisor.sizing.running import sequence_cap
from advisor.sizing.step import batch_step, decode_step, prefill_pass
from advisor.sizing.steptables import MIXED_STEP, SMALLEST_CHUNK

__all__ = ["SEQUENCES", "loads_of", "step_curve"]

Floats = NDArray[np.float64]

SEQUENCES = (1.0, 8.0, 64.0, 1024.0)  # where the step model is asked; between them steps are taken as linear
SLOTS = {"slots": 16, "static": 1}  # sequences that engines without continuous batching take at once by default
_PASS = 8_192  # plans per pass: the arrays of one pass stay in the processor's cache
_LOADED = 16.0  # any number above one: the step model has one set of effects for a loaded engine
_LARGEST_CHUNK = 8_192  # tokens of one step, as in the simulator's tables


def step_curve(space: Space, scenario: Scenario, alone: Alone) -> StepCurve:
    """Asks the step model for every plan."""
    loads = loads_of(space, scenario, _LOADED, full_context=False)
    context = step_context(space.plans, loads, Tuning(), space.efficiency)
    index = context.found.index
    outside = (context.found.efficiency.first_token_s * context.found.prefill_factor)[index]
    chunk = np.minimum(context.layout.chunk_tokens, _LARGEST_CHUNK)
    new = np.maximum(loads.input_tokens - loads.cached_input_tokens, 1.0)
    chunks = np.ceil(new / chunk)
    request = _Requests(
        new, loads.cached_input_tokens, loads.input_tokens + loads.output_tokens / 2, loads.output_tokens, chunks
    )
    first = np.array([rules_of(r.engine).prefill_first for r in space.plans.runtimes])[space.plans.runtime]
    decode, added = np.empty((2, len(SEQUENCES), len(space)))
    for start in range(0, len(space), _PASS):
        rows = slice(start, start + _PASS)
        _Pass(context, rows, request.take(rows), first[rows]).write(decode[:, rows], added[:, rows])
    cap = np.array([_cap(r.engine.id, r.backend, r.engine.batching) for r in space.plans.runtimes])
    budget = np.maximum(chunk, cap[space.plans.runtime])
    return StepCurve(
        sequences=np.array(SEQUENCES),
        decode_s=decode,
        chunk_s=added,
        alone_s=np.maximum(alone.ttft_s - outside, 0.0),
        outside_s=outside,
        chunks=chunks,
        chunks_per_step=np.maximum(budget / (new / chunks), 1.0),
        output_tokens=loads.output_tokens,
        seats=_held(space, loads, cap[space.plans.runtime]),
    )


def loads_of(space: Space, scenario: Scenario, concurrency: float, *, full_context: bool) -> LoadColumns:
    """Room per sequence: the whole context for one request, and in engines with fixed slots; else one request."""
    model = space.plans.model
    output = space.table.output_tokens[model]
    slots = np.array([r.engine.batching != "continuous" for r in space.plans.runtimes], dtype=np.bool_)
    whole = full_context | slots[space.plans.runtime]
    return LoadColumns.from_arrays(
        input_tokens=float(scenario.input_tokens),
        output_tokens=output,
        context_tokens=np.where(whole, space.table.context_tokens[model], scenario.input_tokens + output),
        concurrency=concurrency,
        cached_input_tokens=float(scenario.cached_input_tokens),
    )


@dataclass(frozen=True, slots=True)
class _Requests:
    """One request on every plan, in tokens; arrays of shape (plans,)."""

    new: Floats
    cached: Floats
    context: Floats  # in the middle of its answer
    output: Floats
    chunks: Floats

    def take(self, rows: slice) -> _Requests:
        return _Requests(self.new[rows], self.cached[rows], self.context[rows], self.output[rows], self.chunks[rows])


class _Pass:
    """Steps of some plans. Pipeline stages hold an equal share of the sequences and prompt tokens."""

    def __init__(self, context: StepContext, rows: slice, request: _Requests, prefill_first: NDArray[np.bool_]) -> None:
        index = context.found.index[rows]
        self._costs = context.costs(rows)
        self._decode_bias = context.found.decode_factor[index]
        self._prefill_bias = context.found.prefill_factor[index]
        self._request, self._prefill_first = request, prefill_first
        self._pp = self._costs.layout.pp
        one = np.ones_like(request.new)
        alone = decode_step(self._costs, one, request.context)
        self._matrices_alone = self._batch(one, one)
        self._reads, self._attention = alone.cache, np.maximum(alone.total - self._matrices_alone, 0.0)
        self._prompt_attention = self._of_prompt()

    def write(self, decode: Floats, added: Floats) -> None:
        """Into arrays of shape (points, plans of this pass)."""
        for k, sequences in enumerate(SEQUENCES):
            decode[k], added[k] = self._point(sequences)

    def _point(self, sequences: float) -> tuple[Floats, Floats]:
        r = self._request
        held = np.maximum(sequences / self._pp, 1.0) * np.ones_like(r.new)
        matrices = self._matrices_alone if sequences == 1 else self._batch(held, held)
        prompts = sequences * r.chunks / (r.output + r.chunks - 1)
        mixed = -np.expm1(-prompts)
        reads = self._reads * held * (MIXED_STEP - 1) * mixed
        decode = (matrices + self._attention * held + reads) * self._decode_bias
        tokens = r.new / r.chunks
        together = np.clip(prompts / np.maximum(mixed, 1e-12), 1.0, np.maximum(_LARGEST_CHUNK / tokens, 1.0))
        beside = np.where(self._prefill_first, 0.0, held)
        rows = beside + together * tokens / self._pp
        both = self._batch(rows, beside + together / self._pp)
        towards = np.clip(np.log(rows / held) / np.log(_LARGEST_CHUNK), 0, 1)
        bias = self._decode_bias ** (1 - towards) * self._prefill_bias**towards
        without = np.where(self._prefill_first, 0.0, matrices * self._decode_bias)
        attention = self._prompt_attention / r.chunks * self._prefill_bias
        return decode, np.maximum(both * bias - without, 0.0) / together + attention

    def _batch(self, rows: Floats, sampled: Floats) -> Floats:
        return batch_step(self._costs, rows, sampled).total

    def _of_prompt(self) -> Floats:
        """Attention of one prompt: all of its prefill but the matrices; short chunks count as `SMALLEST_CHUNK`."""
        r = self._request
        tokens = r.new / r.chunks
        whole = prefill_pass(self._costs, r.new, r.cached).total
        chunk = self._batch(tokens, np.ones_like(tokens))
        padded = np.maximum(SMALLEST_CHUNK / tokens, 1.0)
        return np.maximum(whole - r.chunks * chunk, 0.0) * padded / self._pp


def _cap(engine_id: str, backend: str, batching: str) -> float:
    return SLOTS.get(batching) or sequence_cap(engine_id, backend, many_prompts=True)


def _held(space: Space, loads: LoadColumns, cap: Floats) -> Floats:
    """Sequences that fit, each with room for its whole request.

    The workspace grows with the sequences: what one leaves free is shared between workspace and cache.
    """
    plans = space.plans.compact()
    one = footprint_columns(plans, replace(loads, concurrency=np.ones(len(space))))
    most = np.clip(one.max_concurrency, 1.0, cap)
    many = footprint_columns(plans, replace(loads, concurrency=most))
    ranks = space.plans.dp_attention
    more = np.maximum(most / ranks - 1, 1e-9)
    beside = many.activation_bytes + many.overhead_bytes - one.activation_bytes - one.overhead_bytes
    each = np.maximum(one.kv_bytes_per_sequence, 1.0)
    shared = 1 + (one.max_concurrency / ranks - 1) * each / (each + np.maximum(beside, 0) / more)
    return np.where(many.shortfall_bytes <= 0, most, np.maximum(np.floor(shared) * ranks, 1.0))
