"""ONNX Runtime on the processor: a real decoder graph with random weights and a cache in place. For probe processes
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from probes.engines.base import InvalidOutputError
from probes.engines.graph_engine import GraphEngine
from probes.engines.ort_graph import Graph, build_graph, check_runnable
from probes.spec import ProbeSpec

__all__ = ["OrtEngine"]

KV_BYTES = 4  # the processor's attention kernel computes in 32 bit


class OrtEngine(GraphEngine):
    """Implements `probes.engines.base.Engine` for sequences of equal length; `step` runs them one by one."""

    title = "ONNX Runtime"

    def __init__(self, spec: ProbeSpec, *, slots: int, tokens: int) -> None:
        super().__init__(spec, slots=slots, tokens=tokens)
        self._blocks = check_runnable(self._a, spec.format_id)
        self._session: Any = None
        self._graph = Graph()
        self._caches: dict[str, NDArray[np.float32]] = {}

    @property
    def kv_element_bytes(self) -> int:
        return KV_BYTES

    def load(self) -> None:
        self._graph = build_graph(self._a, self._blocks, tokens=self._tokens, seed=self._spec.seed)
        self._bytes = self._graph.tensor_bytes
        self._streamed = sum(w.nbytes for name, w in self._graph.weights.items() if name != "embedding")
        shape = (self._slots, self._a.n_kv_heads, self._tokens, self._a.head_dim)
        names = [f"{kind}{layer}" for layer in range(self._a.num_layers) for kind in ("key", "value")]
        self._caches = {name: np.zeros(shape, np.float32) for name in names}
        self._open()

    def prefill(self, tokens: int, slot: int = 0) -> float:
        return self._run(tokens, 0, slot, 1)

    def decode(self, context_tokens: int, slots: int, steps: int) -> list[float]:
        """The cache holds what is there: attention takes the same time whatever it reads."""
        return [self._run(1, context_tokens + i, 0, slots) for i in range(steps)]

    def step(self, lengths: Mapping[int, int]) -> float:
        return sum(self._run(1, at, slot, 1) for slot, at in lengths.items())

    def versions(self) -> Mapping[str, str]:
        return {"onnxruntime": onnxruntime.__version__}

    def close(self) -> None:
        self._session, self._graph, self._caches = None, Graph(), {}

    def _open(self) -> None:
        """A session has one number of threads; another number needs another session."""
        threads = torch.get_num_threads()
        if self._session is not None and threads == self._threads:
            return
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        names = list(self._graph.weights)
        self._values = [onnxruntime.OrtValue.ortvalue_from_numpy(self._graph.weights[name]) for name in names]
        options.add_external_initializers(names, self._values)
        self._session = None
        self._session = onnxruntime.InferenceSession(self._graph.model, options, providers=["CPUExecutionProvider"])
        self._threads = threads

    def _run(self, tokens: int, at: int, first: int, sequences: int) -> float:
        """`tokens` of each sequence behind `at` that are cached; seconds."""
        if self._session is None:
            raise InvalidOutputError("the model is not loaded")
        ids = self._ids(sequences, tokens, at)
        self._open()
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("seqlens_k", np.full(sequences, at + tokens - 1, np.int32))
        binding.bind_cpu_input("total_sequence_length", np.array(at + tokens, np.int32))
        for name, cache in self._caches.items():
            part = cache[first : first + sequences]
            kind, place = ("past_" + name), part.ctypes.data
            binding.bind_input(kind, "cpu", 0, np.float32, part.shape, place)
            binding.bind_output("present_" + name, "cpu", 0, np.float32, part.shape, place)
        binding.bind_output("logits", "cpu")
        return self._timed(
            lambda: self._session.run_with_iobinding(binding), lambda: binding.get_outputs()[-1].numpy()
        )
