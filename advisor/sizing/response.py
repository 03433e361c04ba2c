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

from advisor.sizing.efficiency import EfficiencyArrays
from advisor.sizing.step import StepInputs, StepTime, decode_step, prefill_pass

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

    decode: StepTime
    prefill: StepTime
    tpot_s: Floats
    ttft_s: Floats
    closed_tok_s: Floats  # output tokens per second of all sequences, closed loop
    saturated_tok_s: Floats

    @property
    def decode_tok_s(self) -> Floats:
        """Per sequence."""
        rate: Floats = 1 / self.tpot_s
        return rate


def respond(
    i: StepInputs, e: EfficiencyArrays, w: Work, accepted_tokens: float = 1.0, draft_tokens: float = 0.0
) -> Response:
    """Response of each plan to its work.

    Speculative decoding: a step verifies `draft_tokens` + 1 tokens per sequence and keeps `accepted_tokens` of them.
    """
    decode = decode_step(i, e, w.sequences, w.decode_context, draft_tokens)
    prefill = prefill_pass(i, e, w.input_tokens, w.depth)
    step = decode.total / accepted_tokens
    alone = prefill.total
    busy = alone if not np.any(i.layout.pp > 1) else prefill_pass(i, e, w.input_tokens, w.depth, pipelined=True).total
    service = np.where(w.serving, busy, alone)
    delay = service * e.interference
    output = np.maximum(w.output_tokens, 1)
    others = np.where(w.serving, w.sequences - 1, 0.0)
    tpot = step + others * delay / output
    wait = _queue(w.sequences, service, w.output_tokens * tpot)
    ttft = service + e.first_token_s + np.where(w.serving, wait, 0.0)
    return Response(
        decode=decode,
        prefill=prefill,
        tpot_s=tpot,
        ttft_s=ttft,
        closed_tok_s=w.sequences * w.output_tokens / (ttft + np.maximum(output - 1, 1) * tpot),
        saturated_tok_s=w.output_tokens / (output * step / w.sequences + delay),
    )


def _queue(customers: Floats, service: Floats, think: Floats) -> Floats:
    """Mean wait in front of one server in a closed loop, by Schweitzer's approximation; at most all the others."""
    arriving = (customers - 1) / customers
    wait = np.zeros_like(service)
    for _ in range(_MVA_ROUNDS):
        wait = service * arriving * customers * (service + wait) / (think + service + wait)
    return np.minimum(wait, customers * service)
