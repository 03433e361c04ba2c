"""llama.cpp's C interface, through whichever `libllama` a Python package or the system has installed.

Only names and structures that have been stable since 2024 are used. The two parameter structures grow from release to
release, so they are treated as opaque room larger than any of them, filled by the library's own defaults; what is set
(the first four fields of the context's) is read back and compared.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Iterator
from ctypes.util import find_library
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from probes.engines.base import EngineUnavailableError

__all__ = ["Batch", "Library", "context_parameters", "find_libllama", "open_library"]

ROOM = 1024  # bytes for a parameter structure; the largest so far has about 170
# Python packages that carry llama.cpp: (module, distribution, files that may hold it).
_CARRIERS = (
    ("llama_cpp", "llama-cpp-python", ("lib/libllama.so", "lib/libllama.dylib", "lib/llama.dll")),
    ("xllamacpp", "xllamacpp", ("xllamacpp.abi3.so", "xllamacpp.pyd")),
    ("llama_cpp_py_sync", "llama-cpp-py-sync", ("libllama.so", "libllama.dylib", "llama.dll")),
)


_GPU_LISTS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")
_ERROR = 4  # GGML_LOG_LEVEL_ERROR
_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Batch(ctypes.Structure):
    """`struct llama_batch`."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.POINTER(ctypes.c_float)),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


class _Parameters(ctypes.Structure):
    _fields_ = (("head", ctypes.c_uint32 * 4), ("rest", ctypes.c_uint8 * (ROOM - 16)))


@dataclass(frozen=True, slots=True)
class Library:
    """An opened library. `name`: what carries it, with its version. `errors`: what it logged as such, newest last."""

    path: Path | str
    name: str
    c: ctypes.CDLL
    errors: deque[str]
    keep: object = None  # the log's callback must live as long as the library

    def last_error(self) -> str:
        """The line that says why; "" if it said nothing."""
        return (self.errors[0] if self.errors else "").split(": ", 1)[-1][:200]

    def features(self) -> str:
        """Instruction sets that it was built for, such as "AVX2 FMA"."""
        text = self.c.llama_print_system_info().decode("utf-8", errors="replace")
        return " ".join(part.split(" = ")[0].split(":")[-1].strip() for part in text.split("|") if " = 1" in part)


def find_libllama() -> tuple[Path | str, str] | None:
    """(file, what carries it) of the first that is installed; nothing is loaded."""
    if given := os.environ.get("LLAMA_CPP_LIB"):
        return Path(given), "LLAMA_CPP_LIB"
    for path, name in _carried():
        return path, name
    found = find_library("llama")
    return (found, "system libllama") if found else None


def open_library(*, on_cpu: bool = True) -> Library:
    """Raises EngineUnavailableError where there is none, or it cannot be loaded here.

    `on_cpu`: hide GPUs from a library that could use them.
    """
    found = find_libllama()
    if found is None:
        raise EngineUnavailableError("no libllama: pip install xllamacpp, or llama-cpp-python (builds from source)")
    path, name = found
    if on_cpu:
        os.environ.update(dict.fromkeys(_GPU_LISTS, ""))
    try:
        library = ctypes.CDLL(str(path))
        _declare(library)
    except (OSError, AttributeError) as problem:
        raise EngineUnavailableError(f"{name} cannot be used here: {str(problem)[:200]}") from problem
    errors: deque[str] = deque(maxlen=20)
    log = _LOG(lambda level, text, _: errors.append(_text(text)) if level == _ERROR else None)
    library.llama_log_set(log, None)
    library.llama_backend_init()
    return Library(path, name, library, errors, log)


def context_parameters(library: Library, *, tokens: int, batch: int, sequences: int) -> _Parameters:
    """Defaults with room for `tokens` in all, at most `batch` in one call, in `sequences` caches."""
    parameters: _Parameters = library.c.llama_context_default_params()
    parameters.head[:] = (tokens, batch, min(batch, 512), sequences)
    return parameters


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace").strip()


def _carried() -> Iterator[tuple[Path, str]]:
    for module, distribution, files in _CARRIERS:
        found = find_spec(module)
        for folder in (found.submodule_search_locations or ()) if found else ():
            for file in files:
                if (Path(folder) / file).is_file():
                    yield Path(folder) / file, f"{distribution} {_version(distribution)}"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _declare(c: ctypes.CDLL) -> None:
    """Types of the functions in use. Raises AttributeError for a library that lacks one."""
    pointer, i32, u32 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32
    signatures = {
        "llama_backend_init": (None, ()),
        "llama_log_set": (None, (_LOG, pointer)),
        "llama_print_system_info": (ctypes.c_char_p, ()),
        "llama_model_default_params": (_Parameters, ()),
        "llama_context_default_params": (_Parameters, ()),
        "llama_model_load_from_file": (pointer, (ctypes.c_char_p, _Parameters)),
        "llama_init_from_model": (pointer, (pointer, _Parameters)),
        "llama_model_free": (None, (pointer,)),
        "llama_free": (None, (pointer,)),
        "llama_model_size": (ctypes.c_uint64, (pointer,)),
        "llama_model_get_vocab": (pointer, (pointer,)),
        "llama_vocab_n_tokens": (i32, (pointer,)),
        "llama_n_ctx": (u32, (pointer,)),
        "llama_n_batch": (u32, (pointer,)),
        "llama_n_seq_max": (u32, (pointer,)),
        "llama_set_n_threads": (None, (pointer, i32, i32)),
        "llama_get_memory": (pointer, (pointer,)),
        "llama_memory_seq_rm": (ctypes.c_bool, (pointer, i32, i32, i32)),
        "llama_batch_init": (Batch, (i32, i32, i32)),
        "llama_batch_free": (None, (Batch,)),
        "llama_decode": (i32, (pointer, Batch)),
        "llama_synchronize": (None, (pointer,)),
        "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), (pointer, i32)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(c, name)
        function.restype, function.argtypes = result, list(arguments)
