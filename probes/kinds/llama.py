"""llama.cpp: the user's own programs on PATH where they can measure the kind asked for, else the library in process."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from statistics import fmean

from advisor.catalog.errors import UnsupportedError
from probes.engines.base import EngineUnavailableError
from probes.engines.libllama import find_libllama
from probes.engines.llama_bench import BenchRow, bench
from probes.engines.llama_server import llama_server
from probes.gguf.files import gguf_file
from probes.gguf.header import read_header
from probes.kinds.endpoint import run_endpoint
from probes.kinds.full import faster_than_memory, run_full
from probes.kinds.session import Session
from probes.kinds.sustained import run_sustained
from probes.kinds.sweep import run_sweep
from probes.result import Measured, ProbeResult
from probes.spec import EndpointTarget, Kind, ProbeSpec, SweepAxis

__all__ = ["Means", "means_of", "run_llama"]

SERVED_AXES = (SweepAxis.BATCH, SweepAxis.CONTEXT)


class Means(StrEnum):
    BENCH = "llama-bench"
    SERVER = "llama-server"
    LIBRARY = "libllama"


def run_llama(session: Session) -> ProbeResult:
    """Writes the synthetic file first where no file is given."""
    means = means_of(session.spec)
    if session.spec.sweep_axis is not SweepAxis.FORMAT:
        path = gguf_file(session.spec, lambda done, total: session.reporter.phase("write", done >> 20, total >> 20))
        session.spec = replace(session.spec, checkpoint=str(path))
    if means is Means.BENCH:
        return _benched(session)
    if means is Means.SERVER:
        return _served(session)
    runs = {Kind.FULL: run_full, Kind.SWEEP: run_sweep, Kind.SUSTAINED: run_sustained}
    return runs[session.spec.kind](session)


def means_of(spec: ProbeSpec) -> Means:
    """A program on PATH was built for this machine, a package for many; sequences decoded together need the library.

    Raises UnsupportedError for slices, EngineUnavailableError where what is needed is not installed.
    """
    if spec.kind not in (Kind.FULL, Kind.SWEEP, Kind.SUSTAINED):
        raise UnsupportedError(f"llama.cpp probes measure the whole model, not a {spec.kind} probe")
    together = spec.batch > 1 and spec.kind is not Kind.SUSTAINED and spec.sweep_axis is not SweepAxis.BATCH
    if spec.kind is Kind.FULL and not together and shutil.which("llama-bench"):
        return Means.BENCH
    served = not together and (spec.kind is not Kind.SWEEP or spec.sweep_axis in SERVED_AXES)
    if served and shutil.which("llama-server"):
        return Means.SERVER
    if find_libllama() is None:
        if together:
            raise EngineUnavailableError(
                f"a batch of {spec.batch} needs libllama (pip install xllamacpp): llama-bench decodes one sequence, "
                "and llama-server is sent one request at a time"
            )
        raise EngineUnavailableError(
            "llama.cpp is not here: no llama-bench or llama-server on PATH, no libllama (pip install xllamacpp)"
        )
    return Means.LIBRARY


def _benched(session: Session) -> ProbeResult:
    """`mbu` takes the model's file size as the bytes of a step; the embedding rows in it make it an upper bound."""
    spec, reporter = session.spec, session.reporter
    session.benchmark()
    canary = session.canary()
    canary()
    reporter.phase("decode")
    rows, memory = bench(spec, Path(str(spec.checkpoint)), session.threads)
    canary()
    result = replace(session.empty_result(), peak_bytes=memory.peak_bytes or None)
    for row in rows:
        result = _add(session, result, row)
    versions = {"llama.cpp": f"{rows[0].version}, llama-bench"}
    result = replace(result, bandwidth_bytes_per_s=session.best_read(), versions=versions)
    usual_read = (result.decode_tok_s.value if result.decode_tok_s else 0.0) * (result.read_bytes_per_token or 0)
    too_fast = faster_than_memory(usual_read, (session.best_read().value,))
    return session.finish(result, ["invalid_faster_than_memory"] if too_fast else [])


def _served(session: Session) -> ProbeResult:
    """The same measurements as of any endpoint, with a server of our own; its memory and start are measured too."""
    spec = session.spec
    path = Path(str(spec.checkpoint))
    session.benchmark()
    canary = session.canary()
    canary()
    session.reporter.phase("load")
    with llama_server(spec, path, session.threads) as server:
        served = replace(spec, endpoint=EndpointTarget(server.url, timeout_s=min(spec.timeout_s, 300.0)))
        result = run_endpoint(served, session.reporter)
    canary()
    header = read_header(path)
    result = replace(
        result,
        load_s=Measured.of([server.load_s]),
        peak_bytes=server.memory.peak_bytes or None,
        tensor_bytes=header.tensor_bytes,
        read_bytes_per_token=header.read_bytes(1),
        bandwidth_bytes_per_s=session.best_read(),
        versions={"llama.cpp": f"{server.version}, llama-server".removeprefix(", ")},
        duration_s=time.perf_counter() - session.reporter.started_s,
    )
    return session.finish(result, list(result.flags))


def _add(session: Session, result: ProbeResult, row: BenchRow) -> ProbeResult:
    rate = Measured.of(row.tok_s)
    if row.output_tokens:
        session.reporter.point("decode", {"context_tokens": 0, "batch": 1}, {"decode_tok_s": rate})
        speed = fmean(session.canaries)  # before and after, as our own engine's rounds are set against theirs
        mbu = Measured.of([tok_s * row.model_bytes / speed for tok_s in row.tok_s])
        return replace(
            result, decode_tok_s=rate, mbu=mbu, tensor_bytes=row.model_bytes, read_bytes_per_token=row.model_bytes
        )
    ttft = Measured.of([row.prompt_tokens / tok_s * 1e3 for tok_s in row.tok_s])
    session.reporter.point("prefill", {"prompt_tokens": row.prompt_tokens}, {"prefill_tok_s": rate, "ttft_ms": ttft})
    longest = row.prompt_tokens == max(session.spec.prompt_tokens)
    return replace(result, prefill_tok_s=rate, ttft_ms=ttft) if longest else result

