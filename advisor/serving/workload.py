"""Traffic: how requests arrive, how long they are, what they must be answered within."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from advisor.serving.lengths import LengthDistribution

__all__ = ["SINGLE_CLASS", "ArrivalKind", "ArrivalProcess", "RequestClass", "RequestTable", "Slo", "Workload"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_RAMP_POINTS = 60  # it falls back over the last of them
SINGLE_CLASS = "all"  # the name of a class that holds every request


class ArrivalKind(StrEnum):
    POISSON = "poisson"
    GAMMA = "gamma"  # gamma inter-arrival times with a coefficient of variation
    CONSTANT = "constant"  # equal distances
    BURST = "burst"  # all at once
    CLOSED_LOOP = "closed_loop"  # users who wait for their answer, think, and ask again


@dataclass(frozen=True, slots=True)
class ArrivalProcess:
    """When requests arrive.

    `rate_per_s` is the mean over the run. `shape`: relative rate at equal distances over `period_s`, linear in
    between and repeated (a day, a ramp); empty: constant. `users`, `think_s`: closed loop only.
    """

    kind: ArrivalKind = ArrivalKind.POISSON
    rate_per_s: float = 0.0
    cv: float = 1.0
    shape: tuple[float, ...] = ()
    period_s: float = 86_400.0
    users: int = 0
    think_s: float = 0.0

    @classmethod
    def ramp(cls, start_per_s: float, end_per_s: float, period_s: float) -> ArrivalProcess:
        """Poisson arrivals whose rate goes evenly from start to end in `period_s`, then starts again."""
        shape = tuple(np.linspace(start_per_s, end_per_s, _RAMP_POINTS).tolist())
        return cls(rate_per_s=(start_per_s + end_per_s) / 2, shape=shape, period_s=period_s)

    @property
    def peak_rate_per_s(self) -> float:
        """At the busiest moment of the shape."""
        if not self.shape:
            return self.rate_per_s
        return self.rate_per_s * max(self.shape) * len(self.shape) / sum(self.shape)

    def at_rate(self, rate_per_s: float) -> ArrivalProcess:
        return replace(self, rate_per_s=rate_per_s)


@dataclass(frozen=True, slots=True)
class Slo:
    """Limits in milliseconds at `percentile`; None: no limit."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float | None = None
    percentile: float = 95.0

    @property
    def is_empty(self) -> bool:
        return self.ttft_ms is None and self.tpot_ms is None and self.e2e_ms is None


@dataclass(frozen=True, slots=True)
class RequestClass:
    """One kind of request. `reasoning`: extra output tokens before the answer, drawn independently.

    `shared_prefix_tokens` (a system prompt) are part of the input and found in the prefix cache of every replica;
    `prefix_hit_share` of the rest is found as well, whoever asked first (documents, tools).
    `turns` > 1: a conversation; each turn's input holds all that was said, and waits for the answer and `think_s`.
    """

    name: str
    input: LengthDistribution
    output: LengthDistribution
    reasoning: LengthDistribution | None = None
    share: float = 1.0
    shared_prefix_tokens: int = 0
    prefix_hit_share: float = 0.0
    turns: int = 1
    think_s: float = 0.0
    slo: Slo = Slo()
    priority: int = 0  # 0 is served first

    @property
    def mean_input_tokens(self) -> float:
        """Of one request, history of a conversation included."""
        return self.input.mean + self.mean_history_tokens

    @property
    def mean_history_tokens(self) -> float:
        """What was said in the turns before, the shared prefix left out."""
        new = max(0.0, self.input.mean - self.shared_prefix_tokens)
        return (self.turns - 1) / 2 * (new + self.mean_output_tokens)

    @property
    def square_output(self) -> float:
        """Mean of the squared output; answer and reasoning are independent."""
        if self.reasoning is None:
            return self.output.mean_square
        return self.output.mean_square + self.reasoning.mean_square + 2 * self.output.mean * self.reasoning.mean

    @property
    def mean_output_tokens(self) -> float:
        return self.output.mean + (self.reasoning.mean if self.reasoning else 0.0)


@dataclass(frozen=True, slots=True)
class Workload:
    """Named traffic. Lengths are independent of each other and of the arrivals."""

    id: str
    name: str
    arrivals: ArrivalProcess
    classes: tuple[RequestClass, ...]
    max_context_tokens: int | None = None  # longer requests are cut (input first) when sampling
    name_zh: str = ""
    source: str = ""
    licence: str = ""

    @property
    def mean_input_tokens(self) -> float:
        return _mean(self.classes, [c.mean_input_tokens for c in self.classes])

    @property
    def mean_output_tokens(self) -> float:
        return _mean(self.classes, [c.mean_output_tokens for c in self.classes])

    @property
    def running_context_tokens(self) -> float:
        """Tokens in the cache of a request at a random moment of its decoding: long answers weigh more.

        E[input * output + output^2 / 2] / E[output].
        """
        held = _mean(
            self.classes, [c.mean_input_tokens * c.mean_output_tokens + c.square_output / 2 for c in self.classes]
        )
        return held / self.mean_output_tokens

    @property
    def mean_cached_tokens(self) -> float:
        """Of the input, found in the prefix cache if conversations stay on their replica."""
        return _mean(self.classes, [_cached(c) for c in self.classes])

    def at_rate(self, rate_per_s: float) -> Workload:
        return replace(self, arrivals=self.arrivals.at_rate(rate_per_s))


@dataclass(frozen=True, slots=True)
class RequestTable:
    """Requests in order of arrival; arrays of shape (requests,).

    `prefix_hit_tokens` of the input are found in the cache. `shared_tokens` of those belong to a prefix that all
    requests of the class share, kept once per replica. `follows[i]` >= 0: request i arrives `think_s[i]` after the
    end of that request (its own `arrival_s` is then ignored); empty array: all arrive at their `arrival_s`.
    """

    arrival_s: Floats
    input_tokens: Ints
    output_tokens: Ints
    prefix_hit_tokens: Ints
    request_class: Ints
    shared_tokens: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    follows: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    think_s: Floats = field(default_factory=lambda: np.zeros(0))
    reasoning_tokens: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def output_total(self) -> int:
        return int(self.output_tokens.sum())


def _cached(c: RequestClass) -> float:
    prefix = min(c.shared_prefix_tokens, c.input.mean)
    return prefix + c.mean_history_tokens + c.prefix_hit_share * (c.input.mean - prefix)


def _mean(classes: tuple[RequestClass, ...], values: list[float]) -> float:
    shares = np.array([c.share for c in classes])
    return float(np.dot(shares / shares.sum(), values))
