"""What a GGUF file says of itself before its weights: architecture, dimensions, tensors with their types.

Layout: ggml-org/ggml `docs/gguf.md`, versions 2 and 3. Reads only the header; nothing else of the file is touched.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from advisor.catalog.errors import DataError, UnsupportedError
from advisor.catalog.records import Architecture, AttentionKind

__all__ = ["GgufHeader", "GgufTensor", "architecture_of", "read_header"]

MAX_ITEMS = 2_000_000
MAX_TEXT_BYTES = 2**26
KV_BYTES = 2  # llama.cpp keeps keys and values in 16 bit unless told otherwise
# Number of a type in the file: (name, elements of a block, bytes of a block).
TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("f32", 1, 4), 1: ("f16", 1, 2), 2: ("q4_0", 32, 18), 3: ("q4_1", 32, 20), 6: ("q5_0", 32, 22),
    7: ("q5_1", 32, 24), 8: ("q8_0", 32, 34), 10: ("q2_k", 256, 84), 11: ("q3_k", 256, 110), 12: ("q4_k", 256, 144),
    13: ("q5_k", 256, 176), 14: ("q6_k", 256, 210), 16: ("iq2_xxs", 256, 66), 17: ("iq2_xs", 256, 74),
    18: ("iq3_xxs", 256, 98), 19: ("iq1_s", 256, 50), 20: ("iq4_nl", 32, 18), 21: ("iq3_s", 256, 110),
    22: ("iq2_s", 256, 82), 23: ("iq4_xs", 256, 136), 24: ("i8", 1, 1), 25: ("i16", 1, 2), 26: ("i32", 1, 4),
    27: ("i64", 1, 8), 28: ("f64", 1, 8), 29: ("iq1_m", 256, 56), 30: ("bf16", 1, 2), 34: ("tq1_0", 256, 54),
    35: ("tq2_0", 256, 66), 39: ("mxfp4", 32, 17),
}  # fmt: skip
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """`shape`: innermost first, as the file has it."""

    name: str
    shape: tuple[int, ...]
    type: str
    bytes: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Fields are those of the file; arrays are kept as their length."""

    fields: Mapping[str, int | float | bool | str]
    tensors: tuple[GgufTensor, ...]

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", ""))

    @property
    def tensor_bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def types(self) -> Counter[str]:
        """Bytes by storage type."""
        found: Counter[str] = Counter()
        for tensor in self.tensors:
            found[tensor.type] += tensor.bytes
        return found

    @property
    def kv_bytes_per_token(self) -> int:
        """As llama.cpp stores it: a latent once, keys and values of other models apart."""
        layers, queries = self.number("block_count"), self.number("attention.head_count")
        heads = self.number("attention.head_count_kv", queries)
        usual = self.number("embedding_length") // max(1, queries)
        key = self.number("attention.key_length", usual)
        value = 0 if self.number("attention.kv_lora_rank", 0) else self.number("attention.value_length", usual)
        return layers * heads * (key + value) * KV_BYTES

    def read_bytes(self, sequences: int) -> int:
        """Weights that one step of so many sequences reads: no embedding, and of the experts those that are hit."""
        names = {tensor.name for tensor in self.tensors}
        experts, used = self.number("expert_count", 0), self.number("expert_used_count", 0)
        hit = 1 - (1 - used / experts) ** sequences if experts else 1.0
        total = 0.0
        for tensor in self.tensors:
            if tensor.name == "token_embd.weight" and "output.weight" in names:
                continue
            total += tensor.bytes * (hit if "_exps." in tensor.name else 1.0)
        return round(total)

    def number(self, key: str, default: int | None = None) -> int:
        """A field of the architecture. Raises DataError where it is missing and has no default."""
        value = self.fields.get(f"{self.architecture}.{key}", default)
        if not isinstance(value, int | float):
            raise DataError("GGUF", self.architecture, key, "a number", value)
        return int(value)


