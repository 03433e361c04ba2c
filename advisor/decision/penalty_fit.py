"""Fits what a quantised format costs in quality, from pairs measured in one harness.

Loss in log-odds above chance = a · D(bits)^p · (parameters / 10^10)^-g, where D(bits) = exp(c0 - c1 · bits) is the
divergence from 16 bit measured over llama.cpp types, on one model. `a`, `p` and `g` are fitted to benchmark pairs of
seven variants from 1.8 B to 671 B. Formats that also quantise activations have their own mean loss, added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from advisor.decision.quality_data import Benchmark, QuantisedScore, to_logit

__all__ = ["fit_penalties"]

Floats = NDArray[np.float64]
_REPEATS = 4  # the harness with standard deviations repeats each benchmark at least four times
_PARAMETERS = {  # of the variants that were measured
    "deepseek-r1": 671.03e9,
    "deepseek-v3": 671.03e9,
    "deepseek-v3-0324": 671.03e9,
    "deepseek-r1-distill-llama-70b": 70.55e9,
    "deepseek-r1-distill-qwen-32b": 32.76e9,
    "deepseek-r1-distill-qwen-14b": 14.77e9,
    "deepseek-r1-distill-llama-8b": 8.03e9,
    "deepseek-r1-distill-qwen-7b": 7.62e9,
    "deepseek-r1-distill-qwen-1.5b": 1.777e9,
}
_WEIGHT_ONLY = ("gguf", "int-group")


@dataclass(frozen=True, slots=True)
class _Pair:
    """All benchmarks of one variant and format together: loss in log-odds and its standard error."""

    variant_id: str
    format: str
    kind: str
    bits: float
    loss: float
    error: float
    n: int


def fit_penalties(
    rows: tuple[QuantisedScore, ...],
    divergence: tuple[tuple[str, float, float], ...],
    benchmarks: Mapping[str, Benchmark],
) -> dict[str, object]:
    """The content of penalties.yaml: coefficients, residual spread, counts and every pair with its residual."""
    c0, c1 = _divergence_line(divergence)
    pairs = _pairs(rows, benchmarks)
    weight_only = [pair for pair in pairs if pair.kind in _WEIGHT_ONLY]
    a, p, g, spread = _size_law(weight_only, c0, c1)
    predicted = {
        (pair.variant_id, pair.format): a
        * np.exp(p * (c0 - c1 * pair.bits))
        * (_PARAMETERS[pair.variant_id] / 1e10) ** -g
        for pair in pairs
    }
    return {
        "fit": {
            "command": "python -m advisor.decision.quality_fit",
            "benchmark_pairs": len(rows),
            "weight_only_groups": len(weight_only),
            "relative_spread": round(spread, 3),
        },
        "weight_only": {"a": round(a, 4), "p": round(p, 4), "g": round(g, 4), "c0": round(c0, 4), "c1": round(c1, 4)},
        "activations": {kind: _mean_loss([p for p in pairs if p.kind == kind]) for kind in ("int8", "fp8")},
        "dynamic_share": _dynamic_share([p for p in pairs if p.kind == "gguf-dynamic"], predicted),
        "groups": [
            {
                "variant_id": pair.variant_id,
                "format": pair.format,
                "n": pair.n,
                "loss_logit": round(pair.loss, 3),
                "standard_error": round(pair.error, 3),
                "fitted": round(float(predicted[pair.variant_id, pair.format]), 3)
                if pair.kind in _WEIGHT_ONLY
                else None,
            }
            for pair in pairs
        ],
    }


def _divergence_line(divergence: tuple[tuple[str, float, float], ...]) -> tuple[float, float]:
    """Least squares of log divergence on bits over k-quants and q8_0, above the floor that 16 bit itself shows."""
    floor = min(value for name, _, value in divergence if name == "f16")
    points = [(bits, np.log(value - floor)) for name, bits, value in divergence if "_k" in name or name == "q8_0"]
    design = np.array([[1.0, -bits] for bits, _ in points])
    c0, c1 = np.linalg.lstsq(design, np.array([value for _, value in points]), rcond=None)[0]
    return float(c0), float(c1)


def _pairs(rows: tuple[QuantisedScore, ...], benchmarks: Mapping[str, Benchmark]) -> list[_Pair]:
    groups: dict[tuple[str, str, str, float], list[tuple[float, float]]] = {}
    for row in rows:
        loss = _loss(row, benchmarks[row.benchmark])
        groups.setdefault((row.variant_id, row.format, row.kind, row.bits_per_weight), []).append(loss)
    pairs = []
    for (variant_id, name, kind, bits), losses in groups.items():
        weight = np.array([1 / variance for _, variance in losses])
        mean = float(np.sum(weight * np.array([loss for loss, _ in losses])) / weight.sum())
        pairs.append(_Pair(variant_id, name, kind, bits, mean, float(weight.sum() ** -0.5), len(losses)))
    return pairs


def _loss(row: QuantisedScore, benchmark: Benchmark) -> tuple[float, float]:
    """Loss of log-odds and its variance: repeats where their spread is known, else the number of items."""
    after, noise_after = to_logit(row.score / 100, benchmark)
    before, noise_before = to_logit(row.baseline_score / 100, benchmark)
    if row.score_sd is None or row.baseline_sd is None:
        return before - after, noise_after + noise_before + 0.05**2
    share = row.baseline_score / 100
    item_noise = share * (1 - share) / benchmark.items
    to_logits = noise_before / item_noise
    repeats = ((row.score_sd / 100) ** 2 + (row.baseline_sd / 100) ** 2) / _REPEATS
    return before - after, repeats * to_logits + 0.05**2


def _size_law(pairs: list[_Pair], c0: float, c1: float) -> tuple[float, float, float, float]:
    """`a`, `p`, `g` by weighted least squares, and the relative spread of groups about the law.

    The spread enters the weights, so law and spread are refined in turn; five turns settle both to three digits.
    """
    loss, error = np.array([p.loss for p in pairs]), np.array([p.error for p in pairs])
    damage = np.array([np.exp(c0 - c1 * p.bits) for p in pairs])
    size = np.array([_PARAMETERS[p.variant_id] / 1e10 for p in pairs])
    fitted, spread = np.maximum(loss, 0.01), 0.5
    a, power, g = 1.0, 1.0, 0.0
    for _ in range(5):
        a, power, g = _best_exponents(loss, damage, size, error**2 + (spread * fitted) ** 2)
        fitted = a * damage**power * size**-g
        clear = fitted > 2 * error
        excess = np.maximum((loss - fitted) ** 2 - error**2, 0) / fitted**2
        spread = float(np.sqrt(np.mean(excess[clear])))
    return a, power, g, spread


def _best_exponents(loss: Floats, damage: Floats, size: Floats, variance: Floats) -> tuple[float, float, float]:
    """The exponents on a grid, `a` in closed form for each."""
    best = (np.inf, 0.0, 0.0, 0.0)
    for power in np.arange(0.5, 3.01, 0.05):
        for g in np.arange(0.0, 1.01, 0.05):
            shape = damage**power * size**-g
            a = float(np.sum(shape * loss / variance) / np.sum(shape**2 / variance))
            best = min(best, (float(np.sum((loss - a * shape) ** 2 / variance)), a, float(power), float(g)))
    return best[1], best[2], best[3]


def _mean_loss(pairs: list[_Pair]) -> dict[str, float | int]:
    """Mean loss of formats that quantise activations, never negative, with its standard error."""
    weight = np.array([pair.error**-2 for pair in pairs])
    mean = float(np.sum(weight * np.array([pair.loss for pair in pairs])) / weight.sum())
    return {
        "loss_logit": round(max(0.0, mean), 4),
        "standard_error": round(float(weight.sum() ** -0.5), 4),
        "groups": len(pairs),
    }


def _dynamic_share(pairs: list[_Pair], predicted: Mapping[tuple[str, str], float]) -> dict[str, float | int]:
    """Loss of mixes that spare the sensitive tensors, as a share of what their mean bits alone would cost."""
    fitted = np.array([predicted[pair.variant_id, pair.format] for pair in pairs])
    loss = np.array([pair.loss for pair in pairs])
    return {"share": round(max(0.0, float(loss @ fitted / (fitted @ fitted))), 4), "groups": len(pairs)}
