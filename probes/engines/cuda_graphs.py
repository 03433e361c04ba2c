"""Decode steps captured as CUDA graphs: a step of a small model is hundreds of launches of microseconds each, which the
processor could not issue as fast as the GPU runs them. For probe processes only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from probes.engines.attention import Positions
from probes.engines.decoder import Decoder

__all__ = ["StepGraphs"]

WARM_UPS = 3  # outside the capture, as CUDA graphs require: kernels are chosen and compiled there
LEAST_TOKENS = 256
LEAST_PROMPT, PROMPT_STEPS = 64, 16


@dataclass(frozen=True, slots=True)
class Captured:
    """A step, or a prompt, with the tensors that it reads: the graph knows only their addresses, so they must live as
    long.
    """

    replay: Callable[[], None]
    logits: Tensor
    ids: Tensor
    at: Positions | None = None


class StepGraphs:
    """Captures on first use. `tokens`: most that a slot holds; `ids`: makes so many random tokens."""

    def __init__(self, decoder: Decoder, slots: int, tokens: int, ids: Callable[[int], Tensor]) -> None:
        self._decoder, self._slots, self._tokens, self._ids = decoder, slots, tokens, ids
        self._steps: dict[tuple[int, int, bool], Captured] = {}
        self._prompts: dict[tuple[int, bool], Captured] = {}
        self.refused = ""  # why a step or a prompt could not be captured
        self._pool = torch.cuda.graph_pool_handle()  # one graph runs at a time: they can work in the same memory

    def fixed(self, context_tokens: int, rows: int) -> Captured:
        """A step of the slots 0, 1, ... at one position; replayed, it runs there again: what it costs does not depend
        on which token it is.
        """
        key = (rows, context_tokens, False)
        if key not in self._steps:
            at = self._decoder.positions(dict.fromkeys(range(rows), context_tokens))
            self._steps[key] = self._step(self._ids(rows), at)
        return self._steps[key]

    def moving(self, lengths: Mapping[int, int]) -> Captured:
        """A step of these slots at these positions, by a graph for so many rows up to twice the longest; rows that it
        has beyond them repeat the first, and cost what a full batch does.
        """
        rows = min(self._slots, 1 << (len(lengths) - 1).bit_length())
        bound = max(LEAST_TOKENS, 1 << max(lengths.values()).bit_length())
        key = (rows, min(self._tokens, bound) - 1, True)
        if key not in self._steps:
            here = self._decoder.positions(dict.fromkeys(range(rows), key[1]))
            at = Positions(here.slots, here.lengths, key[1], None, in_tensors=True)
            self._steps[key] = self._step(self._ids(rows), at)
        captured = self._steps[key]
        assert captured.at is not None
        filled = [*lengths.items(), *[next(iter(lengths.items()))] * (rows - len(lengths))]
        where = torch.tensor(filled)
        captured.at.slots.copy_(where[:, 0])
        captured.at.lengths.copy_(where[:, 1])
        return captured

    def prompt(self, tokens: int) -> Captured:
        """A prompt of so many tokens in slot 0."""
        key = (tokens, False)
        if key not in self._prompts:
            ids = self._ids(tokens)
            self._prompts[key] = Captured(*self._capture(lambda: self._decoder.prefill(ids, 0), tokens), ids)
        return self._prompts[key]

    def moving_prompt(self, tokens: int, slot: int) -> Captured:
        """A prompt of so many tokens in this slot, by a graph for up to an eighth more: what is computed beyond its end
        is overwritten by the tokens that follow.
        """
        step = max(LEAST_PROMPT, (1 << tokens.bit_length()) // PROMPT_STEPS)
        key = (min(-(-tokens // step) * step, self._tokens), True)
        if key not in self._prompts:
            ids, at = self._ids(key[0]), self._decoder.positions({0: key[0] - 1})
            run = partial(self._decoder.prefill, ids, at.slots, at.lengths)
            self._prompts[key] = Captured(*self._capture(run, key[0]), ids, at)
        captured = self._prompts[key]
        assert captured.at is not None
        captured.at.slots.fill_(slot)
        captured.at.lengths.fill_(tokens - 1)
        return captured

    def _step(self, ids: Tensor, at: Positions) -> Captured:
        return Captured(*self._capture(lambda: self._decoder.decode(ids, at), len(ids)), ids, at)

    def _capture(self, run: Callable[[], Tensor], rows: int) -> tuple[Callable[[], None], Tensor]:
        """(replay, logits that it writes); run as it is where it cannot be captured."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                logits = run()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # what the trials of kernels took
        if not self._decoder.is_capturable(rows):
            return lambda: _eager(run), logits
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.inference_mode(), torch.cuda.graph(graph, pool=self._pool):
                logits = run()
                logits.argmax(dim=-1)
        except RuntimeError as problem:  # something in it asks the host: slower, and the result says so
            self.refused = str(problem).partition("\n")[0][:120]
            torch.cuda.synchronize()
            return lambda: _eager(run), logits
        return graph.replay, logits


def _eager(run: Callable[[], Tensor]) -> None:
    with torch.inference_mode():
        run().argmax(dim=-1)
