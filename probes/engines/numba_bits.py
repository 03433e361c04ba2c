"""Sixteen-bit floats in numba: an array of uint16 holds bfloat16, one of int16 holds float16, float32 is itself.

numba knows neither type on CPUs, but LLVM vectorises both conversions (a shift; one instruction with F16C).
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

__all__ = [
    "LINE", "array_at", "float_of_bits", "kernel", "parallel_kernel", "prefetch", "put", "ticks", "widen",
]  # fmt: skip

# sums may be reordered; infinities and NaN keep their meaning, because the logits are checked for them
FAST = {"reassoc", "contract", "nsz", "arcp"}
# only loops that say so run in parallel: looking for others takes most of the compiler's time
PARALLEL = {
    "prange": True, "comprehension": False, "numpy": False, "reduction": False, "inplace_binop": False,
    "setitem": False, "stencil": False, "fusion": False,
}  # fmt: skip

HERE = Path(__file__).parent
LINE = 64  # bytes of a cache line
HAS_TICKS = platform.machine().lower() in ("x86_64", "amd64")


def _compiled_code() -> Path:
    """Where machine code is kept. numba takes compiled code for stale when the function's own file has changed, but a
    kernel contains those that it calls: the folder's name covers all of their files.
    """
    sources = b"".join(path.read_bytes() for path in sorted(HERE.glob("numba_*.py")))
    return HERE / "__pycache__" / f"kernels-{hashlib.sha256(sources).hexdigest()[:12]}"


def kernel(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compiled at the first call, once per machine."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(CODE)
    try:
        return njit(fastmath=FAST, nogil=True, cache=True, **options)(function)
    finally:
        config.CACHE_DIR = before


def parallel_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same with `prange` on all threads."""
    return kernel(function, parallel=PARALLEL)


CODE = _compiled_code()


@intrinsic
def prefetch(_context: Any, array: Any, _index: Any) -> Any:
    """Ask for the cache line of array[index], one dimension, to be read once; beyond the end nothing happens.

    Processors do not run far enough ahead by themselves where they also compute. Lines read once need not pass through
    the second-level cache: on a Zen 1 that, and looking less far ahead, made bfloat16 products 9 % faster.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        where = cgutils.get_item_pointer(context, builder, signature.args[0], view, [arguments[1]], wraparound=False)
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        how = [ir.Constant(word, n) for n in (0, 0, 1)]  # to read, once, data
        builder.call(call, [builder.bitcast(where, byte), *how])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def array_at(_context: Any, like: Any, _address: Any) -> Any:
    """An array of the type and shape of `like` whose elements lie at an address (int64); who calls keeps them alive."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = context.make_array(signature.args[0])(context, builder, arguments[0])
        found = context.make_array(signature.return_type)(context, builder)
        for part in ("nitems", "itemsize", "shape", "strides"):
            setattr(found, part, getattr(given, part))
        found.data = builder.inttoptr(arguments[1], given.data.type)
        found.meminfo = cgutils.get_null_value(found.meminfo.type)
        found.parent = cgutils.get_null_value(found.parent.type)
        return found._getvalue()

    return like(like, types.int64), generate


@intrinsic
def ticks(_context: Any) -> Any:
    """int64: the processor's time stamp; always 0 on processors where programs may not read it."""

    def generate(_target: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        word = ir.IntType(64)
        if not HAS_TICKS:
            return ir.Constant(word, 0)
        read = cgutils.get_or_insert_function(builder.module, ir.FunctionType(word, []), "llvm.readcyclecounter")
        return builder.call(read, [])

    return types.int64(), generate


@intrinsic
def widen(_context: Any, value: Any) -> Any:
    """float32 of one element."""

    def generate(_target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, (bits,) = signature.args[0], arguments
        if kind == types.uint16:
            wide = builder.shl(builder.zext(bits, ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
            return builder.bitcast(wide, ir.FloatType())
        if kind == types.int16:
            return builder.fpext(builder.bitcast(bits, ir.HalfType()), ir.FloatType())
        return bits

    return types.float32(value), generate


@intrinsic
def float_of_bits(_context: Any, _value: Any) -> Any:
    """float32 with the bits of a uint32."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def _bfloat16(_context: Any, _value: Any) -> Any:
    """Nearest bfloat16, ties to even."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.bitcast(arguments[0], word)
        odd = builder.and_(builder.lshr(bits, ir.Constant(word, 16)), ir.Constant(word, 1))
        rounded = builder.add(builder.add(bits, ir.Constant(word, 0x7FFF)), odd)
        return builder.trunc(builder.lshr(rounded, ir.Constant(word, 16)), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def _float16(_context: Any, _value: Any) -> Any:
    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.int16(types.float32), generate


def put(array, index, value):  # type: ignore[no-untyped-def]
    """array[index] = value, in the array's type."""
    raise NotImplementedError("only inside compiled code")


@overload(put, inline="always")
def _put(array, index, value):  # type: ignore[no-untyped-def]  # noqa: ARG001 (names as in `put`)
    if array.dtype == types.uint16:
        return _put_bfloat16
    return _put_float16 if array.dtype == types.int16 else _put_float32


def _put_bfloat16(array, index, value):  # type: ignore[no-untyped-def]
    array[index] = _bfloat16(np.float32(value))


def _put_float16(array, index, value):  # type: ignore[no-untyped-def]
    array[index] = _float16(np.float32(value))


def _put_float32(array, index, value):  # type: ignore[no-untyped-def]
    array[index] = np.float32(value)
