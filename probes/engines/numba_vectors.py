"""Vectors of 256 bits in numba, for what LLVM does not find by itself in a loop; for probe processes only."""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils

__all__ = [
    "BYTE", "FLOAT", "FLOATS", "HAS_AVX2", "LANES", "LONG", "SHORT", "SHORTS", "WORD", "WORDS", "add_up", "at",
    "everywhere", "float_at", "least", "look_ahead", "multiply_pairs", "row_starts", "vector_at",
]  # fmt: skip

LANES = 32  # bytes
BYTE, SHORT, WORD, LONG, FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
WORDS, FLOATS = ir.VectorType(WORD, LANES // 4), ir.VectorType(FLOAT, LANES // 4)
SHORTS = ir.VectorType(SHORT, LANES // 2)
HAS_AVX2 = all(binding.get_host_cpu_features().get(name, False) for name in ("avx2", "fma"))  # all with one have both


def look_ahead(builder: Any, where: Any, distance: Any, keep: int) -> None:
    """Ask for the cache line `distance` (int64) bytes on. `keep`: 0, it is read once, to 3, in all caches."""
    kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), WORD, WORD, WORD])
    call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    ahead = builder.gep(where, [distance], source_etype=BYTE)
    builder.call(call, [ahead, *(ir.Constant(WORD, n) for n in (0, keep, 1))])  # to read, data


def at(builder: Any, start: Any, index: Any, size: int) -> Any:
    """`start` (a pointer to bytes) + `index` x `size`."""
    return builder.gep(start, [builder.mul(index, ir.Constant(index.type, size))], source_etype=BYTE)


def row_starts(
    builder: Any, data: Any, outputs: Any, row_bytes: Any, first: Any, apart: Any, rows: int
) -> list[Any]:
    """Where rows `first`, `first` + `apart`, ... of a matrix begin; beyond the last of `outputs`, that one again."""
    start, last = builder.bitcast(data, BYTE.as_pointer()), builder.sub(outputs, ir.Constant(LONG, 1))
    places = [builder.add(first, builder.mul(apart, ir.Constant(LONG, r))) for r in range(rows)]
    return [
        builder.gep(start, [builder.mul(least(builder, place, last), row_bytes)], source_etype=BYTE)
        for place in places
    ]


def least(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def vector_at(builder: Any, start: Any, offset: int, kind: Any) -> Any:
    """A vector of type `kind`, `offset` bytes after `start`, wherever that lies."""
    where = builder.gep(start, [ir.Constant(LONG, offset)], source_etype=BYTE)
    return builder.load(builder.bitcast(where, kind.as_pointer()), align=1)


def float_at(builder: Any, where: Any) -> Any:
    return builder.load(builder.bitcast(where, FLOAT.as_pointer()), align=4)


def multiply_pairs(builder: Any, a: Any, b: Any) -> Any:
    """int32: a[2k] * b[2k] + a[2k + 1] * b[2k + 1] of 16-bit integers (vpmaddwd; needs AVX2)."""
    kind = ir.FunctionType(WORDS, [SHORTS, SHORTS])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd"), [a, b])


def everywhere(builder: Any, value: Any) -> Any:
    """A vector of one float."""
    empty, first = ir.Constant(FLOATS, ir.Undefined), ir.Constant(WORD, 0)
    return builder.shuffle_vector(
        builder.insert_element(empty, value, first), empty, ir.Constant(WORDS, [0] * (LANES // 4))
    )


def add_up(builder: Any, first: Any, floats: Any) -> Any:
    """`first` + all lanes, in any order."""
    kind = ir.FunctionType(FLOAT, [FLOAT, FLOATS])
    call = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES // 4}f32")
    return builder.call(call, [first, floats], fastmath=("reassoc",))
