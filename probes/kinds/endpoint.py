"""A served model, measured from outside: streaming latency, concurrency, sustained open-loop load. Needs no torch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from statistics import mean, median

from advisor.catalog.errors import InputError
from probes.measure import Reporter
from probes.openai_client import Answer, EndpointClient, EndpointError
from probes.result import Conditions, Measured, ProbeResult, State
from probes.server_metrics import gauges, server_figures, server_flags
from probes.spec import Kind, ProbeSpec, SweepAxis
from probes.sweep_values import SweepWatch
from probes.system import LoadSampler, load_average
from probes.traffic import WINDOW_S, Account, Request, arrivals, window_s

__all__ = ["run_endpoint"]

MAX_IN_FLIGHT = 512
DRAIN_S = 30.0
FEWEST_UNANSWERED = 3  # the last so many requests failed: the server is gone


def run_endpoint(spec: ProbeSpec, reporter: Reporter) -> ProbeResult:
    """Raises EndpointError when not even one request is answered."""
    if spec.endpoint is None:
        raise InputError("url", "the address of an OpenAI-compatible server", None)
    client, load = EndpointClient(spec.endpoint), LoadSampler()
    reporter.phase("connect")
    model = client.connect()
    before, start = client.metrics(), time.perf_counter()
    run: dict[Kind, Callable[[ProbeSpec, Reporter, EndpointClient], ProbeResult]] = {
        Kind.SUSTAINED: _sustained,
        Kind.SWEEP: _sweep,
    }
    result = run.get(spec.kind, _single)(spec, reporter, client)
    server = server_figures(before, client.metrics(), time.perf_counter() - start)
    return replace(
        result,
        figures={**result.figures, **server},
        flags=(*result.flags, *server_flags(server)),
        points=tuple(reporter.points),
        duration_s=time.perf_counter() - reporter.started_s,
        conditions=Conditions(load_average=load_average(), foreign_cores=load.foreign_cores()),
        versions={"served_model": model},
    )


def _single(spec: ProbeSpec, reporter: Reporter, client: EndpointClient) -> ProbeResult:
    """One request at a time at each prompt length; the first of each length is a warm-up."""
    result, failed = _empty(spec), 0
    for index, tokens in enumerate(spec.prompt_tokens):
        reporter.phase("prefill", index, len(spec.prompt_tokens))
        answers, problems = _ask(client, tokens, spec.output_tokens, spec.repeats + 1, workers=1)
        failed += len(problems)
        kept = answers[1:] or answers
        ttft = Measured.of([a.first_token_s * 1e3 for a in kept])
        rate = Measured.of([a.prompt_tokens / a.first_token_s for a in kept])
        steps = [a.tpot_s for a in kept if a.tpot_s]
        decode = Measured.of([1 / s for s in steps]) if steps else None
        values = {"ttft_ms": ttft, "prefill_tok_s": rate} | ({"decode_tok_s": decode} if decode else {})
        reporter.point("request", {"prompt_tokens": mean(a.prompt_tokens for a in kept)}, values)
        result = replace(result, ttft_ms=ttft, prefill_tok_s=rate, decode_tok_s=decode)
    return replace(result, flags=("requests_failed",) if failed else ())


def _sweep(spec: ProbeSpec, reporter: Reporter, client: EndpointClient) -> ProbeResult:
    """Concurrency, or prompt length."""
    if spec.sweep_axis not in (SweepAxis.BATCH, SweepAxis.CONTEXT) or not spec.sweep_values:
        raise InputError("sweep", "batch or context for an endpoint", spec.sweep_axis)
    if spec.sweep_axis is SweepAxis.CONTEXT:
        return _single(replace(spec, prompt_tokens=spec.sweep_values), reporter, client)
    # others use a server too: a few requests do not tell that more at once gain nothing
    result, watch, end = _empty(spec), SweepWatch(spec, least_gain=0.0), None
    for index, workers in enumerate(spec.sweep_values):
        reporter.phase("sweep", index, len(spec.sweep_values))
        start = time.perf_counter()
        answers, _ = _ask(client, max(spec.prompt_tokens), spec.output_tokens, workers * spec.repeats, workers)
        seconds = time.perf_counter() - start
        values = {
            "ttft_ms": Measured.of([a.first_token_s * 1e3 for a in answers]),
            "output_tok_s": Measured.of([sum(a.output_tokens for a in answers) / seconds]),
        }
        steps = [a.tpot_s for a in answers if a.tpot_s]
        if steps:
            values["decode_tok_s"] = Measured.of([1 / s for s in steps])
        reporter.point("decode", {"batch": workers}, values)
        if index == 0:
            result = replace(result, ttft_ms=values["ttft_ms"], decode_tok_s=values.get("decode_tok_s"))
        tpot_ms = 1e3 * median(steps) if steps else 0.0
        end = watch.stop(workers, tpot_ms, values["output_tok_s"].value)
        if end is not None:
            break
    return replace(result, sweep_end=end or watch.end())


def _ask(
    client: EndpointClient, prompt: int, output: int, count: int, workers: int
) -> tuple[list[Answer], list[EndpointError]]:
    """`count` requests, `workers` at once. Raises the first problem when none succeeds."""

    def one(_: int) -> Answer | EndpointError:
        try:
            return client.complete(prompt, output)
        except EndpointError as problem:
            return problem

    if workers == 1:
        found = []
        for index in range(count):
            found.append(one(index))
            if index == 0 and isinstance(found[0], EndpointError):
                raise found[0]
    else:
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(one, range(count)))
    answers = [a for a in found if isinstance(a, Answer)]
    problems = [p for p in found if isinstance(p, EndpointError)]
    if not answers:
        raise problems[0]
    return answers, problems


@dataclass(slots=True)
class _Flight:
    """Requests on their way, shared between threads."""

    window: Account
    lock: threading.Lock = field(default_factory=threading.Lock)
    active: int = 0
    last_problem: EndpointError | None = None
    last_answer_s: float = 0.0
    failed_since: int = 0  # requests in a row without an answer


def _sustained(spec: ProbeSpec, reporter: Reporter, client: EndpointClient) -> ProbeResult:
    """Every request has a thread, so a slow server does not slow the arrivals down: open loop."""
    target = spec.load
    if target is None or target.requests_per_s <= 0:
        raise InputError("load", "a rate above 0", target)
    flight, whole, start = _Flight(Account(target)), Account(target), time.perf_counter()
    state = _Windows(reporter, _ServerWatch(client), flight, whole, start)
    for request in arrivals(spec, target):
        state.wait_until(request.arrival_s)
        if flight.active >= MAX_IN_FLIGHT:
            with flight.lock:
                flight.window.failed += 1
            continue
        with flight.lock:
            flight.active += 1
        threading.Thread(target=_fly, args=(client, request, flight, start), daemon=True).start()
    end = time.perf_counter() + DRAIN_S
    while flight.active and time.perf_counter() < end:
        state.wait_until(time.perf_counter() - start + 0.05)
    state.close()
    if not whole.finished:
        raise flight.last_problem or EndpointError("no_answer")
    return _summed(spec, whole, flight, time.perf_counter() - start)


def _summed(spec: ProbeSpec, whole: Account, flight: _Flight, seconds: float) -> ProbeResult:
    """A server that was silent at the end is named, with the time of its last answer and the reason of the last
    failure."""
    figures, flags = whole.figures(seconds), ("requests_failed",) if whole.failed else ()
    if flight.failed_since < FEWEST_UNANSWERED:
        return replace(_empty(spec), figures=figures, flags=flags)
    before = spec.load.elapsed_before_s if spec.load else 0.0
    figures["last_answer_s"] = Measured.of([before + flight.last_answer_s])
    last = flight.last_problem
    return replace(
        _empty(spec),
        figures=figures,
        flags=(*flags, "server_silent"),
        error=str(last or ""),
        failure=None if last is None else last.failure,
    )


def _fly(client: EndpointClient, request: Request, flight: _Flight, start: float) -> None:
    sent = time.perf_counter() - start
    try:
        answer = client.complete(request.prompt_tokens, request.output_tokens)
    except EndpointError as problem:
        with flight.lock:
            flight.active -= 1
            flight.window.failed += 1
            flight.failed_since += 1
            flight.last_problem = problem
        return
    request.first_token_s, request.finished_s = sent + answer.first_token_s, sent + answer.last_token_s
    request.generated = answer.output_tokens
    with flight.lock:
        flight.active -= 1
        flight.failed_since, flight.last_answer_s = 0, time.perf_counter() - start
        flight.window.finish(request)


class _ServerWatch:
    """Reads the server's own gauges from a thread of its own, so that a slow answer delays no arrival."""

    def __init__(self, client: EndpointClient) -> None:
        self.latest: dict[str, Measured] = {}
        self._client, self._over = client, threading.Event()
        threading.Thread(target=self._read, daemon=True, name="server-metrics").start()

    def close(self) -> None:
        self._over.set()

    def _read(self) -> None:
        while not self._over.is_set():
            self.latest = gauges(self._client.metrics())
            self._over.wait(WINDOW_S / 2)


