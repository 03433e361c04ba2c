"""Rotary tables as a checkpoint's configuration says: plain, linear, Llama 3 and YaRN scaling. For probe processes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from advisor.catalog.errors import UnsupportedError
from probes.engines.attention import Rope

__all__ = ["ScaledRope"]


class ScaledRope(Rope):
    """Tables of (tokens, dimension); `config` is that of the checkpoint."""

    def __init__(
        self, tokens: int, dimension: int, config: Mapping[str, Any], dtype: torch.dtype, device: torch.device
    ) -> None:
        scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
        base = float(config.get("rope_theta") or scaling.get("rope_theta") or 10_000.0)
        plain = base ** (-torch.arange(0, dimension, 2, dtype=torch.float32) / dimension)
        inverse, factor = _scaled(plain, base, dimension, scaling, config)
        angles = torch.outer(torch.arange(tokens, dtype=torch.float32), inverse).repeat(1, 2)
        self._cosine, self._sine = (
            (f(angles) * factor).to(dtype=dtype, device=device) for f in (torch.cos, torch.sin)
        )


def _scaled(
    plain: Tensor, base: float, dimension: int, scaling: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[Tensor, float]:
    """(frequencies, factor on cosine and sine)."""
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind == "default":
        return plain, 1.0
    factor = float(scaling["factor"])
    if kind == "linear":
        return plain / factor, 1.0
    if kind == "llama3":
        return _llama3(plain, factor, scaling), 1.0
    if kind == "yarn":
        before = float(scaling.get("original_max_position_embeddings") or config["max_position_embeddings"])
        attention = scaling.get("attention_factor") or 0.1 * math.log(factor) + 1.0
        return _yarn(plain, base, dimension, factor, before, scaling), float(attention)
    raise UnsupportedError(f"the torch engine has no rotary scaling of type '{kind}'")


def _llama3(plain: Tensor, factor: float, scaling: Mapping[str, Any]) -> Tensor:
    """Long waves are slowed down, short ones kept, between them a blend (Llama 3.1 reference code)."""
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    turns = float(scaling["original_max_position_embeddings"]) * plain / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return plain * (kept + (1 - kept) / factor)


def _yarn(
    plain: Tensor, base: float, dimension: int, factor: float, before: float, scaling: Mapping[str, Any]
) -> Tensor:
    """Interpolates frequencies with few turns over the trained length (YaRN, arXiv 2309.00071, section 3.2)."""

    def corner(turns: float) -> float:
        return dimension * math.log(before / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(corner(float(scaling.get("beta_fast") or 32))), 0)
    high = min(math.ceil(corner(float(scaling.get("beta_slow") or 1))), dimension - 1)
    ramp = ((torch.arange(dimension // 2, dtype=torch.float32) - low) / max(high - low, 1e-3)).clamp(0, 1)
    return plain / factor * ramp + plain * (1 - ramp)
