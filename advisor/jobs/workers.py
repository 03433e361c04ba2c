"""Processes that calculate. One that waits has loaded and compiled what a simulation needs: a click costs no start."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field

__all__ = ["Process", "Workers", "end"]

WORKER = (sys.executable, "-m", "advisor.jobs.worker")
# One thread each: two searches share two cores, and the kernels are serial anyway.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Process = subprocess.Popen[bytes]


@dataclass(slots=True)
class Workers:
    """At most one waits; the others end with their work. Threads may share it."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: Process | None = None
    _environment: dict[str, str] = field(default_factory=dict)  # of the one that waits
    _closed: bool = False

    def prepare(self) -> None:
        """Let one load while the user still fills in the form."""
        with self._lock:
            if self._waiting is None and not self._closed:
                self._waiting, self._environment = _started(), dict(os.environ)

    def take(self) -> Process:
        """The one that waits, if it lives and was started in the present environment; else a new one."""
        with self._lock:
            found, self._waiting = self._waiting, None
        if found is not None and found.poll() is None and self._environment == dict(os.environ):
            return found
        if found is not None:
            end(found)
        return _started()

    def give_back(self, process: Process) -> None:
        """After its answer: it waits for the next request, unless another one does."""
        with self._lock:
            if self._waiting is None and not self._closed and process.poll() is None:
                self._waiting, self._environment = process, dict(os.environ)
                return
        end(process)

    def close(self) -> None:
        with self._lock:
            found, self._waiting, self._closed = self._waiting, None, True
        if found is not None:
            end(found)


def end(process: Process) -> None:
    """Kill it and close its pipes."""
    process.kill()
    process.communicate()


def _started() -> Process:
    return subprocess.Popen(
        WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **_ONE_THREAD}
    )
