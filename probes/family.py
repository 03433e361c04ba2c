"""This process and the programs that it started: who they are, and what memory they take together."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from probes.system import own_resident_bytes

__all__ = ["Tree", "descendants"]

LOOK_FOR_CHILDREN_S = 0.2
SETTLED_S = 0.1  # a child that is about to become a program shares its parent's pages, and counts them again
PROC = Path("/proc")


class Tree:
    """What this process and its descendants take, asked again and again at little cost."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_s = -LOOK_FOR_CHILDREN_S
        self._since: dict[int, float] = {}

    def resident_bytes(self) -> int:
        """Children are looked for every fifth of a second. A page that two of them share counts twice."""
        now = self._clock()
        if now - self._looked_s >= LOOK_FOR_CHILDREN_S:
            self._since = {pid: self._since.get(pid, now) for pid in descendants()}
            self._looked_s = now
        settled = (pid for pid, since in self._since.items() if now - since >= SETTLED_S)
        return own_resident_bytes() + sum(_resident_bytes(pid) for pid in settled)


def descendants() -> list[int]:
    """Process ids of children and theirs. Through the kernel's own lists where it keeps them (Linux): a look at all
    processes of the machine takes milliseconds, and would disturb what is measured.
    """
    if not (PROC / "self" / "task" / str(os.getpid()) / "children").exists():
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process().children(recursive=True)]
        return []
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    """Of all its threads; processes and threads may end while they are looked at."""
    found: list[int] = []
    try:
        threads = list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return found
    for thread in threads:
        with contextlib.suppress(OSError):
            found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def _resident_bytes(pid: int) -> int:
    """0 for one that has ended."""
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
