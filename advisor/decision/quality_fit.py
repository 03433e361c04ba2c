"""Fits the quality scale and the penalty of formats to published scores; writes `data/quality/*.yaml`.

Run: `python -m advisor.decision.quality_fit`. Nothing in the two files is typed by hand.

The scale: variants were published on different benchmarks, so figures are linked by a Rasch model,
log-odds(score) = ability(system) + offset(system, profile) - difficulty(benchmark) + error, solved as a Bayesian
linear model whose two spreads (error, offset) maximise the marginal likelihood. The figure of a profile is the mean
over its reference benchmarks of the published score where there is one, else of the linked score. Linked scores carry
the posterior spread, inflated per profile until leave-one-out errors agree with it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from advisor.decision.penalty_fit import fit_penalties
from advisor.decision.quality_data import (
    QUALITY_DIR,
    Benchmark,
    Score,
    read_benchmarks,
    read_divergence,
    read_quantised,
    read_scores,
    score_from_logit,
    to_logit,
)
from advisor.decision.scenario import TaskProfile

__all__ = ["Scale", "figures", "fit_scale", "main"]

Floats = NDArray[np.float64]
Z90 = 1.645
_ABILITY_SD, _DIFFICULTY_SD = 3.0, 4.0  # weak priors: far wider than any spread in the data
_ERROR_GRID = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
_OFFSET_GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)


@dataclass(frozen=True, slots=True)
class Scale:
    """The fitted model. Parameters: abilities, offsets (system-major), difficulties; with posterior `covariance`."""

    systems: tuple[str, ...]
    benchmarks: tuple[str, ...]
    parameters: Floats
    covariance: Floats
    error_sd: float
    offset_sd: float
    setting_sd: float  # per cent, between published settings of one system and benchmark
    inflation: Mapping[TaskProfile, float]
    loo_rmse: Mapping[TaskProfile, float]  # points, reference benchmarks left out one at a time
    published: Mapping[tuple[str, str], float]  # (system, benchmark) -> mean score, per cent


def fit_scale(scores: tuple[Score, ...], benchmarks: Mapping[str, Benchmark]) -> Scale:
    """Spreads by marginal likelihood, parameters by the posterior mean, inflation by leave-one-out."""
    published, setting_sd = _published(scores)
    keys = sorted(published)
    systems = tuple(sorted({system for system, _ in keys}))
    names = tuple(sorted({name for _, name in keys}))
    design = _design(keys, systems, names, benchmarks)
    logits = np.array([to_logit(published[key] / 100, benchmarks[key[1]]) for key in keys])
    values, noise = logits[:, 0], logits[:, 1]
    error_sd, offset_sd = max(
        ((e, o) for e in _ERROR_GRID for o in _OFFSET_GRID),
        key=lambda pair: _log_likelihood(design, values, noise, _priors(len(systems), len(names), pair[1]), pair[0]),
    )
    priors = _priors(len(systems), len(names), offset_sd)
    precision = 1 / (noise + error_sd**2)
    covariance = np.asarray(np.linalg.inv((design * precision[:, None]).T @ design + np.diag(1 / priors)), np.float64)
    parameters: Floats = covariance @ (design.T @ (precision * values))
    inflation, rmse = _leave_one_out(design, values, noise + error_sd**2, priors, keys, benchmarks, published)
    return Scale(systems, names, parameters, covariance, error_sd, offset_sd, setting_sd, inflation, rmse, published)


def figures(scale: Scale, benchmarks: Mapping[str, Benchmark]) -> dict[str, dict[str, dict[str, object]]]:
    """system -> profile -> {value, low, high, published, linked}, per cent."""
    return {
        system: {str(profile): _figure(scale, benchmarks, system, profile) for profile in TaskProfile}
        for system in scale.systems
    }


def main(folder: Path = QUALITY_DIR) -> None:
    """Re-fits and writes figures.yaml and penalties.yaml."""
    benchmarks = read_benchmarks(folder)
    scale = fit_scale(read_scores(folder), benchmarks)
    _write(
        folder / "figures.yaml",
        {
            "fit": {
                "command": "python -m advisor.decision.quality_fit",
                "scores": len(scale.published),
                "systems": len(scale.systems),
                "error_sd_logit": scale.error_sd,
                "offset_sd_logit": scale.offset_sd,
                "setting_sd_points": round(scale.setting_sd, 3),
                "interval_inflation": {str(key): round(value, 3) for key, value in scale.inflation.items()},
                "leave_one_out_rmse_points": {str(key): round(value, 2) for key, value in scale.loo_rmse.items()},
            },
            "figures": figures(scale, benchmarks),
        },
    )
    _write(folder / "penalties.yaml", fit_penalties(read_quantised(folder), read_divergence(folder), benchmarks))


def _published(scores: tuple[Score, ...]) -> tuple[dict[tuple[str, str], float], float]:
    """Mean score per (system, benchmark), and the pooled spread between settings in points."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in scores:
        groups.setdefault((f"{row.variant_id}@{row.thinking}", row.benchmark), []).append(row.score)
    squares = [(len(v) - 1, float(np.var(v, ddof=1))) for v in groups.values() if len(v) > 1]
    pooled = np.sqrt(sum(n * s for n, s in squares) / sum(n for n, _ in squares)) if squares else 0.0
    return {key: float(np.mean(v)) for key, v in groups.items()}, float(pooled)


