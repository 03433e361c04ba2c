"""Bytes that llama.cpp will take for a GGUF file: from its header where it exists, else from the variant's tensors."""

from __future__ import annotations

from pathlib import Path

from advisor.catalog.errors import InputError
from advisor.catalog.formats import load_formats
from probes.gguf.header import GgufHeader, read_header
from probes.gguf.synthetic import as_header, check_writable, synthetic_path
from probes.need import Need
from probes.spec import ProbeSpec, SweepAxis

__all__ = ["gguf_header", "gguf_need"]

CELLS = 256
UBATCH_TOKENS = 512
RUNTIME_BYTES = 450 * 2**20  # torch, which reads the memory's speed, and the library; measured
# Types that llama.cpp copies into another order when the processor has AVX2 or better (ggml/src/ggml-cpu/repack.cpp),
# so that the file in memory and the copy both count.
REPACKED = frozenset({"q4_0", "q4_k", "iq4_nl", "q2_k"})


def gguf_need(spec: ProbeSpec) -> Need:
    """Raises DataError for a file that is none or has no room, UnsupportedError for what GGUF cannot hold."""
    header = gguf_header(spec)
    slots = spec.batch if spec.load is None else max(spec.batch, spec.load.slots)
    slots = max(slots, *spec.sweep_values) if spec.sweep_axis is SweepAxis.BATCH else slots
    per_token = header.kv_bytes_per_token
    cache = slots * (-(-spec.context_tokens // CELLS) * CELLS) * per_token
    copies = sum(t.bytes for t in header.tensors if t.type in REPACKED and not t.name.startswith("token_embd"))
    words = next((t.shape[-1] for t in header.tensors if t.name == "token_embd.weight"), 0)
    buffers = 4 * UBATCH_TOKENS * (words + 8 * header.number("embedding_length"))
    read = header.read_bytes(1) + max(spec.prompt_tokens) * per_token
    return Need(header.tensor_bytes, cache, buffers + copies, RUNTIME_BYTES, read_bytes=read)


def gguf_header(spec: ProbeSpec) -> GgufHeader:
    """Of the file that is given, or of the synthetic one that will be written."""
    if spec.checkpoint:
        return read_header(Path(spec.checkpoint))
    if spec.architecture is None:
        raise InputError("architecture", "dimensions of the variant, or a GGUF file", None)
    formats = load_formats()
    if spec.format_id not in formats:
        raise InputError("format", "a GGUF format of the catalogue", spec.format_id)
    a, f = spec.architecture, formats[spec.format_id]
    path = synthetic_path(spec.variant_id, a, f)
    check_writable(path, a, f)
    return as_header(a, f)
