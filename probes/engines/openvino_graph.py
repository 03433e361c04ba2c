"""A dense decoder as an OpenVINO model with random weights: the patterns that its processor plugin has kernels for.

Matrices are constants of the stored type, expanded by Convert and Multiply where the plugin looks for compressed
weights. The cache is a pair of variables per layer, read, put into the order of `beam_idx`, lengthened and written
back around ScaledDotProductAttention, which the plugin fuses into attention with a cache of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ops
from openvino.op.util import Variable, VariableInfo

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.records import Architecture
from probes.engines.openvino_formats import Storage
from probes.engines.random_bytes import WEIGHT_SIZE, RandomBytes

__all__ = ["Graph", "build_graph", "cache_names"]

ROPE_BASE = 1e4
EPSILON = 1e-6
SPREAD = {"i4": 4.6, "i8": 74.0}  # standard deviation of uniform integers of that type


@dataclass(slots=True)
class Graph:
    """`weights`: the bytes behind the model's constants, which it does not own."""

    model: Any = None
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def tensor_bytes(self) -> int:
        return sum(w.nbytes for w in self.weights.values())


def build_graph(a: Architecture, storage: Storage, *, seed: int) -> Graph:
    """For any number of sequences of any length. Inputs: `input_ids` and `positions` [batch, tokens], `beam_idx`
    [batch]; output: logits of the last token [batch, 1, vocabulary].
    """
    return _Builder(a, storage, seed).build()


def cache_names(a: Architecture) -> list[str]:
    """Variables of the cache: [batch, key heads, tokens, head size]."""
    return [f"{kind}{layer}" for layer in range(a.num_layers) for kind in ("key", "value")]


