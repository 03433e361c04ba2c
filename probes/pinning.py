"""Keeps a probe on one hardware thread of each core, so that the system does not move its threads onto each other."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["one_thread_per_core", "pin_to_cores"]

TOPOLOGY = Path("/sys/devices/system/cpu")


def pin_to_cores() -> int | None:
    """Binds this process, before it starts threads; number of hardware threads left. None where that is not possible.

    The process is bound as a whole: bound one by one, the threads of a second library would inherit the place of the
    one that started them.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    chosen = one_thread_per_core(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, chosen)
    except OSError:
        return None
    return len(chosen)


def one_thread_per_core(allowed: set[int], topology: Path = TOPOLOGY) -> set[int]:
    """The first allowed one of each core; all of them where the system does not tell which belong together."""
    firsts: dict[str, int] = {}
    for number in sorted(allowed):
        try:
            siblings = (topology / f"cpu{number}/topology/thread_siblings_list").read_text().strip()
        except OSError:
            return allowed
        firsts.setdefault(siblings, number)
    return set(firsts.values())
