"""How engines run when nobody says otherwise: prompt chunks, sequence caps, windows, work on the host."""

from __future__ import annotations

from advisor.catalog.records import Host

__all__ = ["chunk_tokens", "default_host_path", "overlaps_chunks", "sequence_cap", "static_window"]

_LLAMA_CPP = frozenset({"llama.cpp", "ik_llama.cpp", "ollama", "ollama-or-llama.cpp"})
_SERVERS = frozenset({"vllm", "sglang", "trtllm", "lmdeploy", "vllm-ascend", "mindie"})
_WHOLE_PROMPT = 1e9


def chunk_tokens(engine_id: str, backend: str, host_path: str = "") -> float:
    """Prompt tokens per prefill step: llama.cpp -ub 512, servers' batched-token budget, KTransformers' chunks."""
    if engine_id in _LLAMA_CPP:
        return 512.0
    if engine_id == "ktransformers":
        return _WHOLE_PROMPT if host_path == "gpu_stream" else 1024.0
    if engine_id in _SERVERS:
        return 2048.0 if backend == "cpu" else 8192.0
    return 2048.0


def overlaps_chunks(engine_id: str, backend: str) -> bool:
    """llama.cpp runs the next micro-batch of a prompt on the first GPU while the last GPUs finish (PR 6017)."""
    return engine_id in ("llama.cpp", "ollama", "ollama-or-llama.cpp") and backend in ("cuda", "rocm")


def sequence_cap(engine_id: str, backend: str, many_prompts: bool) -> float:
    """Sequences that an engine runs at once by default.

    vLLM: 1024 on data-centre GPUs with offline use, 256 behind its server until 2025; TensorRT-LLM: 2048.
    """
    if backend == "cpu":
        return 256.0
    if engine_id == "vllm":
        return 1024.0 if many_prompts else 256.0
    return 1024.0 if engine_id == "sglang" else 2048.0


def static_window(engine_id: str) -> float | None:
    """Tokens that an engine with static graphs always attends to (Qualcomm Genie's 4096)."""
    return 4096.0 if engine_id == "qnn-genie" else None


def default_host_path(engine_id: str, host: Host | None) -> str:
    """How a processor multiplies in bulk: servers use AMX where it exists."""
    matrix = host is not None and "amx" in host.isa
    return "cpu_amx" if matrix and engine_id in _SERVERS | {"ktransformers", "openvino", "torch"} else ""
