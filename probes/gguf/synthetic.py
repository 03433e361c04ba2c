"""A GGUF file with the true shapes and types of a variant and random weights, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from advisor.catalog.errors import DataError, UnsupportedError
from advisor.catalog.formats import Format
from advisor.catalog.records import Architecture
from advisor.catalog.units import format_bytes
from advisor.sizing.weights import weights
from probes.gguf.blocks import BlockPool, can_fill
from probes.gguf.header import GgufHeader, GgufTensor
from probes.gguf.naming import FileTensor, architecture_name, file_tensors, header_fields
from probes.gguf.vocabulary import make_vocabulary

__all__ = [
    "as_header",
    "cached_files",
    "can_store",
    "check_writable",
    "clear_cache",
    "gguf_folder",
    "synthetic_gguf",
    "synthetic_path",
    "write_gguf",
]

LAYOUT_VERSION = 1  # of the files written here; another number makes other files
LEFT_FREE_BYTES = 2**31  # what the disk keeps
CONTEXT_TOKENS = 131_072
HEADER_BYTES = 2**23  # metadata: mostly the vocabulary
Progress = Callable[[int, int], None]


def gguf_folder() -> Path:
    """`FATHOM_CACHE`, else fathom/gguf in the user's cache folder."""
    if given := os.environ.get("FATHOM_CACHE"):
        return Path(given).expanduser() / "gguf"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "fathom" / "gguf"


def synthetic_path(variant_id: str, a: Architecture, f: Format) -> Path:
    """Where the file of this content is kept; the name ends in a key of everything that shapes it."""
    key = hashlib.sha256(repr((LAYOUT_VERSION, a, f.id, f.gguf)).encode()).hexdigest()[:12]
    return gguf_folder() / f"{variant_id or 'model'}-{f.id}-{key}.gguf"


def can_store(f: Format) -> bool:
    """Whether every type of this mix is known tensor by tensor and exists in llama.cpp."""
    if f.gguf is None or f.whole_model_bpw is not None:
        return False
    mix = f.gguf
    named = [kind for kind in (mix.base, mix.token_embd, mix.output, mix.experts) if kind is not None]
    return all(can_fill(kind) for kind in (*named, *(kind for rule in mix.rules.values() for kind, _ in rule)))


def check_writable(path: Path, a: Architecture, f: Format) -> None:
    """Whether this file can be made, or is there. Raises UnsupportedError for what GGUF or this program cannot store,
    and DataError when the disk has no room.
    """
    if f.gguf is None:
        raise UnsupportedError(f"llama.cpp runs GGUF formats, not '{f.id}'")
    if f.whole_model_bpw is not None:
        raise UnsupportedError(f"format '{f.id}' is known by its size only, not tensor by tensor")
    if not can_store(f):
        raise UnsupportedError(f"llama.cpp does not have all storage types of '{f.id}'")
    architecture_name(a)
    if path.is_file():
        return
    if find_spec("gguf") is None:
        raise UnsupportedError("a synthetic GGUF needs the package gguf (pip install gguf); or give a file")
    needed = weights(a, f).total_bytes + HEADER_BYTES + LEFT_FREE_BYTES
    free = shutil.disk_usage(_existing(path.parent)).free
    if free < needed:
        raise DataError(str(path.parent), "", "free space", format_bytes(needed), format_bytes(free))


def synthetic_gguf(variant_id: str, a: Architecture, f: Format, progress: Progress | None = None) -> Path:
    """The file, written now if no earlier probe left it. Raises as `check_writable` and `write_gguf`."""
    path = synthetic_path(variant_id, a, f)
    check_writable(path, a, f)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_gguf(path, a, f, progress)
    return path


