"""Which checkpoints in which formats a scenario may use, with their quality and what they generate per request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.catalog import Catalog
from advisor.catalog.errors import UnsupportedError
from advisor.catalog.formats import Format
from advisor.catalog.records import Role, Variant
from advisor.decision.quality import Quality, has_thinking, task_quality
from advisor.decision.scenario import Scenario
from advisor.sizing.cache import default_kv_format
from advisor.sizing.columns import ModelKey
from advisor.sizing.profile import profile

__all__ = ["DEFAULT_THOUGHT_TOKENS", "SEARCHED_FORMATS", "Model", "ModelTable", "eligible_models", "model_table"]

# Median chain of thought of production traffic to DeepSeek-R1: output 792 tokens, 76 % of it reasoning
# (ServeGen, Alibaba, arXiv 2505.09999). Used for variants that always think when the scenario states none.
DEFAULT_THOUGHT_TOKENS = 600

# One of each kind that is published for these models; others are searched when the scenario names them.
SEARCHED_FORMATS = (
    "bf16",
    "fp16",
    "fp8",
    "int8-w8a8",
    "awq",
    "w4a16",
    "nvfp4",
    "mlx-4bit",
    "mlx-8bit",
    "gguf-q8_0",
    "gguf-q5_k_m",
    "gguf-q4_k_m",
    "gguf-q3_k_m",
    "gguf-ud-q2_k_xl",
    "mnn-int4",
)
_RECOMMENDED = frozenset({Role.FULL, Role.DISTILLED, Role.USER})
_SAVES = 0.9  # a re-pack is searched if it takes less than this share of the bits
_DYNAMIC_FROM_PARAMS = 100e9  # dynamic mixes exist for, and were measured on, the large mixture-of-experts models
_NATIVE_ONLY = frozenset({"v4-native", "v4.1-native"})


@dataclass(frozen=True, slots=True)
class Model:
    """A variant in a format. `output_tokens` include its chain of thought; `context_tokens` hold one full request.

    `hidden_tokens`: a chain of thought that the scenario did not ask for: its user waits for the words after it.
    """

    key: ModelKey
    quality: Quality
    thinks: bool
    output_tokens: int
    hidden_tokens: int
    context_tokens: int
    weights_bytes: int

    @property
    def variant(self) -> Variant:
        return self.key.variant

    @property
    def format(self) -> Format:
        return self.key.format


@dataclass(frozen=True, slots=True)
class ModelTable:
    """Models as arrays of shape (models,); `quality` is NaN where nothing was published."""

    models: tuple[Model, ...]
    quality: NDArray[np.float64]
    weights_bytes: NDArray[np.float64]
    heads: NDArray[np.intp]
    is_moe: NDArray[np.bool_]
    is_latent: NDArray[np.bool_]  # cache does not split over tensor-parallel ranks
    output_tokens: NDArray[np.float64]
    hidden_tokens: NDArray[np.float64]
    context_tokens: NDArray[np.float64]


def eligible_models(scenario: Scenario, catalog: Catalog) -> tuple[Model, ...]:
    """Checkpoints that may be recommended, in the formats that exist for them.

    Base checkpoints and superseded releases only where the scenario names them; licences without commercial use
    are left out of commercial scenarios; so are contexts beyond what the publisher states.
    """
    found = []
    for variant in catalog.variants.values():
        if not _eligible(variant, scenario):
            continue
        request = _request(variant, scenario)
        if (variant.architecture.max_context_tokens or request.context_tokens) < request.context_tokens:
            continue
        for model_format in _formats(variant, scenario, catalog):
            model = _model(variant, model_format, scenario, request)
            if model is not None:
                found.append(model)
    return tuple(found)


def model_table(models: tuple[Model, ...]) -> ModelTable:
    """Columns of the models."""
    architectures = [model.variant.architecture for model in models]
    return ModelTable(
        models=models,
        quality=np.array([m.quality.quantity.value if m.quality.quantity else np.nan for m in models]),
        weights_bytes=np.array([m.weights_bytes for m in models], dtype=np.float64),
        heads=np.array([a.n_heads for a in architectures], dtype=np.intp),
        is_moe=np.array([a.is_moe for a in architectures], dtype=np.bool_),
        is_latent=np.array([a.attention.value != "gqa" for a in architectures], dtype=np.bool_),
        output_tokens=np.array([m.output_tokens for m in models], dtype=np.float64),
        hidden_tokens=np.array([m.hidden_tokens for m in models], dtype=np.float64),
        context_tokens=np.array([m.context_tokens for m in models], dtype=np.float64),
    )


@dataclass(frozen=True, slots=True)
class _Request:
    """What one request of the scenario means to a variant."""

    thinks: bool
    output_tokens: int
    context_tokens: int


def _request(variant: Variant, scenario: Scenario) -> _Request:
    thinks = variant.always_reasons or (scenario.reasoning_tokens > 0 and has_thinking(variant))
    thought = (scenario.reasoning_tokens or DEFAULT_THOUGHT_TOKENS) if thinks else 0
    output = scenario.output_tokens + thought
    return _Request(thinks, output, max(scenario.context_tokens, scenario.input_tokens + output))


def _eligible(variant: Variant, scenario: Scenario) -> bool:
    if scenario.variants:
        return variant.id in scenario.variants
    if scenario.commercial_use and not variant.commercial_use:
        return False
    return variant.role in _RECOMMENDED


def _formats(variant: Variant, scenario: Scenario, catalog: Catalog) -> list[Format]:
    if scenario.formats:
        return [catalog.formats[name] for name in scenario.formats]
    native = catalog.formats[variant.native_format]
    others = [catalog.formats[name] for name in SEARCHED_FORMATS if name in catalog.formats]
    bf16 = [f for f in others if f.id == "bf16" and native.family == "fp8"]  # for devices without FP8
    if native.bits_per_weight < 16:  # published below 16 bit: other re-packs must save memory
        others = [
            f for f in others if f.family != native.family and f.bits_per_weight < _SAVES * native.bits_per_weight
        ]
    if not variant.architecture.is_moe or (variant.published.get("total_params") or 0) < _DYNAMIC_FROM_PARAMS:
        others = [f for f in others if "-ud-" not in f.id]
    return list({f.id: f for f in (native, *bf16, *others) if f.offered or f is native}.values())


def _model(variant: Variant, model_format: Format, scenario: Scenario, request: _Request) -> Model | None:
    if model_format.id in _NATIVE_ONLY and model_format.id != variant.native_format:
        return None
    try:
        weights = profile(variant.architecture, model_format).file_bytes
    except UnsupportedError:
        return None
    quality = task_quality(variant, model_format, scenario.task, thinking=request.thinks)
    key = ModelKey(variant, model_format, default_kv_format(variant.architecture))
    hidden = 0 if scenario.reasoning_tokens else request.output_tokens - scenario.output_tokens
    return Model(key, quality, request.thinks, request.output_tokens, hidden, request.context_tokens, weights)