def _design(
    keys: list[tuple[str, str]],
    systems: tuple[str, ...],
    names: tuple[str, ...],
    benchmarks: Mapping[str, Benchmark],
) -> Floats:
    design = np.zeros((len(keys), len(systems) * (1 + len(TaskProfile)) + len(names)))
    for row, (system, name) in enumerate(keys):
        design[row] = _row(systems, names, systems.index(system), benchmarks[name].profile, names.index(name))
    return design


def _row(systems: tuple[str, ...], names: tuple[str, ...], s: int, profile: TaskProfile, b: int) -> Floats:
    profiles = list(TaskProfile)
    row = np.zeros(len(systems) * (1 + len(profiles)) + len(names))
    row[s] = 1
    row[len(systems) + s * len(profiles) + profiles.index(profile)] = 1
    row[len(systems) * (1 + len(profiles)) + b] = -1
    return row


def _priors(n_systems: int, n_benchmarks: int, offset_sd: float) -> Floats:
    """Prior variances of the parameters."""
    sizes = (n_systems, n_systems * len(TaskProfile), n_benchmarks)
    return np.repeat(np.square([_ABILITY_SD, offset_sd, _DIFFICULTY_SD]), sizes)


def _log_likelihood(design: Floats, values: Floats, noise: Floats, priors: Floats, error_sd: float) -> float:
    kernel = (design * priors) @ design.T + np.diag(noise + error_sd**2)
    lower = np.linalg.cholesky(kernel)
    white = np.linalg.solve(lower, values)
    return float(-0.5 * white @ white - np.log(np.diag(lower)).sum())


def _leave_one_out(
    design: Floats,
    values: Floats,
    variance: Floats,
    priors: Floats,
    keys: list[tuple[str, str]],
    benchmarks: Mapping[str, Benchmark],
    published: Mapping[tuple[str, str], float],
) -> tuple[dict[TaskProfile, float], dict[TaskProfile, float]]:
    """Closed-form leave-one-out of a Gaussian model (Rasmussen & Williams, eq. 5.12)."""
    inverse = np.linalg.inv((design * priors) @ design.T + np.diag(variance))
    spread = np.sqrt(1 / np.diag(inverse))
    predicted = values - (inverse @ values) * spread**2
    inflation, rmse = {}, {}
    for profile in TaskProfile:
        rows = [
            i for i, (_, name) in enumerate(keys) if benchmarks[name].reference and benchmarks[name].profile == profile
        ]
        errors = [score_from_logit(predicted[i], benchmarks[keys[i][1]]) * 100 - published[keys[i]] for i in rows]
        scaled = [(values[i] - predicted[i]) / spread[i] for i in rows]
        inflation[profile] = max(1.0, float(np.sqrt(np.mean(np.square(scaled)))))
        rmse[profile] = float(np.sqrt(np.mean(np.square(errors))))
    return inflation, rmse


def _figure(scale: Scale, benchmarks: Mapping[str, Benchmark], system: str, profile: TaskProfile) -> dict[str, object]:
    """Sampling and setting errors of published scores are independent; linked errors share the ability, so they add."""
    reference = [item for item in benchmarks.values() if item.reference and item.profile == profile]
    values, variance, linked_spread = [], 0.0, 0.0
    for item in reference:
        score = scale.published.get((system, item.id))
        if score is None:
            score, spread = _linked(scale, benchmarks[item.id], system)
            linked_spread += spread
        else:
            variance += score * (100 - score) / item.items + scale.setting_sd**2
        values.append(score)
    n = len(reference)
    half = Z90 * (variance**0.5 + linked_spread) / n
    value = float(np.mean(values))
    in_profile = [name for (owner, name) in scale.published if owner == system and benchmarks[name].profile == profile]
    return {
        "value": round(value, 2),
        "low": round(max(0.0, value - half), 2),
        "high": round(min(100.0, value + half), 2),
        "published": sorted(in_profile),
        "linked": sorted(item.id for item in reference if item.id not in in_profile),
    }


def _linked(scale: Scale, benchmark: Benchmark, system: str) -> tuple[float, float]:
    """Expected score (per cent) on a benchmark that the system was not published on, and its standard deviation."""
    row = _row(
        scale.systems,
        scale.benchmarks,
        scale.systems.index(system),
        benchmark.profile,
        scale.benchmarks.index(benchmark.id),
    )
    logit = float(row @ scale.parameters)
    spread = float(row @ scale.covariance @ row + scale.error_sd**2) ** 0.5 * scale.inflation[benchmark.profile]
    ends = [score_from_logit(logit + step * spread, benchmark) for step in (-1, 0, 1)]
    return 100 * ends[1], 50 * (ends[2] - ends[0])


def _write(path: Path, content: Mapping[str, object]) -> None:
    head = "# Written by `python -m advisor.decision.quality_fit`; do not edit.\n"
    body = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    path.write_text(head + body, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else QUALITY_DIR)
