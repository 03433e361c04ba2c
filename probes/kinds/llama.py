"""A GGUF file measured by llama.cpp's own benchmark, between two readings of the memory's speed."""

from __future__ import annotations

from dataclasses import replace

from advisor.catalog.errors import UnsupportedError
from probes.engines.llama_bench import BenchRow, bench
from probes.kinds.full import FASTER_THAN_MEMORY
from probes.kinds.session import Session
from probes.result import Measured, ProbeResult
from probes.spec import Kind

__all__ = ["run_llama"]


def run_llama(session: Session) -> ProbeResult:
    """`mbu` takes the model's file size as the bytes of a step; the embedding rows in it make it an upper bound."""
    spec, reporter = session.spec, session.reporter
    if spec.kind is not Kind.FULL:
        raise UnsupportedError(f"llama.cpp probes measure the whole model, not a {spec.kind} probe")
    bandwidth = session.benchmark()
    canary = session.canary()
    canary()
    reporter.phase("decode")
    rows, memory = bench(spec, session.threads)
    canary()
    result = replace(session.empty_result(), peak_bytes=memory.peak_bytes or None)
    for row in rows:
        result = _add(session, result, row)
    result = replace(
        result, bandwidth_bytes_per_s=Measured.of(session.canaries), versions={"llama.cpp": rows[0].version}
    )
    fastest = result.mbu.value if result.mbu else 0.0
    best = max((*session.canaries, bandwidth.high)) / (sum(session.canaries) / len(session.canaries))
    return session.finish(result, ["invalid_faster_than_memory"] if fastest > FASTER_THAN_MEMORY * best else [])


def _add(session: Session, result: ProbeResult, row: BenchRow) -> ProbeResult:
    rate = Measured.of(row.tok_s)
    if row.output_tokens:
        session.reporter.point("decode", {"context_tokens": 0, "batch": 1}, {"decode_tok_s": rate})
        speed = sum(session.canaries) / len(session.canaries)
        mbu = Measured.of([tok_s * row.model_bytes / speed for tok_s in row.tok_s])
        return replace(
            result, decode_tok_s=rate, mbu=mbu, tensor_bytes=row.model_bytes, read_bytes_per_token=row.model_bytes
        )
    ttft = Measured.of([row.prompt_tokens / tok_s * 1e3 for tok_s in row.tok_s])
    session.reporter.point("prefill", {"prompt_tokens": row.prompt_tokens}, {"prefill_tok_s": rate, "ttft_ms": ttft})
    longest = row.prompt_tokens == max(session.spec.prompt_tokens)
    return replace(result, prefill_tok_s=rate, ttft_ms=ttft) if longest else result
