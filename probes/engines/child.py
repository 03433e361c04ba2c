"""A program that a probe starts: it ends with the probe, whatever happens, and its memory is watched."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

__all__ = ["Memory", "start_child"]

SAMPLE_S = 0.05
PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Memory:
    """High-water mark of the program's own memory; a mapped file counts as far as it is resident."""

    peak_bytes: int = 0
    watcher: threading.Thread | None = field(default=None, repr=False)

    def settle(self) -> None:
        """Wait until the watcher has seen the end."""
        if self.watcher is not None:
            self.watcher.join(timeout=1.0)


def start_child(words: Sequence[str]) -> tuple[subprocess.Popen[str], Memory]:
    """Start it with both outputs piped. On Linux the kernel ends it when the probe process dies."""
    child = subprocess.Popen(
        list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", preexec_fn=_bound_to_parent(),
    )  # fmt: skip
    memory = Memory()
    memory.watcher = threading.Thread(target=_watch, args=(child.pid, memory), daemon=True)
    memory.watcher.start()
    return child, memory


def _bound_to_parent() -> Callable[[], None] | None:
    """What the new process runs before the program; the library is opened here, not between fork and exec."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _watch(pid: int, memory: Memory) -> None:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            memory.peak_bytes = max(memory.peak_bytes, process.memory_info().rss)
            time.sleep(SAMPLE_S)