def read_header(path: Path) -> GgufHeader:
    """Raises DataError for a file that is missing, damaged, or no GGUF."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _Reader(file, path.name, size).header()
    except OSError as problem:
        raise DataError(str(path), "", "", "a GGUF file", problem.strerror) from problem
    except (struct.error, UnicodeDecodeError, OverflowError, MemoryError) as problem:
        raise DataError(path.name, "", "header", "a whole GGUF header", str(problem)) from problem


def architecture_of(header: GgufHeader) -> Architecture:
    """Dimensions for sizing. Raises UnsupportedError for a family that this program does not know by its header."""
    n, names = header.number, {tensor.name for tensor in header.tensors}
    if header.architecture not in ("llama", "qwen2", "qwen3", "qwen3moe", "deepseek", "deepseek2"):
        raise UnsupportedError(f"GGUF architecture '{header.architecture}' is not known to this program")
    latent, heads = n("attention.kv_lora_rank", 0), n("attention.head_count")
    usual = n("embedding_length") // heads
    head_dim = n("attention.key_length", usual)
    experts = n("expert_count", 0)
    return Architecture(
        attention=AttentionKind.MLA if latent else AttentionKind.GQA,
        hidden_size=n("embedding_length"),
        num_layers=n("block_count"),
        n_heads=heads,
        n_kv_heads=heads if latent else n("attention.head_count_kv", heads),
        head_dim=head_dim,
        vocab_size=_vocabulary(header),
        intermediate_size=n("feed_forward_length", 0) or None,
        moe_intermediate_size=n("expert_feed_forward_length", 0) or None,
        n_routed_experts=experts,
        n_shared_experts=n("expert_shared_count", 0),
        experts_per_tok=n("expert_used_count", 0),
        first_k_dense_replace=n("leading_dense_block_count", 0),
        q_lora_rank=n("attention.q_lora_rank", 0) or None,
        kv_lora_rank=latent or None,
        qk_rope_head_dim=n("rope.dimension_count", 0) if latent else None,
        qk_nope_head_dim=n("attention.key_length_mla", head_dim) - n("rope.dimension_count", 0) if latent else None,
        v_head_dim=n("attention.value_length_mla", n("attention.value_length", usual)) if latent else None,
        tie_word_embeddings="output.weight" not in names,
        qkv_bias="blk.0.attn_q.bias" in names,
        qk_norm="blk.0.attn_q_norm.weight" in names,
        router_bias=any("exp_probs_b" in name for name in names),
    )


def _vocabulary(header: GgufHeader) -> int:
    rows = next((tensor.shape for tensor in header.tensors if tensor.name == "token_embd.weight"), (0, 0))
    return rows[-1]


class _Reader:
    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self._file, self._name, self._size = file, name, size

    def header(self) -> GgufHeader:
        if self._file.read(4) != b"GGUF":
            raise DataError(self._name, "", "", "a GGUF file", "another kind of file")
        version = self._scalar("I")
        if version not in (2, 3):
            raise DataError(self._name, "", "version", "2 or 3", version)
        n_tensors, n_fields = self._count(), self._count()
        fields = {}
        for _ in range(n_fields):
            key = self._text()
            fields[key] = self._value(int(self._scalar("I")))
        tensors = tuple(self._tensor() for _ in range(n_tensors))
        header = GgufHeader(fields, tensors)
        if header.tensor_bytes > self._size:
            raise DataError(self._name, "", "", f"{header.tensor_bytes} bytes of weights", f"a file of {self._size}")
        return header

    def _tensor(self) -> GgufTensor:
        name = self._text()
        shape = tuple(int(self._scalar("Q")) for _ in range(min(int(self._scalar("I")), 8)))
        number = int(self._scalar("I"))
        self._scalar("Q")
        if number not in TYPES:
            raise UnsupportedError(f"{self._name}: tensor '{name}' has type {number}, which this program does not know")
        kind, elements, size = TYPES[number]
        total = 1
        for extent in shape:
            total *= extent
        return GgufTensor(name, shape, kind, total // elements * size)

    def _value(self, kind: int) -> int | float | bool | str:
        if kind == _TEXT:
            return self._text()
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind != _ARRAY:
            raise DataError(self._name, "", "header", "a known type of field", kind)
        inner, count = int(self._scalar("I")), self._count()
        if inner in _SCALARS:
            self._skip(count * struct.calcsize(_SCALARS[inner]))
        else:
            for _ in range(count):
                self._value(inner)
        return count

    def _text(self) -> str:
        return self._bytes(self._count(MAX_TEXT_BYTES)).decode("utf-8", errors="replace")

    def _count(self, most: int = MAX_ITEMS) -> int:
        count = int(self._scalar("Q"))
        if count > most:
            raise DataError(self._name, "", "header", f"at most {most} items", count)
        return count

    def _scalar(self, code: str) -> int | float | bool:
        found: int | float | bool = struct.unpack(f"<{code}", self._bytes(struct.calcsize(code)))[0]
        return found

    def _bytes(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise DataError(self._name, "", "header", "a whole GGUF header", "a file that ends in it")
        return data

    def _skip(self, count: int) -> None:
        if self._file.tell() + count > self._size:
            raise DataError(self._name, "", "header", "a whole GGUF header", "a file that ends in it")
        self._file.seek(count, 1)