class _Builder:
    def __init__(self, a: Architecture, storage: Storage, seed: int) -> None:
        self._a, self._storage = a, storage
        self._random = RandomBytes(np.random.default_rng(seed))
        self._graph = Graph()
        self._assigned: list[Any] = []

    def build(self) -> Graph:
        a = self._a
        ids = ops.parameter([-1, -1], np.int64, name="input_ids")
        positions = ops.parameter([-1, -1], np.int64, name="positions")
        self._beam = ops.parameter([-1], np.int32, name="beam_idx")
        self._batch = ops.gather(ops.shape_of(ids), _integers(0), _integers(0))
        self._cos, self._sin = self._rotary(positions)
        table = self._stored("embedding", (a.vocab_size, a.hidden_size), self._storage.embedding)
        hidden = ops.gather(_expanded(table), ids, _integers(0))
        for layer in range(a.num_layers):
            hidden = self._layer(layer, hidden)
        last = self._norm("last_norm", hidden, a.hidden_size)
        tail = ops.slice(last, *(_integers([n]) for n in (-1, 2**31 - 1, 1, 1)))
        logits = ops.result(self._linear("logits", tail, a.vocab_size, a.hidden_size), name="logits")
        self._graph.model = ov.Model([logits], self._assigned, [ids, positions, self._beam], "decoder")
        return self._graph

    def _layer(self, i: int, hidden: Any) -> Any:
        a, inner = self._a, int(self._a.intermediate_size or 0)
        normed = self._norm(f"norm_a{i}", hidden, a.hidden_size)
        query = self._turn(self._heads(f"q{i}", normed, a.n_heads))
        key = self._cached(f"key{i}", self._turn(self._heads(f"k{i}", normed, a.n_kv_heads)))
        value = self._cached(f"value{i}", self._heads(f"v{i}", normed, a.n_kv_heads))
        mixed = ops.scaled_dot_product_attention(query, self._shared(key), self._shared(value), causal=True)
        flat = ops.reshape(ops.transpose(mixed, _integers([0, 2, 1, 3])), _integers([0, 0, -1]), True)
        hidden = ops.add(hidden, self._linear(f"o{i}", flat, a.hidden_size, a.n_heads * a.head_dim))
        normed = self._norm(f"norm_f{i}", hidden, a.hidden_size)
        gate, up = (self._linear(f"{name}{i}", normed, inner, a.hidden_size) for name in ("gate", "up"))
        down = self._linear(f"down{i}", ops.multiply(ops.swish(gate), up), a.hidden_size, inner)
        return ops.add(hidden, down)

    def _heads(self, name: str, source: Any, heads: int) -> Any:
        """[batch, heads, tokens, head size] of the projection `name`."""
        size = heads * self._a.head_dim
        found = self._linear(name, source, size, self._a.hidden_size)
        if self._a.qkv_bias:
            found = ops.add(found, self._kept(f"{name}_bias", self._random.floats((size,))))
        parts = ops.reshape(found, _integers([0, 0, heads, self._a.head_dim]), True)
        if self._a.qk_norm and name[0] in "qk":
            parts = self._norm(f"{name}_norm", parts, self._a.head_dim)
        return ops.transpose(parts, _integers([0, 2, 1, 3]))

    def _turn(self, heads: Any) -> Any:
        """Rotary position: the second half of each head turns with the first."""
        half = self._a.head_dim // 2
        halves = ops.variadic_split(heads, _integers(-1), _integers([half, half]))
        turned = ops.concat([ops.multiply(halves.output(1), np.float32(-1)), halves.output(0)], -1)
        return ops.add(ops.multiply(heads, self._cos), ops.multiply(turned, self._sin))

    def _rotary(self, positions: Any) -> tuple[Any, Any]:
        half = self._a.head_dim // 2
        rates = (ROPE_BASE ** -(np.arange(half) / half)).astype(np.float32)
        place = ops.unsqueeze(ops.convert(positions, np.float32), _integers([1, 3]))
        angles = ops.multiply(place, np.concatenate([rates, rates]).reshape(1, 1, 1, -1))
        return ops.cos(angles), ops.sin(angles)

    def _cached(self, name: str, new: Any) -> Any:
        """What the variable holds, and behind it `new`."""
        a = self._a
        shape = ov.PartialShape([-1, a.n_kv_heads, -1, a.head_dim])
        info = VariableInfo()
        info.data_shape, info.data_type, info.variable_id = shape, ov.Type.f32, name
        variable = Variable(info)
        empty = ops.concat([ops.unsqueeze(self._batch, _integers(0)), _integers([a.n_kv_heads, 0, a.head_dim])], 0)
        held = ops.read_value(ops.broadcast(np.float32(0), empty), variable)
        whole = ops.concat([ops.gather(held, self._beam, _integers(0)), new], 2)
        self._assigned.append(ops.assign(whole, variable))
        return whole

    def _shared(self, cached: Any) -> Any:
        """Each key head once for every query head that reads it."""
        a = self._a
        share = a.n_heads // a.n_kv_heads
        if share == 1:
            return cached
        wide = ops.broadcast(
            ops.unsqueeze(cached, _integers(2)), _integers([1, 1, share, 1, 1]), broadcast_spec="BIDIRECTIONAL"
        )
        return ops.reshape(wide, _integers([0, a.n_heads, -1, a.head_dim]), True)

    def _norm(self, name: str, hidden: Any, size: int) -> Any:
        mean = ops.reduce_mean(ops.power(hidden, np.float32(2)), _integers([-1]), True)
        scale = ops.divide(np.float32(1), ops.sqrt(ops.add(mean, np.float32(EPSILON))))
        return ops.multiply(self._kept(name, np.ones(size, np.float32)), ops.multiply(hidden, scale))

    def _linear(self, name: str, source: Any, rows: int, cols: int) -> Any:
        return ops.matmul(source, self._matrix(name, rows, cols), False, True)

    def _matrix(self, name: str, rows: int, cols: int) -> Any:
        """[rows, cols] in 32 bit; what the plugin multiplies with is the stored type."""
        kind, group = self._storage.matrices, self._storage.group or cols
        if kind not in SPREAD:
            return _expanded(self._stored(f"{name}.w", (rows, cols), kind))
        if cols % group:
            raise UnsupportedError(f"rows of {cols} do not fill groups of {group}")
        shape = (rows, cols) if group == cols else (rows, cols // group, group)
        whole = ops.convert(self._stored(f"{name}.w", shape, kind), np.float16)
        scales = np.full((*shape[:-1], 1), WEIGHT_SIZE / SPREAD[kind], np.float16)
        expanded = ops.multiply(whole, self._kept(f"{name}.s", scales))
        flat = expanded if len(shape) == 2 else ops.reshape(expanded, _integers([rows, cols]), False)
        return ops.convert(flat, np.float32)

    def _stored(self, name: str, shape: tuple[int, ...], kind: str) -> Any:
        """A constant of random weights; bf16 and integers are bytes of its type."""
        if kind in ("f32", "f16"):
            return self._kept(name, self._random.floats(shape, kind))
        raw = self._random.floats(shape, kind) if kind == "bf16" else self._random.take(_bytes(shape, kind))
        return self._kept(name, raw, ov.Tensor(raw, ov.Shape(shape), getattr(ov.Type, kind)))

    def _kept(self, name: str, values: NDArray[Any], tensor: Any = None) -> Any:
        """A constant that refers to `values`."""
        self._graph.weights[name] = values
        return ov.op.Constant(ov.Tensor(values, shared_memory=True) if tensor is None else tensor, True)


def _expanded(stored: Any) -> Any:
    """In 32 bit, marked as converters of models mark it: without the mark the plugin keeps a copy in 32 bit."""
    if stored.get_element_type() == ov.Type.f32:
        return stored
    found = ops.convert(stored, np.float32)
    found.get_rt_info()["decompression_0"] = True
    return found


def _bytes(shape: tuple[int, ...], kind: str) -> int:
    return math.prod(shape) * int(kind[1:]) // 8


def _integers(values: int | list[int]) -> Any:
    return ops.constant(np.array(values, np.int64))
