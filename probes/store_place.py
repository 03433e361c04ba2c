"""Where measurements are kept; apart, because asking costs nothing and the database library does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["default_path", "state_folder"]


def default_path() -> Path | str:
    """`FATHOM_STORE` (a file, or a database URL), else fathom/probes.sqlite in the user's state folder."""
    if given := os.environ.get("FATHOM_STORE"):
        return given if "://" in given else Path(given).expanduser()
    return state_folder() / "probes.sqlite"


def state_folder() -> Path:
    """Where Fathom keeps what belongs to this user on this machine."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "fathom"
