"""One probe per device among all processes that share a history: the command and the page must not measure each other.

The system lets go of the lock when its holder ends, however it ends.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import IO

from advisor.catalog.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: only this process's own probes are kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["DeviceLock"]

POLL_S = 0.1


class DeviceLock:
    """Held from `take` to `release`. `folder` None: a history in a database has none, so nothing is locked."""

    def __init__(self, folder: Path | None, device: str) -> None:
        self._device, self._file = device, None if folder is None else folder / f"probing-{_plain(device)}.lock"
        self._held: IO[bytes] | None = None

    def take(self, patience_s: float = 0.0) -> None:
        """Raises InputError while another process probes the device, after waiting for it. A folder that cannot be
        written locks nothing.
        """
        if fcntl is None or self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._held = self._file.open("ab")
        if self._held is None:
            return
        until = time.monotonic() + patience_s
        while not _locked(self._held):
            if time.monotonic() >= until:
                self.release()
                raise InputError("device", "a device without a running probe (one at a time)", self._device)
            time.sleep(POLL_S)

    def release(self) -> None:
        """Again and again without harm."""
        if self._held is not None:
            self._held.close()
            self._held = None


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
