"""A dense decoder as an ONNX graph with random weights: the operators that ONNX Runtime's own model builder emits.

Operators of com.microsoft: MatMulNBits (4 or 8 bit in blocks), GroupQueryAttention (rotary inside, cache in place),
SkipSimplifiedLayerNormalization. Weights stay outside the graph and are handed over by address.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import UnsupportedError
from advisor.catalog.records import Architecture
from probes.engines.dense import is_plain_decoder
from probes.engines.random_bytes import WEIGHT_SIZE, RandomBytes

__all__ = ["ORT_FORMATS", "Blocks", "Graph", "build_graph", "check_runnable", "runs_in_ort"]

MICROSOFT = "com.microsoft"
OPSET = 21
ROPE_BASE = 1e4
INT8_ACTIVATIONS = 4  # accuracy level: activations are rounded to 8 bit inside, the fastest on processors


@dataclass(frozen=True, slots=True)
class Blocks:
    """Bits of a weight and weights that share a scale; 32 bits: not quantised."""

    bits: int
    block: int = 0


ORT_FORMATS = {
    "fp32": Blocks(32),
    "int8-w8a16": Blocks(8, 128),
    "w4a16-g128": Blocks(4, 128),
    "w4a16-g32": Blocks(4, 32),
}


@dataclass(slots=True)
class Graph:
    """`model`: the serialised graph; `weights`: its initialisers by name, in the engine's own layout."""

    model: bytes = b""
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def tensor_bytes(self) -> int:
        return sum(w.nbytes for w in self.weights.values())


def check_runnable(a: Architecture, format_id: str) -> Blocks:
    """Raises UnsupportedError for what the graph has no operators for."""
    if format_id not in ORT_FORMATS:
        raise UnsupportedError(f"the ONNX Runtime probe runs {', '.join(ORT_FORMATS)}, not '{format_id}'")
    if a.qk_norm or not is_plain_decoder(a):
        raise UnsupportedError("the ONNX Runtime probe runs dense models with grouped attention, without query norms")
    return ORT_FORMATS[format_id]


def runs_in_ort(a: Architecture) -> bool:
    try:
        return bool(check_runnable(a, "fp32"))
    except UnsupportedError:
        return False


def build_graph(a: Architecture, blocks: Blocks, *, tokens: int, seed: int) -> Graph:
    """For any number of sequences, each with room for `tokens`."""
    return _Builder(a, blocks, tokens, seed).build()


