"""`jit`: numba's compiler where numba is installed, otherwise nothing, so that the same kernels run as plain Python."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["COMPILED", "inlined", "jit"]

F = TypeVar("F", bound=Callable[..., Any])

COMPILED = find_spec("numba") is not None and os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def _cache_dir() -> Path | None:
    """A folder of compiled kernels, by their source: numba itself does not see a change in another file."""
    here = Path(__file__).parent
    sources = b"".join(path.read_bytes() for path in sorted(here.glob("kernel*.py")))
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "fathom" / f"kernels-{hashlib.sha256(sources).hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _compiler(**extra: Any) -> Callable[[F], F]:
    if not COMPILED:
        return lambda function: function
    numba: Any = import_module("numba")

    folder = _cache_dir()
    if folder is not None:
        numba.config.CACHE_DIR = str(folder)
    options = {"cache": folder is not None, "nogil": True, "error_model": "numpy"} | extra
    # The kernels allocate nothing: without reference counts on the state's arrays they run four times as fast.
    try:
        compiled: Callable[[F], F] = numba.njit(**options, _nrt=False)
    except KeyError:  # the option is not a public one
        compiled = numba.njit(**options)
    return compiled


jit = _compiler()
inlined = _compiler(inline="always")
