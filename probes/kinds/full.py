"""The whole variant: load, prefill at each prompt length, decode, memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import median

import torch

from advisor.sizing.tensors import active_params
from probes.engines.base import Engine
from probes.engines.factory import make_engine
from probes.engines.torch_engine import TorchEngine
from probes.kinds.parts import measure_parts
from probes.kinds.session import Session
from probes.measure import DecodeRounds, decode_rounds, prefill_samples, times_of
from probes.result import Measured, ProbeResult
from probes.system import own_peak_bytes

__all__ = [
    "SPARE_TOKENS", "decode_flags", "faster_than_memory", "joules_per_token", "load", "prefill_flags", "run_full",
    "share_of_bandwidth",
]  # fmt: skip

SPARE_TOKENS = 16
FASTER_THAN_MEMORY = 1.1  # times the best reading of memory: what two readings of one moment differ by
SLOW_KERNEL_MBU = 0.5
DISTURBED_SHARE = 0.6  # beside other work a step waits longer than a plain reading does
SLOW_KERNEL_GEMM_SHARE = 0.25
CACHE_FACTOR = 4
ENERGY_S = 2.0


def run_full(session: Session) -> ProbeResult:
    """One loaded model, measured."""
    spec, reporter = session.spec, session.reporter
    bandwidth = session.benchmark()
    engine = make_engine(spec, slots=spec.batch, tokens=spec.context_tokens + SPARE_TOKENS)
    result = load(session, engine)
    longest = max(spec.prompt_tokens)
    session.multiply()
    for index, tokens in enumerate(spec.prompt_tokens):
        reporter.phase("prefill", index, len(spec.prompt_tokens))
        seconds = prefill_samples(engine, tokens, spec.repeats)
        session.multiply()
        result = replace(result, **prefill_figures(session, tokens, seconds, keep=tokens == longest))
    reporter.phase("decode")
    session.choose_threads(lambda: min(engine.decode(longest, spec.batch, 3)))
    peak = engine.peak_device_bytes() or own_peak_bytes()
    rounds = decode_rounds(
        engine,
        spec,
        longest,
        session.canary(),
        slots=spec.batch,
        times=times_of(spec, virtual=bool(session.cpu.hypervisor)),
        progress=lambda done, count: reporter.phase("decode", done, count),
    )
    joules = joules_per_token(session, engine, longest)
    mbu = share_of_bandwidth(session, engine, rounds)
    report_decode(session, rounds, longest, spec.batch, mbu)
    measure_parts(session, engine, longest)
    result = replace(
        result,
        peak_bytes=peak,
        read_bytes_per_token=rounds.read_bytes // spec.batch,
        decode_tok_s=rounds.tok_s,
        mbu=mbu,
        bandwidth_bytes_per_s=session.best_read(),
        versions=dict(engine.versions()),
        figures={} if joules is None else {"joules_per_token": joules},
    )
    flags = decode_flags(session, engine, rounds, bandwidth) + prefill_flags(session, result)
    return session.finish(result, flags)


def load(session: Session, engine: Engine) -> ProbeResult:
    """Weights into memory; the clock runs until they are all there."""
    session.reporter.phase("load")
    session.look_at_page_cache()
    start = time.perf_counter()
    engine.load()
    seconds = Measured.of([time.perf_counter() - start])
    session.reporter.point("load", {}, {"load_s": seconds})
    session.reads(_memory_of(session, engine))
    return replace(session.empty_result(), load_s=seconds, tensor_bytes=engine.tensor_bytes)


def _memory_of(session: Session, engine: Engine) -> list[torch.Tensor]:
    """Where the weights lie; nothing where they may stay in a cache."""
    memory = engine.memory() if isinstance(engine, TorchEngine) else []
    enough = sum(t.numel() * t.element_size() for t in memory) >= CACHE_FACTOR * session.cache_bytes
    return memory if enough else []


def prefill_figures(session: Session, tokens: int, seconds: list[float], *, keep: bool) -> dict[str, Measured]:
    """Emits the point; the figures of the longest prompt are the headline ones."""
    rate = Measured.of([tokens / s for s in seconds])
    ttft = Measured.of([s * 1e3 for s in seconds])
    session.reporter.point("prefill", {"prompt_tokens": tokens}, {"prefill_tok_s": rate, "ttft_ms": ttft})
    return {"prefill_tok_s": rate, "ttft_ms": ttft} if keep else {}


def share_of_bandwidth(session: Session, engine: Engine, rounds: DecodeRounds) -> Measured | None:
    """Of plain reading beside each round. What the model itself reached counts as a reading of this run, too, but for
    weights that stay in a cache, which say nothing about memory.
    """
    if not _fits_in_cache(session, engine):
        session.reached(max(rounds.read_rates))
    return rounds.mbu(session.best_read().value)


def joules_per_token(
    session: Session, engine: Engine, context_tokens: int, clock: Callable[[], float] = time.perf_counter
) -> Measured | None:
    """Of decoding alone, for long enough that the counter, which is renewed some times a second, tells. None where
    there is none.
    """
    if session.energy().joules is None:
        return None
    spec, tokens, start = session.spec, 0, clock()
    before = session.energy()
    while clock() - start < ENERGY_S:
        tokens += spec.batch * len(engine.decode(context_tokens, spec.batch, spec.output_tokens))
    used = session.joules_since(before)
    return None if used is None else Measured.of([used / tokens])


def report_decode(
    session: Session, rounds: DecodeRounds, context_tokens: int, batch: int, mbu: Measured | None
) -> None:
    tok_s = rounds.tok_s
    values = {
        "decode_tok_s": tok_s,
        "output_tok_s": Measured(tok_s.value * batch, tok_s.low * batch, tok_s.high * batch, tok_s.n),
        "step_ms": Measured.of([s * 1e3 for s in rounds.step_s]),
    }
    if mbu is not None:
        values["mbu"] = mbu
    session.reporter.point("decode", {"context_tokens": context_tokens, "batch": batch}, values)


def decode_flags(session: Session, engine: Engine, rounds: DecodeRounds, bandwidth: Measured) -> list[str]:
    """Rules on the figures: what cannot be true is invalid; what is true of the kernel only, is said."""
    flags: list[str] = []
    usual, mbu = median(rounds.read_rates), rounds.mbu(session.best_read().value)
    disturbed = "foreign_load" in session.conditions().warnings
    if _fits_in_cache(session, engine):
        flags.append("fits_in_cache")
    elif faster_than_memory(usual, (*rounds.canaries, bandwidth.high)):
        flags.append("invalid_faster_than_memory")
    elif mbu is not None and mbu.high < SLOW_KERNEL_MBU * (DISTURBED_SHARE if disturbed else 1.0):
        flags.append("slow_decode_kernel")
    if mbu is not None and rounds.tok_s.spread > 0.3:
        flags.append("noisy")
    return flags


def faster_than_memory(usual_read: float, readings: Iterable[float]) -> bool:
    """Whether weights were read as they cannot have been; all in bytes per second. `usual_read`: the median of the
    rounds, because a single one may meet a moment of memory that no reading met. `readings`: of memory, at least one.
    """
    return usual_read > FASTER_THAN_MEMORY * max(readings)


def _fits_in_cache(session: Session, engine: Engine) -> bool:
    return session.device.type == "cpu" and engine.tensor_bytes < CACHE_FACTOR * session.cache_bytes


def prefill_flags(session: Session, result: ProbeResult) -> list[str]:
    """A format whose products run at under a quarter of the 16-bit product measured in the same run is slow here."""
    a = session.spec.architecture
    rates = [p.values["ops_per_s"].value for p in session.reporter.points if p.name == "gemm"]
    if a is None or not rates or result.prefill_tok_s is None or "foreign_load" in session.conditions().warnings:
        return []
    reached = 2 * active_params(a) * result.prefill_tok_s.value
    return ["slow_prefill_kernel"] if reached < SLOW_KERNEL_GEMM_SHARE * max(rates) else []
