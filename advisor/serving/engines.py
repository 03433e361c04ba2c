"""How an engine schedules: presets of vLLM, SGLang, TensorRT-LLM, llama.cpp and static batching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from advisor.catalog.errors import InputError, UnknownIdError

__all__ = ["PRESETS", "EngineOptions", "Speculation", "preset"]


@dataclass(frozen=True, slots=True)
class Speculation:
    """Draft tokens per step and how many tokens a sequence gains per step on average (1 <= accepted <= drafts + 1)."""

    draft_tokens: int
    accepted_tokens: float
    draft_s: float = 0.0  # added to each decode step

    def __post_init__(self) -> None:
        if not 1 <= self.accepted_tokens <= self.draft_tokens + 1:
            raise InputError("accepted_tokens", f"1..{self.draft_tokens + 1} (drafts + 1)", self.accepted_tokens)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Scheduler rules. The defaults are those of vLLM V1 (v1/core/sched/scheduler.py).

    `chunked_prefill` False: a prompt is taken whole or not at all. `prefill_first`: steps with prompts do not
    decode. `reserve_output`: a request is admitted only with room for its whole answer, and never preempted.
    `static_batching`: a new batch starts when the last one is done. `max_queue`: waiting requests per replica
    before new ones are refused (0: no limit). `queue_timeout_s`: a request that waits longer is given up.
    """

    block_tokens: int = 16
    chunked_prefill: bool = True
    prefill_first: bool = False
    reserve_output: bool = False
    static_batching: bool = False
    max_queue: int = 0
    queue_timeout_s: float = float("inf")
    speculation: Speculation | None = None

    def __post_init__(self) -> None:
        if self.block_tokens < 1:
            raise InputError("block_tokens", "a whole number >= 1", self.block_tokens)
        if self.max_queue < 0:
            raise InputError("max_queue", "a whole number >= 0", self.max_queue)
        if not self.queue_timeout_s > 0:
            raise InputError("queue_timeout_s", "seconds > 0", self.queue_timeout_s)


PRESETS: Mapping[str, EngineOptions] = MappingProxyType(
    {
        "vllm": EngineOptions(),
        "sglang": EngineOptions(block_tokens=1, prefill_first=True),
        "tensorrt-llm": EngineOptions(block_tokens=32, reserve_output=True),  # GUARANTEED_NO_EVICT
        "llama.cpp": EngineOptions(block_tokens=1, reserve_output=True),
        "static": EngineOptions(chunked_prefill=False, reserve_output=True, static_batching=True),
    }
)
_ALIASES = {"trtllm": "tensorrt-llm", "trt-llm": "tensorrt-llm", "llama-server": "llama.cpp", "llamacpp": "llama.cpp"}


def preset(engine_id: str) -> EngineOptions:
    """Rules of an engine by its id. Raises UnknownIdError."""
    name = _ALIASES.get(engine_id, engine_id)
    if name not in PRESETS:
        raise UnknownIdError("engine preset", engine_id, PRESETS)
    return PRESETS[name]