class _Builder:
    def __init__(self, a: Architecture, blocks: Blocks, tokens: int, seed: int) -> None:
        from onnx import helper

        self._a, self._blocks, self._tokens, self._helper = a, blocks, tokens, helper
        self._random = RandomBytes(np.random.default_rng(seed))
        self._graph, self._nodes = Graph(), []
        self._inline: dict[str, int] = {}

    def build(self) -> Graph:
        a = self._a
        self._keep("embedding", self._random.floats((a.vocab_size, a.hidden_size), "f16"))
        self._rotary()
        hidden = self._node("Cast", [self._node("Gather", ["embedding", "input_ids"], "", axis=0)], "", to=1)
        skip = ""
        for layer in range(a.num_layers):
            hidden, skip = self._layer(layer, hidden, skip)
        last, _ = self._norm("last_norm", hidden, skip)
        self._inline = {"from": -1, "to": 2**31 - 1, "axis": 1}  # shapes follow from these, so they stay in the graph
        tail = self._node("Slice", [last, "from", "to", "axis"], "")
        self._linear("logits", tail, a.vocab_size, a.hidden_size, output="logits")
        self._graph.model = self._serialise()
        return self._graph

    def _layer(self, i: int, hidden: str, skip: str) -> tuple[str, str]:
        """(contribution of the feed-forward, stream that it is added to)."""
        a, wide, narrow = self._a, self._a.n_heads * self._a.head_dim, self._a.n_kv_heads * self._a.head_dim
        normed, stream = self._norm(f"norm_a{i}", hidden, skip)
        parts = []
        for name, size in (("q", wide), ("k", narrow), ("v", narrow)):
            found = self._linear(f"{name}{i}", normed, size, a.hidden_size)
            if a.qkv_bias:
                self._keep(f"{name}_bias{i}", self._random.floats((size,)))
                found = self._node("Add", [found, f"{name}_bias{i}"], "")
            parts.append(found)
        outputs = [f"attention{i}", f"present_key{i}", f"present_value{i}"]
        inputs = [*parts, f"past_key{i}", f"past_value{i}", "seqlens_k", "total_sequence_length", "cos", "sin"]
        self._nodes.append(
            self._helper.make_node(
                "GroupQueryAttention", inputs, outputs, domain=MICROSOFT, num_heads=a.n_heads,
                kv_num_heads=a.n_kv_heads, do_rotary=1,
            )
        )  # fmt: skip
        mixed = self._linear(f"o{i}", outputs[0], a.hidden_size, wide)
        normed, stream = self._norm(f"norm_f{i}", mixed, stream)
        inner = int(a.intermediate_size or 0)
        gate, up = (self._linear(f"{name}{i}", normed, inner, a.hidden_size) for name in ("gate", "up"))
        active = self._node("Mul", [gate, self._node("Sigmoid", [gate], "")], "")
        return self._linear(f"down{i}", self._node("Mul", [active, up], ""), a.hidden_size, inner), stream

    def _norm(self, name: str, hidden: str, skip: str) -> tuple[str, str]:
        """(normed, sum of both inputs)."""
        self._keep(name, np.ones(self._a.hidden_size, np.float32))
        if not skip:
            return self._node("SimplifiedLayerNormalization", [hidden, name], "", epsilon=1e-6, axis=-1), hidden
        outputs = [f"{name}.out", "", "", f"{name}.sum"]
        self._nodes.append(
            self._helper.make_node(
                "SkipSimplifiedLayerNormalization", [hidden, skip, name], outputs, domain=MICROSOFT, epsilon=1e-6
            )
        )
        return outputs[0], outputs[3]

    def _linear(self, name: str, source: str, rows: int, cols: int, output: str = "") -> str:
        bits, block = self._blocks.bits, self._blocks.block
        if bits == 32:
            self._keep(f"{name}.w", self._random.floats((cols, rows)))
            return self._node("MatMul", [source, f"{name}.w"], "", output=output)
        if cols % block:
            raise UnsupportedError(f"rows of {cols} do not fill blocks of {block}")
        raw = self._random.take(rows * cols * bits // 8)
        self._keep(f"{name}.w", raw.reshape(rows, cols // block, block * bits // 8))
        spread = {4: 4.6, 8: 74.0}[bits]
        self._keep(f"{name}.s", np.full(rows * cols // block, WEIGHT_SIZE / spread, np.float32))
        return self._node(
            "MatMulNBits", [source, f"{name}.w", f"{name}.s"], MICROSOFT, output=output, K=cols, N=rows, bits=bits,
            block_size=block, accuracy_level=INT8_ACTIVATIONS,
        )  # fmt: skip

    def _rotary(self) -> None:
        half = self._a.head_dim // 2
        angles = np.outer(np.arange(self._tokens), ROPE_BASE ** -(np.arange(half) / half))
        self._keep("cos", np.cos(angles).astype(np.float32))
        self._keep("sin", np.sin(angles).astype(np.float32))

    def _node(self, kind: str, inputs: list[str], domain: str, output: str = "", **attributes: object) -> str:
        name = output or f"{kind}_{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name

    def _keep(self, name: str, values: NDArray[Any]) -> None:
        self._graph.weights[name] = np.ascontiguousarray(values)

    def _serialise(self) -> bytes:
        from onnx import TensorProto, helper

        shape = ["batch", self._a.n_kv_heads, "room", self._a.head_dim]
        inputs = [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"]),
            helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, []),
        ]
        outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1, self._a.vocab_size])]
        for i, name in ((i, name) for i in range(self._a.num_layers) for name in ("key", "value")):
            inputs.append(helper.make_tensor_value_info(f"past_{name}{i}", TensorProto.FLOAT, shape))
            outputs.append(helper.make_tensor_value_info(f"present_{name}{i}", TensorProto.FLOAT, shape))
        graph = helper.make_graph(self._nodes, "decoder", inputs, outputs, list(self._external()))
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return bytes(helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString())

    def _external(self) -> Iterator[Any]:
        """Initialisers without their bytes: the session gets those by address."""
        from onnx import StringStringEntryProto, TensorProto, helper

        for name, value in self._inline.items():
            yield helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, values in self._graph.weights.items():
            tensor = TensorProto(name=name, dims=values.shape, data_type=helper.np_dtype_to_tensor_dtype(values.dtype))
            tensor.data_location = TensorProto.EXTERNAL
            pairs = (("location", "weights"), ("offset", "0"), ("length", str(values.nbytes)))
            tensor.external_data.extend(StringStringEntryProto(key=k, value=v) for k, v in pairs)
            yield tensor
