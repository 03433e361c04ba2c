"""OpenVINO on the processor: a real decoder graph with random weights and a cache inside. For probe processes only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
import torch

from probes.engines.base import InvalidOutputError
from probes.engines.graph_engine import GraphEngine
from probes.engines.openvino_formats import check_openvino
from probes.engines.openvino_graph import Graph, build_graph
from probes.spec import ProbeSpec

__all__ = ["OpenvinoEngine"]


class OpenvinoEngine(GraphEngine):
    """Implements `probes.engines.base.Engine` for sequences of equal length; `step` runs them one by one.

    The cache of earlier tokens is handed over as zeros, outside what is timed: attention takes the same time whatever
    it reads.
    """

    title = "OpenVINO"

    def __init__(self, spec: ProbeSpec, *, slots: int, tokens: int) -> None:
        super().__init__(spec, slots=slots, tokens=tokens)
        self._storage = check_openvino(self._a, spec.format_id)
        self._graph = Graph()
        self._compiled: Any = None
        self._request: Any = None

    @property
    def kv_element_bytes(self) -> int:
        return self._storage.cache_bytes

    def load(self) -> None:
        self._graph = build_graph(self._a, self._storage, seed=self._spec.seed)
        self._bytes = self._graph.tensor_bytes
        self._streamed = self._bytes - self._graph.weights["embedding"].nbytes
        self._open()

    def prefill(self, tokens: int, slot: int = 0) -> float:  # noqa: ARG002
        self._hold(1, 0)
        return self._run(1, tokens, 0)

    def decode(self, context_tokens: int, slots: int, steps: int) -> list[float]:
        self._hold(slots, context_tokens)
        return [self._run(slots, 1, context_tokens + i) for i in range(steps)]

    def step(self, lengths: Mapping[int, int]) -> float:
        return sum(self.decode(at, 1, 1)[0] for at in lengths.values())

    def versions(self) -> Mapping[str, str]:
        """With the precisions that the plugin chose: they decide the speed and differ from processor to processor."""
        found = {"openvino": ov.__version__.partition("-")[0]}
        if self._compiled is None:
            return found
        read = self._compiled.get_property
        return found | {
            "openvino_compute": read("INFERENCE_PRECISION_HINT").get_type_name(),
            "openvino_cache": read("KV_CACHE_PRECISION").get_type_name(),
            "openvino_activation_group": str(read("DYNAMIC_QUANTIZATION_GROUP_SIZE")),
        }

    def close(self) -> None:
        self._request = self._compiled = None  # before the weights that they refer to
        self._graph = Graph()

    def _open(self) -> None:
        """A compiled model has one number of threads; another number needs another one."""
        threads = torch.get_num_threads()
        if self._compiled is not None and threads == self._threads:
            return
        self._request = self._compiled = None
        options = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": threads,
            "KV_CACHE_PRECISION": self._storage.cache,
        }  # fmt: skip
        if self._storage.matrices == "f32":
            options["INFERENCE_PRECISION_HINT"] = "f32"
        self._compiled = ov.Core().compile_model(self._graph.model, "CPU", options)
        self._request = self._compiled.create_infer_request()
        self._threads = threads

    def _hold(self, sequences: int, tokens: int) -> None:
        """Fill the cache with `tokens` of each sequence; none: empty it."""
        if self._request is None:
            raise InvalidOutputError("the model is not loaded")
        self._open()
        self._request.reset_state()
        if not tokens:
            return
        past = np.zeros((sequences, self._a.n_kv_heads, tokens, self._a.head_dim), np.float32)
        for state in self._request.query_state():
            state.state = ov.Tensor(past)

    def _run(self, sequences: int, tokens: int, at: int) -> float:
        """`tokens` of each sequence behind `at` that are cached; seconds."""
        inputs = {
            "input_ids": self._ids(sequences, tokens, at),
            "positions": np.tile(np.arange(at, at + tokens), (sequences, 1)),
            "beam_idx": np.arange(sequences, dtype=np.int32),
        }
        return self._timed(lambda: self._request.infer(inputs), lambda: self._request.get_output_tensor(0).data)
