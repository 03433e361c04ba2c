"""What a user of a replica sees at a steady load: TTFT, TPOT and throughput, in closed form.

Closed loop: C sequences are always in flight. The prefills of the others delay a running sequence by
`(C-1)·prefill/output` per token (Little's law), and a new prompt waits for the prompts before it: approximate mean
value analysis of one prefill server with C customers that think while they decode (Schweitzer 1979).
Saturated: prompts never run out, so the replica does `output` steps of C tokens for every C prefills.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.sizing.step import PlanCosts, decode_step, prefill_pass
from advisor.sizing.step_arrays import StepTime

__all__ = ["Response", "Work", "respond"]

Floats = NDArray[np.float64]
_MVA_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Work:
    """Load on one replica; arrays of shape (plans,). `depth`: tokens cached before the prompt.

    `serving`: prompts of other users interfere; else one phase at a time is measured alone.
    """

    input_tokens: Floats
    output_tokens: Floats
    depth: Floats
    sequences: Floats
    decode_context: Floats
    serving: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Response:
    """Seconds and rates of one replica before the fitted bias; arrays of shape (plans,)."""

    work: Work
    decode: StepTime
    prefill: StepTime
    step_s: Floats  # of a token, alone
    delay_s: Floats  # by which each prompt of the others holds up a running sequence
    tpot_s: Floats
    ttft_s: Floats

    @property
    def decode_tok_s(self) -> Floats:
        """Per sequence."""
        rate: Floats = 1 / self.tpot_s
        return rate

    @property
    def closed_tok_s(self) -> Floats:
        """Output tokens per second of all sequences, closed loop."""
        w = self.work
        last = np.maximum(w.output_tokens - 1, 1)
        rate: Floats = w.sequences * w.output_tokens / (self.ttft_s + last * self.tpot_s)
        return rate

    @property
    def saturated_tok_s(self) -> Floats:
        """The same where prompts never run out."""
        w = self.work
        output = np.maximum(w.output_tokens, 1)
        rate: Floats = w.output_tokens / (output * self.step_s / w.sequences + self.delay_s)
        return rate


def respond(p: PlanCosts, w: Work, accepted_tokens: float = 1.0, draft_tokens: float = 0.0) -> Response:
    """Response of each plan to its work.

    Speculative decoding: a step verifies `draft_tokens` + 1 tokens per sequence and keeps `accepted_tokens` of them.
    """
    decode = decode_step(p, w.sequences, w.decode_context, draft_tokens)
    prefill = prefill_pass(p, w.input_tokens, w.depth)
    step = decode.total if accepted_tokens == 1 else decode.total / accepted_tokens
    service = prefill.total
    if p.staged:
        busy = prefill_pass(p, w.input_tokens, w.depth, pipelined=True).total
        service = np.where(w.serving, busy, service)
    delay = service * p.costs.interference
    others = (w.sequences - 1) * w.serving
    tpot = step + others * delay / np.maximum(w.output_tokens, 1)
    wait = _queue(w.sequences, service, w.output_tokens * tpot) * w.serving
    return Response(w, decode, prefill, step, delay, tpot, service + p.costs.first_token + wait)


def _queue(customers: Floats, service: Floats, think: Floats) -> Floats:
    """Mean wait in front of one server in a closed loop, by Schweitzer's approximation; at most all the others."""
    others, cycle = (customers - 1) * service, think + service
    wait = others * service / cycle
    longer = np.empty_like(wait)
    for _ in range(_MVA_ROUNDS - 1):
        np.add(cycle, wait, out=longer)
        wait += service
        wait *= others
        wait /= longer
    return np.minimum(wait, customers * service)