class _Windows:
    """Reports window by window while waiting."""

    def __init__(
        self, reporter: Reporter, server: _ServerWatch, flight: _Flight, whole: Account, start: float
    ) -> None:
        self._server, self._reporter = server, reporter
        self._flight, self._whole, self._target = flight, whole, whole.target
        self._start = self._opened = start
        self._seconds = window_s(whole.target)

    def wait_until(self, at_s: float) -> None:
        while (rest := self._start + at_s - time.perf_counter()) > 0:
            time.sleep(min(rest, 0.2))
            self._maybe_report()
        self._maybe_report()

    def close(self) -> None:
        self._report()
        self._server.close()

    def _maybe_report(self) -> None:
        if time.perf_counter() - self._opened >= self._seconds:
            self._report()

    def _report(self) -> None:
        now = time.perf_counter()
        with self._flight.lock:
            window, self._flight.window = self._flight.window, Account(self._target)
            active = self._flight.active
        seconds, elapsed = now - self._opened, now - self._start
        self._opened = now
        self._whole.merge(window)
        duration = int(self._target.duration_s)
        self._reporter.phase("sustained", min(int(elapsed), duration), duration)
        values = {**window.figures(max(seconds, 1e-9)), "active": Measured.of([float(active)])}
        values |= self._server.latest
        self._reporter.point("window", {"elapsed_s": elapsed + self._target.elapsed_before_s}, values)
        self._reporter.point("tally", window.tally(seconds), {})
        self._reporter.point("histogram", window.ttft_ms.bins(), {}, "ttft_ms")
        self._reporter.point("histogram", window.tpot_ms.bins(), {}, "tpot_ms")


def _empty(spec: ProbeSpec) -> ProbeResult:
    return ProbeResult(id="", spec=spec, state=State.DONE, fingerprint="", started_at="", duration_s=0.0)
