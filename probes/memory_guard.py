"""Ends a probe before the machine suffers: a limit of the system where one can be set, and always a watch on the
memory of the probe and of the programs that it started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from advisor.catalog.units import format_bytes
from probes.failure import Failure
from probes.family import Tree, descendants

try:
    import resource
except ImportError:  # Windows has no such limits; the watch remains
    resource = None

__all__ = [
    "FLOOR_BYTES",
    "OUT_OF_MEMORY_EXIT",
    "join_group",
    "limit_address_space",
    "remove_group",
    "remove_stale_groups",
    "watch_memory",
]

OUT_OF_MEMORY_EXIT = 137
PERIOD_S = 0.02
FLOOR_BYTES = 512 * 2**20  # the rest of the machine always keeps this much
ADDRESS_SLACK_BYTES = 2 * 2**30  # thread stacks, arenas, compiled kernels: addresses, not memory
GROUPS = Path("/sys/fs/cgroup")


def watch_memory(limit_bytes: int, on_breach: Callable[[Failure], None]) -> None:
    """From a thread of its own, look every 20 ms at this process and the programs that it started; past the limit, or
    with the machine nearly full, report, end them and exit at once.
    """

    def watch() -> None:
        tree = Tree()
        while (told := _breach(tree, limit_bytes)) is None:
            time.sleep(PERIOD_S)
        on_breach(told)
        for pid in descendants():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        os._exit(OUT_OF_MEMORY_EXIT)

    threading.Thread(target=watch, daemon=True, name="memory-guard").start()


def _breach(tree: Tree, limit_bytes: int) -> Failure | None:
    taken = tree.resident_bytes()
    if taken > limit_bytes:
        sizes = {"taken": taken, "limit": limit_bytes}
        return Failure("over_limit", {name: format_bytes(size, binary=True) for name, size in sizes.items()})
    if psutil.virtual_memory().available < FLOOR_BYTES:
        return Failure("machine_full", {"floor": format_bytes(FLOOR_BYTES, binary=True)})
    return None


def limit_address_space(limit_bytes: int) -> None:
    """Let an allocation beyond the limit fail cleanly. For CPU engines only: GPU drivers reserve addresses freely."""
    if resource is None:
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    ceiling = pages * os.sysconf("SC_PAGE_SIZE") + limit_bytes + ADDRESS_SLACK_BYTES
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, resource.getrlimit(resource.RLIMIT_AS)[1]))


def join_group(limit_bytes: int) -> Path | None:
    """Move this process into a control group of its own with the limit; None where groups cannot be made."""
    for root, name in ((GROUPS / "memory", "memory.limit_in_bytes"), (GROUPS, "memory.max")):
        group = root / f"fathom-probe-{os.getpid()}"
        if not (root / "cgroup.procs").exists() or not os.access(root, os.W_OK):
            continue
        try:
            group.mkdir()
            (group / name).write_text(str(limit_bytes))
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        return group
    return None


def remove_stale_groups() -> None:
    """Groups of probes whose server was killed before it could tidy up."""
    for root in (GROUPS / "memory", GROUPS):
        for group in root.glob("fathom-probe-*"):
            pid = group.name.rpartition("-")[2]
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                remove_group(int(pid))


def remove_group(pid: int) -> bool:
    """After the end of process `pid`, remove its group; True when the kernel had killed it for memory."""
    killed = False
    for root, name in ((GROUPS / "memory", "memory.oom_control"), (GROUPS, "memory.events")):
        group = root / f"fathom-probe-{pid}"
        if not group.exists():
            continue
        with contextlib.suppress(OSError):
            lines = (line.split() for line in (group / name).read_text().splitlines())
            killed |= any(len(w) == 2 and w[0] == "oom_kill" and int(w[1]) > 0 for w in lines)
        with contextlib.suppress(OSError):
            group.rmdir()
    return killed
