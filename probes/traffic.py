"""Open-loop traffic: when requests come, how long they are, and the account of how they were served."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from probes.histogram import Histogram
from probes.result import Measured
from probes.spec import LoadTarget, ProbeSpec

__all__ = ["DRAIN_FACTOR", "Account", "Request", "arrivals", "longest_of", "window_s"]

DRAIN_FACTOR = 2.0  # a run ends at this multiple of its length at the latest, with requests unanswered or not
WINDOW_S, MOST_WINDOWS = 5.0, 2000  # what a run reports at once, and how often at most
LENGTH_SPREAD = 0.5  # lengths are uniform in mean * (1 -+ this)


@dataclass(slots=True)
class Request:
    """One request on its way. Times are seconds since the run began."""

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    first_token_s: float | None = None
    finished_s: float | None = None
    generated: int = 0

    @property
    def ttft_ms(self) -> float:
        assert self.first_token_s is not None
        return (self.first_token_s - self.arrival_s) * 1e3

    @property
    def tpot_ms(self) -> float | None:
        """Mean time per token after the first; None for a single token."""
        if self.finished_s is None or self.first_token_s is None or self.generated < 2:
            return None
        return (self.finished_s - self.first_token_s) * 1e3 / (self.generated - 1)


def longest_of(mean_tokens: int) -> int:
    """The most tokens that are drawn around a mean."""
    return int(mean_tokens * (1 + LENGTH_SPREAD))


def arrivals(spec: ProbeSpec, target: LoadTarget) -> Iterator[Request]:
    """Poisson arrivals until the end of the run. The same seed gives the same traffic; a resumed run continues it."""
    source = random.Random(f"{target.seed}:{target.elapsed_before_s}")  # noqa: S311  # traffic, not secrets
    prompt = max(spec.prompt_tokens)
    at = 0.0
    while True:
        at += source.expovariate(target.requests_per_s)
        if at >= target.duration_s:
            return
        yield Request(at, _length(source, prompt), _length(source, spec.output_tokens))


def window_s(target: LoadTarget) -> float:
    """Seconds of one window: five, more for runs of hours. Parts of one run have the same."""
    longest = DRAIN_FACTOR * (target.elapsed_before_s + target.duration_s)
    return max(WINDOW_S, longest / MOST_WINDOWS)


def _length(source: random.Random, mean: int) -> int:
    return max(1, round(mean * source.uniform(1 - LENGTH_SPREAD, 1 + LENGTH_SPREAD)))


@dataclass(slots=True)
class Account:
    """What happened, over the whole run or one window of it."""

    target: LoadTarget
    ttft_ms: Histogram = field(default_factory=Histogram)
    tpot_ms: Histogram = field(default_factory=Histogram)
    finished: int = 0
    good: int = 0  # within both limits
    failed: int = 0
    output_tokens: int = 0

    def finish(self, request: Request) -> None:
        tpot = request.tpot_ms
        self.ttft_ms.add(request.ttft_ms)
        if tpot is not None:
            self.tpot_ms.add(tpot)
        self.finished += 1
        self.output_tokens += request.generated
        within = request.ttft_ms <= self.target.ttft_limit_ms and (tpot is None or tpot <= self.target.tpot_limit_ms)
        self.good += within

    def merge(self, other: Account) -> None:
        self.ttft_ms.merge(other.ttft_ms)
        self.tpot_ms.merge(other.tpot_ms)
        self.finished += other.finished
        self.good += other.good
        self.failed += other.failed
        self.output_tokens += other.output_tokens

    def tally(self, seconds: float) -> dict[str, float]:
        """The counts of one window, to be added up later."""
        counts = {
            "finished": self.finished,
            "good": self.good,
            "failed": self.failed,
            "output_tokens": self.output_tokens,
        }
        return {**{name: float(count) for name, count in counts.items()}, "seconds": seconds}

    def figures(self, seconds: float) -> dict[str, Measured]:
        """P50, P95, P99 of TTFT and TPOT, throughput and goodput over `seconds`."""
        found: dict[str, Measured] = {}
        for name, histogram in (("ttft_ms", self.ttft_ms), ("tpot_ms", self.tpot_ms)):
            if len(histogram):
                found |= {f"p{p}_{name}": histogram.measured(p / 100) for p in (50, 95, 99)}
        rates = {
            "output_tok_s": self.output_tokens,
            "finished_requests_per_s": self.finished,
            "goodput_requests_per_s": self.good,
        }
        found |= {name: Measured.of([count / seconds]) for name, count in rates.items() if seconds > 0}
        counts = {"finished_requests": self.finished, "failed_requests": self.failed}
        return found | {name: Measured.of([float(count)]) for name, count in counts.items()}
