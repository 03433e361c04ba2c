"""Open-loop load for minutes to hours on a probe engine with continuous batching over fixed slots."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from advisor.catalog.errors import InputError
from probes.engines.base import Engine
from probes.engines.factory import make_engine
from probes.engines.torch_engine import TorchEngine
from probes.kinds.full import SPARE_TOKENS, load
from probes.kinds.session import Session
from probes.leak import drift_per_hour, leak_flags
from probes.result import Measured, ProbeResult
from probes.spec import LoadTarget
from probes.system import own_peak_bytes, own_resident_bytes
from probes.traffic import DRAIN_FACTOR, LENGTH_SPREAD, Account, Request, arrivals, longest_of, window_s

__all__ = ["run_sustained"]

IDLE_S = 0.005
_RATES = ("_tok_s", "_per_s")


@dataclass(slots=True)
class Server:
    """The batch: requests that wait, requests in slots."""

    engine: Engine
    slots: int
    waiting: deque[Request] = field(default_factory=deque)
    active: dict[int, Request] = field(default_factory=dict)

    def admit(self, now: float, start: float) -> None:
        """Prefill one waiting request into a free slot; its first token comes out of the prefill."""
        free = next((slot for slot in range(self.slots) if slot not in self.active), None)
        if free is None or not self.waiting or self.waiting[0].arrival_s > now:
            return
        request = self.waiting.popleft()
        self.engine.prefill(request.prompt_tokens, free)
        request.first_token_s, request.generated = time.perf_counter() - start, 1
        self.active[free] = request

    def step(self, start: float) -> list[Request]:
        """One decode step of all active requests; those that are done leave."""
        if not self.active:
            return []
        lengths = {slot: r.prompt_tokens + r.generated - 1 for slot, r in sorted(self.active.items())}
        growing = {
            slot: n for slot, n in lengths.items() if self.active[slot].generated < self.active[slot].output_tokens
        }
        if growing:
            self.engine.step(growing)
        now, done = time.perf_counter() - start, []
        for slot, request in list(self.active.items()):
            request.generated += slot in growing
            if request.generated >= request.output_tokens:
                request.finished_s = now
                done.append(self.active.pop(slot))
        return done


def run_sustained(session: Session) -> ProbeResult:
    """Runs to the end of the arrivals and drains; reports window by window, so a run cut short keeps its data."""
    spec, target = session.spec, session.spec.load
    if target is None or target.requests_per_s <= 0 or target.slots < 1:
        raise InputError("load", "a rate and a number of slots above 0", target)
    bandwidth = session.benchmark()
    tokens = longest_of(max(spec.prompt_tokens) + spec.output_tokens) + SPARE_TOKENS
    engine = make_engine(spec, slots=target.slots, tokens=tokens)
    result = load(session, engine)
    session.reporter.phase("warm_up")
    _warm_up(engine, spec.prompt_tokens, target.slots)
    if isinstance(engine, TorchEngine):
        shortest = round(min(spec.prompt_tokens) * (1 - LENGTH_SPREAD))
        engine.capture(shortest, tokens - 1, target.slots)
    before = session.energy()
    whole, elapsed, memory, queue = _serve(session, engine, target)
    used, figures = session.joules_since(before), whole.figures(elapsed)
    if used is not None and whole.output_tokens:
        figures["joules_per_token"] = Measured.of([used / whole.output_tokens])
    drift = drift_per_hour(memory)
    if drift is not None:
        figures["memory_drift_bytes_per_hour"] = drift
    figures["queue_length_end"] = Measured.of([float(queue)])
    return session.finish(
        replace(
            result,
            peak_bytes=engine.peak_device_bytes() or own_peak_bytes(),
            bandwidth_bytes_per_s=bandwidth,
            figures=figures,
            versions=dict(engine.versions()),
        ),
        _flags(memory, queue, whole),
    )


def _serve(
    session: Session, engine: Engine, target: LoadTarget
) -> tuple[Account, float, list[tuple[float, float]], int]:
    server, source = Server(engine, target.slots), arrivals(session.spec, target)
    coming = next(source, None)
    whole, window = Account(target), Account(target)
    memory: list[tuple[float, float]] = []
    queue_at_end, last, seconds = 0, 0.0, window_s(target)
    start = window_start = time.perf_counter()
    while True:
        now = time.perf_counter() - start
        coming = _arrive(server, source, coming, now)
        server.admit(now, start)
        for request in server.step(start):
            window.finish(request)
        if last <= target.duration_s:  # also the first look after the end: one prompt may take longer than the rest
            queue_at_end = len(server.waiting)
        last = now
        if time.perf_counter() - window_start >= seconds:
            memory.append((now, float(own_resident_bytes())))
            _report(session, window, server, now, time.perf_counter() - window_start)
            whole.merge(window)
            window, window_start = Account(target), time.perf_counter()
        if _is_over(server, coming, now, target):
            break
        if not server.active and not server.waiting:
            time.sleep(IDLE_S)
    if window.finished:
        _report(session, window, server, now, time.perf_counter() - window_start)
        whole.merge(window)
    return whole, time.perf_counter() - start, memory, queue_at_end


def _arrive(server: Server, source: Iterator[Request], coming: Request | None, now: float) -> Request | None:
    """Move all requests that have arrived by now into the queue."""
    while coming is not None and coming.arrival_s <= now:
        server.waiting.append(coming)
        coming = next(source, None)
    return coming


def _is_over(server: Server, coming: Request | None, now: float, target: LoadTarget) -> bool:
    if now > DRAIN_FACTOR * target.duration_s:
        return True
    return coming is None and not server.waiting and not server.active


def _warm_up(engine: Engine, prompts: tuple[int, ...], slots: int) -> None:
    """Chooses kernels for every batch size that will occur."""
    engine.prefill(max(prompts))
    batch = 1
    while batch <= slots:
        engine.decode(max(prompts), batch, 2)
        batch *= 2


def _report(session: Session, window: Account, server: Server, now: float, seconds: float) -> None:
    target = window.target
    session.reporter.phase("sustained", min(int(now), int(target.duration_s)), int(target.duration_s))
    values = window.figures(seconds)
    if seconds < window_s(target) / 2:  # what is left at the end: one answer in it would look like a rate
        values = {name: value for name, value in values.items() if not name.endswith(_RATES)}
    values["queue_length"] = Measured.of([float(len(server.waiting))])
    values["active"] = Measured.of([float(len(server.active))])
    values["resident_bytes"] = Measured.of([float(own_resident_bytes())])
    state = session.gauges()
    names = ("temperature_c", "power_w", "sm_clock_hz")
    values |= {name: Measured.of([float(state[name])]) for name in names if name in state}
    at = {"elapsed_s": now + target.elapsed_before_s}
    session.reporter.point("window", at, values)
    session.reporter.point("tally", window.tally(seconds), {})
    session.reporter.point("histogram", window.ttft_ms.bins(), {}, "ttft_ms")
    session.reporter.point("histogram", window.tpot_ms.bins(), {}, "tpot_ms")


def _flags(memory: list[tuple[float, float]], queue: int, whole: Account) -> list[str]:
    """Too fast is a queue beyond what one batch explains, or that nothing was answered while requests waited."""
    flags, target = [], whole.target
    usual = max(2 * target.slots, target.requests_per_s * target.ttft_limit_ms / 1e3)
    if queue > (usual if whole.finished else 0):
        flags.append("saturated")
    return [*flags, *leak_flags(memory, whole.finished)]
