"""Long calculations in processes of their own: start, watch, cancel. Answers are kept by their frozen inputs.

A process and not a thread, because a cancelled search must stop at once and plain Python must not slow the pages.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from advisor.catalog.errors import FathomError, UnsupportedError
from advisor.jobs.messages import Request, Told
from advisor.jobs.workers import Process, Workers, end

__all__ = ["Background", "Job", "JobState"]

MOST_AT_ONCE = 2
KEPT = 64  # answers; the oldest is forgotten


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """One calculation at one moment; a later moment is another record. `seconds`: since it began to run."""

    request: Request
    state: JobState
    share: float = 0.0
    phase: str = ""  # text key load.phase.<phase>
    number: int = 0  # what is being tried: replicas
    seconds: float = 0.0
    answer: Any = None
    problem: FathomError | None = None


class Background:
    """One per server process. The same request by two users is one job, and is answered at once the next time."""

    def __init__(self, most_at_once: int = MOST_AT_ONCE, kept: int = KEPT) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Request, Job] = OrderedDict()
        self._started: dict[Request, float] = {}
        self._processes: dict[Request, Process] = {}
        self._pool = ThreadPoolExecutor(most_at_once, thread_name_prefix="search")
        self._workers = Workers()
        self._kept = kept

    def prepare(self) -> None:
        """Load and compile now what the first calculation would wait for."""
        self._workers.prepare()

    def start(self, request: Request) -> None:
        """Begin, unless it runs or is answered already. A cancelled or failed job starts again."""
        with self._lock:
            found = self._jobs.get(request)
            if found is not None and found.state in (JobState.QUEUED, JobState.RUNNING, JobState.DONE):
                return
            self._jobs[request] = Job(request, JobState.QUEUED)
            self._jobs.move_to_end(request)
            self._forget_oldest()
        self._pool.submit(self._run, request)

    def job(self, request: Request) -> Job | None:
        """The job of these inputs now; None if nobody asked, or too long ago."""
        with self._lock:
            found, started = self._jobs.get(request), self._started.get(request)
        if found is None or started is None or found.state is not JobState.RUNNING:
            return found
        return replace(found, seconds=time.monotonic() - started)

    def cancel(self, request: Request) -> None:
        """End it; a finished or unknown one is left as it is."""
        with self._lock:
            found = self._jobs.get(request)
            if found is None or found.state.is_final:
                return
            self._jobs[request] = replace(found, state=JobState.CANCELLED)
            process = self._processes.get(request)
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Cancel all jobs and take no more."""
        with self._lock:
            open_jobs = [request for request, job in self._jobs.items() if not job.state.is_final]
        for request in open_jobs:
            self.cancel(request)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._workers.close()

    def _run(self, request: Request) -> None:
        """In a thread of the pool: hands the request to a process and follows it to its answer."""
        with self._lock:
            if self._jobs[request].state is not JobState.QUEUED:
                return
            self._jobs[request] = replace(self._jobs[request], state=JobState.RUNNING)
            self._started[request] = time.monotonic()
            process = self._processes[request] = self._workers.take()
        answered = False
        try:
            answered = self._follow(request, process)
        finally:
            (self._workers.give_back if answered else end)(process)
            with self._lock:
                del self._processes[request]
                self._started.pop(request, None)
                if not self._jobs[request].state.is_final:  # it died without a word
                    gone = UnsupportedError("the calculation ended without an answer")
                    self._jobs[request] = replace(self._jobs[request], state=JobState.FAILED, problem=gone)

    def _follow(self, request: Request, process: Process) -> bool:
        """Whether it came to an answer or a problem; False: it is dead or was killed."""
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018
        try:
            pickle.dump(request, process.stdin)
            process.stdin.flush()  # it stays open: the worker ends when it closes
            while True:
                told: Told = pickle.load(process.stdout)  # noqa: S301  (written by our own child)
                self._swap(request, told)
                if told.is_last:
                    return True
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            return False

    def _swap(self, request: Request, told: Told) -> None:
        with self._lock:
            now = self._jobs[request]
            if now.state.is_final:
                return
            seconds = time.monotonic() - self._started[request]
            if told.problem is not None:
                self._jobs[request] = replace(now, state=JobState.FAILED, problem=told.problem, seconds=seconds)
            elif told.answer is not None:
                done = replace(now, state=JobState.DONE, share=1.0, answer=told.answer, seconds=seconds)
                self._jobs[request] = done
            else:
                self._jobs[request] = replace(now, share=told.share, phase=told.phase, number=told.number)

    def _forget_oldest(self) -> None:
        final = [request for request, job in self._jobs.items() if job.state.is_final]
        for request in final[: max(0, len(self._jobs) - self._kept)]:
            del self._jobs[request]
