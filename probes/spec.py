"""What to measure: one frozen record that is shown before the run, sent to the child process and stored with the
result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from advisor.catalog.errors import InputError
from advisor.catalog.records import Architecture

__all__ = ["EndpointTarget", "EngineName", "Kind", "LeftOut", "LoadTarget", "ProbeSpec", "SweepAxis", "SweepLimit"]


class EngineName(StrEnum):
    TORCH = "torch"
    LLAMACPP = "llama.cpp"
    OPENVINO = "openvino"
    ORT = "onnxruntime"
    ENDPOINT = "endpoint"


class Kind(StrEnum):
    FULL = "full"  # the whole variant: load, prefill, decode
    SLICE = "slice"  # a few of its layers and the head, extrapolated
    SWEEP = "sweep"  # decode along one axis, along the context prefill too
    SUSTAINED = "sustained"  # open-loop arrivals for minutes to hours
    MACHINE = "machine"  # bandwidth, matrix products, disk, PCIe; no model


class SweepAxis(StrEnum):
    CONTEXT = "context"
    BATCH = "batch"
    THREADS = "threads"
    FORMAT = "format"


class SweepLimit(StrEnum):
    """What ends a sweep."""

    MEMORY = "memory"
    THREADS = "threads"  # the machine has no more of them
    LATENCY = "latency"  # a token took longer than allowed
    THROUGHPUT = "throughput"  # more sequences gave no more tokens per second
    DONE = "done"  # all values were measured


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A position of a sweep that is not measured. `needed`, `allowed`: bytes, the first with its margin; or threads."""

    value: int
    limit: SweepLimit
    needed: int
    allowed: int
    format_id: str = ""  # where the sweep is over formats


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """Traffic of a sustained run: Poisson arrivals, lengths drawn around the spec's prompt and output tokens."""

    requests_per_s: float = 10.0
    duration_s: float = 60.0
    slots: int = 8  # sequences decoded together
    ttft_limit_ms: float = 2000.0
    tpot_limit_ms: float = 200.0
    seed: int = 0
    resume_id: str | None = None  # continue a stored run that was cut short
    elapsed_before_s: float = 0.0  # seconds that the earlier parts ran

    @property
    def patience_s(self) -> float:
        """Twice its length and some minutes: until then a slow end is waited for."""
        return 2 * self.duration_s + 300


@dataclass(frozen=True, slots=True)
class EndpointTarget:
    """An OpenAI-compatible server."""

    url: str
    model: str = ""
    api_key_env: str = ""  # name of the environment variable that holds the key; the key itself is never stored
    metrics_url: str = ""
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One probe. `architecture` travels along, so the child needs no catalogue.

    `device`: cpu, cuda:0, mps. `threads`: None takes all physical cores. `prompt_tokens`: one prefill measurement each.
    `slice_layers`: numbers of layers to load in a slice probe. `resident_experts`: experts kept per MoE layer (None:
    all).
    `sweep_values`: positions along `sweep_axis` (tokens, sequences or threads; `sweep_formats` for formats);
    `left_out`: others that were asked for. `tpot_limit_ms`: a sweep ends with the first value that is slower.
    """

    variant_id: str
    format_id: str
    architecture: Architecture | None = None
    engine: EngineName = EngineName.TORCH
    kind: Kind = Kind.FULL
    device: str = "cpu"
    threads: int | None = None
    prompt_tokens: tuple[int, ...] = (128, 512)
    output_tokens: int = 32
    repeats: int = 3
    batch: int = 1
    slice_layers: tuple[int, ...] = ()
    resident_experts: int | None = None
    sweep_axis: SweepAxis | None = None
    sweep_values: tuple[int, ...] = ()
    sweep_formats: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    tpot_limit_ms: float | None = None
    load: LoadTarget | None = None
    endpoint: EndpointTarget | None = None
    checkpoint: str | None = None  # folder with safetensors, or a GGUF file for llama.cpp
    timeout_s: float = 900.0
    memory_limit_bytes: int | None = None  # None: what the preflight allows
    seed: int = 0

    def __post_init__(self) -> None:
        _require(
            bool(self.prompt_tokens) and all(1 <= n <= 1_048_576 for n in self.prompt_tokens),
            "prompt tokens",
            "1 to 1,048,576",
            self.prompt_tokens,
        )
        _require(1 <= self.output_tokens <= 65_536, "output tokens", "1 to 65,536", self.output_tokens)
        _require(1 <= self.repeats <= 100, "repeats", "1 to 100", self.repeats)
        _require(1 <= self.batch <= 1024, "batch", "1 to 1,024", self.batch)
        _require(self.threads is None or 1 <= self.threads <= 4096, "threads", "1 to 4,096", self.threads)
        _require(all(value >= 1 for value in self.sweep_values), "sweep values", "1 or more", self.sweep_values)
        limit = self.tpot_limit_ms
        _require(limit is None or 0 < limit < math.inf, "tpot limit", "milliseconds above 0", limit)
        _require(1.0 <= self.timeout_s <= 7 * 86_400, "timeout_s", "1 s to 7 days", self.timeout_s)

    @property
    def context_tokens(self) -> int:
        """Room in the cache that each sequence needs."""
        deepest = max(self.sweep_values, default=0) if self.sweep_axis is SweepAxis.CONTEXT else 0
        return max(*self.prompt_tokens, deepest, 1) + self.output_tokens

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt that is processed at once; a sweep of contexts processes each of them."""
        deepest = max(self.sweep_values, default=0) if self.sweep_axis is SweepAxis.CONTEXT else 0
        return max(*self.prompt_tokens, deepest)


def _require(condition: bool, field: str, expected: str, got: object) -> None:
    if not condition:
        raise InputError(field, expected, got)
