"""Distributions of prompt and answer lengths, in tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.errors import InputError

__all__ = ["LengthDistribution", "LengthKind"]


class LengthKind(StrEnum):
    FIXED = "fixed"
    LOGNORMAL = "lognormal"
    EMPIRICAL = "empirical"  # quantiles of a trace, linear in between
    GEOMETRIC = "geometric"  # memoryless; for checks against queueing theory


@dataclass(frozen=True, slots=True)
class LengthDistribution:
    """Whole tokens, at least `low`, at most `high`. Build with `fixed`, `lognormal`, `empirical` or `geometric`."""

    kind: LengthKind
    mean: float
    sigma: float = 0.0  # of the logarithm
    quantiles: tuple[float, ...] = ()
    tokens: tuple[float, ...] = ()
    low: int = 1
    high: int = 1_000_000

    @classmethod
    def fixed(cls, tokens: float) -> LengthDistribution:
        return cls(LengthKind.FIXED, float(_positive("length", tokens)))

    @classmethod
    def geometric(cls, mean: float) -> LengthDistribution:
        return cls(LengthKind.GEOMETRIC, float(_positive("mean length", mean)))

    @classmethod
    def lognormal(cls, *, mean: float, p50: float, high: int = 1_000_000) -> LengthDistribution:
        """By mean and median: sigma = sqrt(2 ln(mean / median))."""
        _positive("median length", p50)
        if not mean >= p50:
            raise InputError("mean length", f">= the median ({p50:g}) in a lognormal distribution", mean)
        return cls(LengthKind.LOGNORMAL, float(mean), math.sqrt(2 * math.log(mean / p50)), high=high)

    @classmethod
    def empirical(cls, quantiles: Sequence[float], tokens: Sequence[float]) -> LengthDistribution:
        """`tokens[i]` is the quantile `quantiles[i]` in [0, 1]."""
        q, t = np.asarray(quantiles, dtype=float), np.asarray(tokens, dtype=float)
        if len(q) != len(t) or len(q) < 2 or q[0] != 0 or q[-1] != 1 or np.any(np.diff(q) <= 0):
            raise InputError("quantiles", "increasing from 0 to 1, as many as tokens", len(q))
        if not np.all(np.isfinite(t)) or np.any(np.diff(t) < 0) or t[0] < 0:
            raise InputError("tokens", "non-decreasing lengths >= 0", t.min())
        t = np.maximum(t, 1.0)
        mean = float(np.sum(np.diff(q) * (t[1:] + t[:-1]) / 2))
        return cls(LengthKind.EMPIRICAL, mean, quantiles=tuple(q.tolist()), tokens=tuple(t.tolist()))

    @property
    def mean_square(self) -> float:
        """Mean of the squared length, of the distribution without its bounds."""
        if self.kind is LengthKind.LOGNORMAL:
            return self.mean**2 * math.exp(self.sigma**2)
        if self.kind is LengthKind.GEOMETRIC:
            return 2 * self.mean**2 - self.mean
        if self.kind is LengthKind.EMPIRICAL:
            q, t = np.asarray(self.quantiles), np.asarray(self.tokens)
            return float(np.sum(np.diff(q) * (t[1:] ** 2 + t[1:] * t[:-1] + t[:-1] ** 2) / 3))
        return self.mean**2

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        """`n` independent lengths."""
        if self.kind is LengthKind.FIXED:
            return np.full(n, max(self.low, round(self.mean)), dtype=np.int64)
        if self.kind is LengthKind.GEOMETRIC:
            return rng.geometric(1 / max(self.mean, 1.0), n).astype(np.int64)
        if self.kind is LengthKind.LOGNORMAL:
            raw = rng.lognormal(math.log(self.mean) - self.sigma**2 / 2, self.sigma, n)
        else:
            raw = np.interp(rng.random(n), self.quantiles, self.tokens)
        return np.clip(np.rint(raw), self.low, self.high).astype(np.int64)

    def quantile(self, q: float) -> float:
        """Length that a share `q` of the requests does not exceed."""
        if self.kind is LengthKind.FIXED:
            return self.mean
        if self.kind is LengthKind.GEOMETRIC:
            return max(1.0, math.log1p(-min(q, 1 - 1e-12)) / math.log1p(-1 / max(self.mean, 1.0 + 1e-9)))
        if self.kind is LengthKind.LOGNORMAL:
            z = NormalDist().inv_cdf(min(max(q, 1e-9), 1 - 1e-9))
            return min(math.exp(math.log(self.mean) - self.sigma**2 / 2 + self.sigma * z), self.high)
        return float(np.interp(q, self.quantiles, self.tokens))


def _positive(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise InputError(name, "a positive number of tokens", value)
    return value
