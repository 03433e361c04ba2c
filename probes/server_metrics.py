"""What a server says of itself in its Prometheus metrics, under one set of names whatever server it is.

Names: vLLM 0.33, SGLang 0.5.23, llama-server b11434, TGI 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from probes.result import Measured

__all__ = ["gauges", "server_figures", "server_flags"]

MAX_RAW = 60
CACHED_SHARE = 0.1
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Names:
    """Metrics of one server. Counters are read as growth, histograms as the mean of what was added."""

    counters: Mapping[str, str]
    means_s: Mapping[str, str] = field(default_factory=dict)
    gauges: Mapping[str, str] = field(default_factory=dict)


SERVERS: Mapping[str, Names] = {
    "vllm:": Names(
        {
            "output_tokens": "vllm:generation_tokens_total",
            "prompt_tokens": "vllm:prompt_tokens_total",
            "cached_prompt_tokens": "vllm:prefix_cache_hits_total",
            "preemptions": "vllm:num_preemptions_total",
        },
        {
            "ttft_ms": "vllm:time_to_first_token_seconds",
            "tpot_ms": "vllm:request_time_per_output_token_seconds",
            "queue_ms": "vllm:request_queue_time_seconds",
        },
        {
            "running": "vllm:num_requests_running",
            "waiting": "vllm:num_requests_waiting",
            "kv_cache_used": "vllm:kv_cache_usage_perc",
        },
    ),
    "sglang:": Names(
        {
            "output_tokens": "sglang:generation_tokens_total",
            "prompt_tokens": "sglang:prompt_tokens_total",
            "cached_prompt_tokens": "sglang:cached_tokens_total",
        },
        {
            "ttft_ms": "sglang:time_to_first_token_seconds",
            "tpot_ms": "sglang:inter_token_latency_seconds",
            "queue_ms": "sglang:queue_time_seconds",
        },
        {
            "running": "sglang:num_running_reqs",
            "waiting": "sglang:num_queue_reqs",
            "kv_cache_used": "sglang:token_usage",
        },
    ),
    "llamacpp:": Names(
        {
            "output_tokens": "llamacpp:tokens_predicted_total",
            "prompt_tokens": "llamacpp:prompt_tokens_total",
            "cached_prompt_tokens": "llamacpp:prompt_tokens_cached_total",
            "prefill_s": "llamacpp:prompt_seconds_total",
            "decode_s": "llamacpp:tokens_predicted_seconds_total",
        },
        {},
        {"running": "llamacpp:requests_processing", "waiting": "llamacpp:requests_deferred"},
    ),
    "tgi_": Names(
        {"output_tokens": "tgi_request_generated_tokens_sum", "prompt_tokens": "tgi_request_input_length_sum"},
        {"tpot_ms": "tgi_request_mean_time_per_token_duration", "queue_ms": "tgi_request_queue_duration"},
        {"running": "tgi_batch_current_size", "waiting": "tgi_queue_size"},
    ),
}


def server_figures(before: Values, after: Values, seconds: float) -> dict[str, Measured]:
    """Between two readings: `server_*` under common names first, then the server's own as `server.*`, at most 60."""
    names = _names(after)
    found: dict[str, float] = {}
    if names is not None:
        grown = {key: _growth(before, after, name) for key, name in names.counters.items() if name in after}
        found |= {f"server_{key}": value for key, value in grown.items()}
        found |= _rates(grown, seconds)
        for key, name in names.means_s.items():
            if count := _growth(before, after, f"{name}_count"):
                found[f"server_{key}"] = _growth(before, after, f"{name}_sum") / count * 1e3
    known = set() if names is None else set(names.counters.values()) | set(names.gauges.values())
    raw = sorted((n for n in after if not n.endswith("_created")), key=lambda n: (n not in known, n))[:MAX_RAW]
    found |= {f"server.{name}": _growth(before, after, name) if _grows(name) else after[name] for name in raw}
    return {name: Measured.of([value]) for name, value in found.items()}


def gauges(now: Values) -> dict[str, Measured]:
    """How full the server is at this moment."""
    names = _names(now)
    if names is None:
        return {}
    return {f"server_{key}": Measured.of([now[name]]) for key, name in names.gauges.items() if name in now}


def server_flags(figures: Mapping[str, Measured]) -> tuple[str, ...]:
    """Prompts that the server had cached were not processed: first tokens then came too fast to be compared."""
    cached, prompt = figures.get("server_cached_prompt_tokens"), figures.get("server_prompt_tokens")
    if cached is None or prompt is None or cached.value <= CACHED_SHARE * max(1.0, prompt.value):
        return ()
    return ("prompts_cached",)


def _names(values: Values) -> Names | None:
    return next((names for prefix, names in SERVERS.items() if any(n.startswith(prefix) for n in values)), None)


def _rates(grown: Mapping[str, float], seconds: float) -> dict[str, float]:
    found = {}
    if "output_tokens" in grown and seconds > 0:
        found["server_output_tok_s"] = grown["output_tokens"] / seconds
    if grown.get("prefill_s"):
        found["server_prefill_tok_s"] = grown.get("prompt_tokens", 0.0) / grown["prefill_s"]
    if grown.get("decode_s"):
        found["server_decode_tok_s"] = grown.get("output_tokens", 0.0) / grown["decode_s"]
    return found


def _grows(name: str) -> bool:
    return name.endswith(("_total", "_sum", "_count"))


def _growth(before: Values, after: Values, name: str) -> float:
    """A counter that shrank was started again with the server."""
    grown = after.get(name, 0.0) - before.get(name, 0.0)
    return grown if grown >= 0 else after.get(name, 0.0)
