"""The probe process: `python -m probes.worker`, spec on standard input, JSON lines on standard output.

It ends when standard input closes, so no probe outlives its server. torch is imported only after the guards are up.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from advisor.catalog.errors import FathomError
from probes.codec import decode, encode
from probes.cuda_visible import cuda_environment
from probes.engines.base import EngineUnavailableError, InvalidOutputError
from probes.failure import Failure, failure_of
from probes.measure import Reporter
from probes.memory_guard import join_group, limit_address_space, watch_memory
from probes.need import memory_limit
from probes.pinning import pin_to_cores
from probes.result import Event, EventKind, Point, ProbeResult, State
from probes.spec import EngineName, Kind, ProbeSpec, SweepAxis

__all__ = ["main"]

# torch asks for pages of 2 MiB where the system offers them: with pages of 4 KiB the tables of a model of 15 GB outgrow
# the caches, and each step reads them anew (1.15 tokens per second of a 7B in bf16 on a Zen 1, with large pages 1.46)
LARGE_PAGES = ("THP_MEM_ALLOC_ENABLE", "1")
# matrices of some megabytes, as experts are, else fill CUDA's blocks of 20 MiB badly: 38.4 GB for 32.4 GB of V2-Lite
CUDA_BLOCKS = ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")


def main() -> int:
    """Read the spec, measure, write the result. Exit codes: 0 result sent, 1 error sent, 137 ended by the memory
    guard.
    """
    channel = _Channel(_claim_stdout())
    os.environ.setdefault(*LARGE_PAGES)
    os.environ.setdefault(*CUDA_BLOCKS)
    line = sys.stdin.readline()
    _exit_with_parent()
    faulthandler.enable()
    try:
        spec = decode(ProbeSpec, json.loads(line), where="probe spec")
        os.environ.update(cuda_environment(spec.device))  # nothing has asked CUDA for its devices yet
        channel.send(Event(EventKind.RESULT, result=_measure(spec, channel)))
    except MemoryError as problem:
        return channel.fail(State.OUT_OF_MEMORY, Failure("allocation", {"detail": _first_line(problem)}))
    except RuntimeError as problem:  # torch reports a failed allocation like this
        return channel.fail(_state_of(problem), _told(problem, spec.device))
    except (FathomError, EngineUnavailableError, ImportError, OSError, ValueError) as problem:
        return channel.fail(State.FAILED, failure_of(problem, "") or _first_line(problem))
    except InvalidOutputError as problem:
        return channel.fail(State.INVALID, failure_of(problem, "") or str(problem))
    return 0


def _measure(spec: ProbeSpec, channel: _Channel) -> ProbeResult:
    if spec.device == "cpu" and spec.kind is not Kind.MACHINE and spec.sweep_axis is not SweepAxis.THREADS:
        pin_to_cores()  # those two kinds use every hardware thread
    if spec.memory_limit_bytes:
        _guard(spec, spec.memory_limit_bytes, channel)
    elif spec.device != "cpu":
        _watch(memory_limit(), channel)  # the model's bytes are on the device; the machine's own must last all the same
    channel.phase("import")
    reporter = Reporter(channel.phase, channel.point)
    if spec.engine is EngineName.ENDPOINT:
        from probes.kinds.endpoint import run_endpoint

        return run_endpoint(spec, reporter)
    if spec.engine is EngineName.LLAMACPP:
        from probes.kinds.llama import run_llama
        from probes.kinds.session import Session

        return run_llama(Session(spec, reporter))
    return _kind(spec.kind)(spec, reporter)


def _kind(kind: Kind) -> Callable[[ProbeSpec, Reporter], ProbeResult]:
    from probes.kinds.full import run_full
    from probes.kinds.machine import run_machine
    from probes.kinds.session import Session
    from probes.kinds.slices import run_slice
    from probes.kinds.sustained import run_sustained
    from probes.kinds.sweep import run_sweep

    runs = {
        Kind.FULL: run_full,
        Kind.MACHINE: run_machine,
        Kind.SLICE: run_slice,
        Kind.SUSTAINED: run_sustained,
        Kind.SWEEP: run_sweep,
    }
    return lambda spec, reporter: runs[kind](Session(spec, reporter))


def _guard(spec: ProbeSpec, limit_bytes: int, channel: _Channel) -> None:
    join_group(limit_bytes)
    if spec.device == "cpu" and spec.engine is EngineName.TORCH:
        limit_address_space(limit_bytes)
    _watch(limit_bytes, channel)


def _watch(limit_bytes: int, channel: _Channel) -> None:
    watch_memory(
        limit_bytes, lambda told: channel.send(Event(EventKind.ERROR, state=State.OUT_OF_MEMORY, failure=told))
    )


@dataclass(slots=True)
class _Channel:
    """Writes one JSON object per line; safe to use from the guard's thread."""

    stream: IO[str]
    lock: threading.Lock

    def __init__(self, stream: IO[str]) -> None:
        self.stream, self.lock = stream, threading.Lock()

    def send(self, event: Event) -> None:
        with self.lock:
            self.stream.write(json.dumps(encode(event), separators=(",", ":")) + "\n")
            self.stream.flush()

    def phase(self, name: str, done: int = 0, total: int = 0) -> None:
        self.send(Event(EventKind.PHASE, phase=name, done=done, total=total))

    def point(self, point: Point) -> None:
        self.send(Event(EventKind.POINT, point=point))

    def fail(self, state: State, told: Failure | str) -> int:
        """By key, whose text the parent makes; else as a text of one line."""
        if isinstance(told, str):
            self.send(Event(EventKind.ERROR, state=state, message=told))
        else:
            self.send(Event(EventKind.ERROR, state=state, failure=told))
        return 1


def _claim_stdout() -> IO[str]:
    """Events keep the real standard output; whatever libraries print goes to standard error."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "w", encoding="utf-8")


def _exit_with_parent() -> None:
    """A thread blocked on standard input: end of file means that the server is gone or has cancelled."""

    def wait() -> None:
        while sys.stdin.readline():
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True, name="parent-watch").start()


def _state_of(problem: RuntimeError) -> State:
    text = str(problem)
    memory = "DefaultCPUAllocator" in text or "out of memory" in text or "can't allocate memory" in text
    return State.OUT_OF_MEMORY if memory else State.FAILED


def _told(problem: RuntimeError, device: str) -> Failure | str:
    if _state_of(problem) is State.OUT_OF_MEMORY:
        return Failure("allocation", {"detail": _first_line(problem)})
    return failure_of(problem, device) or _first_line(problem)


def _first_line(problem: BaseException) -> str:
    text = str(problem).strip().splitlines()
    return (text[0] if text else type(problem).__name__)[:300]


if __name__ == "__main__":
    sys.exit(main())
