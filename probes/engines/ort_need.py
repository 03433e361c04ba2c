"""Bytes that the ONNX Runtime probe will take, from the variant's tensors."""

from __future__ import annotations

from advisor.catalog.errors import InputError
from advisor.catalog.formats import TensorRole as R
from advisor.sizing.tensors import main_tensors
from probes.engines.ort_graph import check_runnable
from probes.need import Need
from probes.spec import ProbeSpec, SweepAxis

__all__ = ["ort_need"]

RUNTIME_BYTES = 450 * 2**20  # torch, which reads the memory's speed, and the library
KV_BYTES = 4
EMBEDDING_BYTES = 2
_VECTORS = frozenset({R.NORM, R.ATTN_BIAS})


def ort_need(spec: ProbeSpec) -> Need:
    """Raises UnsupportedError for an architecture or format that the graph has no operators for.

    ONNX Runtime packs every matrix into an order of its own while the given one stays: both are counted.
    """
    a = spec.architecture
    if a is None:
        raise InputError("architecture", "dimensions of the variant", None)
    blocks = check_runnable(a, spec.format_id)
    matrices = embedding = vectors = 0
    for tensor in main_tensors(a):
        if tensor.role is R.EMBEDDING:
            embedding += tensor.params * EMBEDDING_BYTES
            matrices += _matrix(tensor.params, blocks.bits, blocks.block) if a.tie_word_embeddings else 0
        elif tensor.role in _VECTORS:
            vectors += tensor.params * 4
        else:
            matrices += _matrix(tensor.params, blocks.bits, blocks.block)
    slots = max(spec.batch, *spec.sweep_values) if spec.sweep_axis is SweepAxis.BATCH else spec.batch
    per_token = 2 * a.n_kv_heads * a.head_dim * a.num_layers * KV_BYTES
    longest = max(spec.prompt_tokens)
    working = longest * 4 * (4 * (a.intermediate_size or 0) + 6 * a.hidden_size) + a.n_heads * longest * longest * 4
    tensors = matrices + embedding + vectors
    read = matrices + vectors + longest * per_token
    return Need(tensors, slots * spec.context_tokens * per_token, working + matrices, RUNTIME_BYTES, read)


def _matrix(params: int, bits: int, block: int) -> int:
    return params * 4 if bits == 32 else params * bits // 8 + params // block * 4