def write_gguf(path: Path, a: Architecture, f: Format, progress: Progress | None = None) -> None:
    """Whole or not at all. Raises ImportError without the `gguf` package, DataError when writing fails."""
    tensors = _tensors(a, f)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        _write(partial, a, f, tensors, progress or (lambda _done, _total: None))
        partial.replace(path)
    except OSError as problem:
        raise DataError(str(path), "", "", "a folder that can be written", problem.strerror) from problem
    finally:
        partial.unlink(missing_ok=True)


def as_header(a: Architecture, f: Format) -> GgufHeader:
    """The header that `write_gguf` would write."""
    name = architecture_name(a)
    fields = {f"{name}.{key}": value for key, value in header_fields(a, name, CONTEXT_TOKENS).items()}
    tensors = tuple(GgufTensor(t.name, t.shape[::-1], t.kind.id, t.bytes) for t in _tensors(a, f))
    return GgufHeader({"general.architecture": name, **fields}, tensors)


def cached_files() -> list[Path]:
    return sorted(gguf_folder().glob("*.gguf"))


def clear_cache() -> int:
    """Remove all files made here; returns their bytes."""
    freed = 0
    for path in [*cached_files(), *gguf_folder().glob("*.partial")]:
        freed += path.stat().st_size
        path.unlink()
    return freed


def _write(path: Path, a: Architecture, f: Format, tensors: list[FileTensor], progress: Progress) -> None:
    import gguf

    name = architecture_name(a)
    writer = gguf.GGUFWriter(path, name)
    _describe(writer, gguf, a, name, f)
    for tensor in tensors:
        kind = gguf.GGMLQuantizationType[tensor.kind.id.upper()]
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    try:
        _fill(writer, tensors, progress)
    finally:
        writer.close()


def _describe(writer: object, gguf: object, a: Architecture, name: str, f: Format) -> None:
    """Header: dimensions, and a vocabulary that lets servers accept text."""
    w, g = writer, gguf
    w.add_name(f"synthetic {f.id}")  # type: ignore[attr-defined]
    w.add_quantization_version(g.GGML_QUANT_VERSION)  # type: ignore[attr-defined]
    for key, value in header_fields(a, name, CONTEXT_TOKENS).items():
        add = w.add_bool if isinstance(value, bool) else w.add_float32 if isinstance(value, float) else w.add_uint32  # type: ignore[attr-defined]
        add(f"{name}.{key}", value)
    vocabulary = make_vocabulary(a.vocab_size)
    w.add_tokenizer_model("gpt2")  # type: ignore[attr-defined]
    w.add_tokenizer_pre("default")  # type: ignore[attr-defined]
    w.add_token_list(vocabulary.tokens)  # type: ignore[attr-defined]
    w.add_token_types(vocabulary.types)  # type: ignore[attr-defined]
    w.add_token_merges(vocabulary.merges)  # type: ignore[attr-defined]
    w.add_eos_token_id(vocabulary.end)  # type: ignore[attr-defined]
    w.add_add_bos_token(False)  # type: ignore[attr-defined]


def _fill(writer: object, tensors: list[FileTensor], progress: Progress) -> None:
    """Tensor by tensor, so that never more than one is in memory."""
    pools: dict[str, BlockPool] = {}
    total, done = sum(tensor.bytes for tensor in tensors), 0
    for tensor in tensors:
        if tensor.is_norm:
            data = np.ones(tensor.elements, np.float32).view(np.uint8)
        else:
            if tensor.kind.id not in pools:
                pools[tensor.kind.id] = BlockPool(tensor.kind, seed=len(pools))
            data = np.concatenate(list(pools[tensor.kind.id].pieces(tensor.elements)))
        writer.write_tensor_data(data)  # type: ignore[attr-defined]
        done += data.nbytes
        progress(done, total)


def _tensors(a: Architecture, f: Format) -> list[FileTensor]:
    """With an importance matrix where `weights` assumes one."""
    assert f.gguf is not None
    return list(file_tensors(a, f.gguf, imatrix=f.gguf.base.id.startswith(("iq1", "iq2", "iq3"))))


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())
