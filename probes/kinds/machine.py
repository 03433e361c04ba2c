"""The machine without a model: memory by threads, matrix products by precision, disk, copies to an accelerator."""

from __future__ import annotations

from dataclasses import replace

import torch

from probes.bench import copy_bandwidth, gemm_rate, host_to_device, read_bandwidth
from probes.disk_bench import read_disk
from probes.engines.precision import Precision
from probes.engines.torch_engine import set_threads
from probes.kinds.session import Session
from probes.result import Measured, ProbeResult

__all__ = ["run_machine"]

PRECISIONS = (Precision.FP32, Precision.BF16, Precision.FP16, Precision.INT8_A8, Precision.FP8)
NOISY_SPREAD = 0.25


def run_machine(session: Session) -> ProbeResult:
    """Each figure with its spread over repetitions."""
    readings = _memory(session)
    products = _products(session)
    _disk(session)
    _copies(session)
    canary = session.canary()
    for _ in range(2):
        canary()
    best = max(readings, key=lambda m: m.value)
    flags = ["noisy"] if _is_noisy(best, products) else []
    result = replace(session.empty_result(), bandwidth_bytes_per_s=best, versions={"torch": torch.__version__})
    return session.finish(result, flags)


def _is_noisy(best: Measured, products: list[Measured]) -> bool:
    """The best reading of memory, or any product, differs too much from repetition to repetition."""
    return max(m.spread for m in (best, *products)) > NOISY_SPREAD


def _memory(session: Session) -> list[Measured]:
    """Read and copy by thread count; an accelerator has one count."""
    session.reporter.phase("bandwidth")
    readings = []
    for threads in _thread_counts(session):
        set_threads(threads)
        read = read_bandwidth(session.device, session.cache_bytes, session.spec.repeats)
        copy = copy_bandwidth(session.device, session.cache_bytes, session.spec.repeats)
        values = {"read_bytes_per_s": read, "copy_bytes_per_s": copy}
        session.reporter.point("bandwidth", {"threads": threads}, values, str(session.device))
        readings.append(read)
    set_threads(session.threads)
    return readings


def _products(session: Session) -> list[Measured]:
    """Rates of the precisions that torch has a kernel for."""
    found = []
    for index, precision in enumerate(PRECISIONS):
        session.reporter.phase("gemm", index, len(PRECISIONS))
        rate = gemm_rate(session.device, precision, repeats=session.spec.repeats)
        if rate is not None:
            session.reporter.point("gemm", {}, {"ops_per_s": rate}, precision)
            found.append(rate)
    return found


def _copies(session: Session) -> None:
    """To and from each GPU, whichever was chosen: slots and risers differ."""
    if session.device.type != "cuda":
        return
    for index in range(torch.cuda.device_count()):
        session.reporter.phase("pcie", index, torch.cuda.device_count())
        to, back = host_to_device(torch.device("cuda", index), repeats=session.spec.repeats)
        values = {"to_device_bytes_per_s": to, "from_device_bytes_per_s": back}
        session.reporter.point("pcie", {}, values, f"cuda:{index}")


def _disk(session: Session) -> None:
    session.reporter.phase("disk")
    for label, reading in zip(("cold", "warm"), read_disk(repeats=session.spec.repeats), strict=True):
        if reading is None:
            continue
        values = {"read_bytes_per_s": Measured.of(reading.bytes_per_s)}
        if reading.cached_share is not None:
            values["cached_share"] = Measured.of([reading.cached_share])
        session.reporter.point("disk", {}, values, label)


def _thread_counts(session: Session) -> list[int]:
    """Powers of two up to all threads, and all physical cores."""
    if session.device.type != "cpu":
        return [session.threads]
    top = session.cpu.threads
    powers = [2**i for i in range(top.bit_length()) if 2**i <= top]
    return sorted({*powers, session.cpu.cores, top})
