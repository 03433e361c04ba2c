"""A GGUF file named on the command line: which variant and format of the catalogue it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from advisor.catalog import Catalog
from advisor.catalog.formats import Format
from advisor.catalog.records import Architecture
from advisor.sizing.weights import weights
from probes.gguf.header import GgufHeader, architecture_of, read_header

__all__ = ["Identified", "identify", "same_shape"]

SAME_SIZE = 0.01
_SHAPE = (
    "attention", "hidden_size", "num_layers", "n_heads", "vocab_size", "intermediate_size", "moe_intermediate_size",
    "n_routed_experts", "experts_per_tok", "kv_lora_rank", "tie_word_embeddings",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identified:
    """`variant_id`: of the catalogue, else the name in the file; its seconds are then unknown."""

    variant_id: str
    format_id: str
    architecture: Architecture


def identify(path: Path, catalog: Catalog, named: str = "") -> Identified:
    """By the dimensions and the bytes of the header; `named` is preferred among variants of equal dimensions.

    Raises DataError for a file that is no GGUF, UnsupportedError for a family that is not known.
    """
    header = read_header(path)
    a = architecture_of(header)
    alike = [v for v in catalog.variants.values() if same_shape(v.architecture, a)]
    variant = next((v for v in alike if v.id == named), alike[0] if alike else None)
    architecture = a if variant is None else variant.architecture
    name = str(header.fields.get("general.name") or path.stem) if variant is None else variant.id
    return Identified(name, _format(header, architecture, catalog), architecture)


def same_shape(known: Architecture, found: Architecture) -> bool:
    """Whether two models have the same tensors, as far as their size goes."""
    return all(getattr(known, name) == getattr(found, name) for name in _SHAPE)


def _format(header: GgufHeader, a: Architecture, catalog: Catalog) -> str:
    """The mix whose bytes are nearest; where none is near, that of the type that holds most bytes."""
    mixes = [f for f in catalog.formats.values() if f.gguf is not None]
    sizes = {f.id: abs(weights(a, f).total_bytes / header.tensor_bytes - 1) for f in mixes}
    nearest = min(mixes, key=lambda f: (sizes[f.id], not f.offered))
    if sizes[nearest.id] <= SAME_SIZE and _holds(nearest, header):
        return nearest.id
    most = header.types.most_common(1)[0][0]
    return next((f.id for f in mixes if f.gguf is not None and f.gguf.base.id == most), nearest.id)


def _holds(f: Format, header: GgufHeader) -> bool:
    return f.gguf is not None and f.gguf.base.id in header.types

