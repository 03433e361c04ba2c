"""Makes the engine that a spec names. Imported by probe processes only."""

from __future__ import annotations

from advisor.catalog.errors import UnsupportedError
from probes.engines.base import Engine, EngineUnavailableError
from probes.gguf.files import gguf_file
from probes.layers import LayerCount
from probes.spec import EngineName, ProbeSpec

__all__ = ["make_engine"]


def make_engine(spec: ProbeSpec, *, slots: int, tokens: int, layers: LayerCount | None = None) -> Engine:
    """An engine with room for `slots` sequences of `tokens`; `layers`: only so many (torch).

    Raises EngineUnavailableError where the engine is not installed.
    """
    if spec.engine is EngineName.TORCH:
        if spec.checkpoint:
            from probes.engines.checkpoint_engine import CheckpointEngine

            return CheckpointEngine(spec, slots=slots, tokens=tokens, layers=layers)
        from probes.engines.torch_engine import TorchEngine

        return TorchEngine(spec, slots=slots, tokens=tokens, layers=layers)
    if spec.engine is EngineName.LLAMACPP:
        from probes.engines.llama_engine import LlamaEngine

        if layers is not None:
            raise UnsupportedError("llama.cpp probes load whole models, not single layers")
        return LlamaEngine(spec, gguf_file(spec), slots=slots, tokens=tokens)
    if spec.engine is EngineName.ORT:
        from probes.engines.ort_engine import OrtEngine

        if layers is not None:
            raise UnsupportedError("ONNX Runtime probes load whole models, not single layers")
        return OrtEngine(spec, slots=slots, tokens=tokens)
    if spec.engine is EngineName.OPENVINO:
        from probes.engines.openvino_engine import OpenvinoEngine

        if layers is not None:
            raise UnsupportedError("OpenVINO probes load whole models, not single layers")
        return OpenvinoEngine(spec, slots=slots, tokens=tokens)
    raise EngineUnavailableError(f"engine '{spec.engine}' is not available here")
