"""Quality of a variant in a format for a task, 0 to 100, from published scores (fitted by `quality_fit`).

A profile's figure is the mean over its reference benchmarks, in per cent: mathematics MATH-500, AIME 2024, AIME 2025;
code HumanEval, LiveCodeBench, Aider Polyglot; Chinese knowledge C-Eval, CMMLU, Chinese SimpleQA; general reasoning
MMLU, MMLU-Pro, GPQA Diamond. Benchmarks that a variant was not published on are linked through the others and widen
the interval; they are listed in `linked`. A variant without a score in a profile has no figure there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from typing import Any

from advisor.catalog.errors import DataError
from advisor.catalog.files import DataFile, read_yaml
from advisor.catalog.formats import Format
from advisor.catalog.quantity import Basis, Quantity
from advisor.catalog.records import Variant
from advisor.decision.quality_data import QUALITY_DIR, Benchmark, Score, read_benchmarks, read_scores
from advisor.decision.scenario import TaskProfile
from advisor.sizing.profile import profile

__all__ = [
    "Loss",
    "Quality",
    "benchmarks",
    "format_loss",
    "has_thinking",
    "published_scores",
    "quality",
    "scores_behind",
    "task_quality",
]

MIN_PUBLISHED_SHARE = 1 / 3  # of a task's weight that must rest on profiles with published scores
_Z90 = 1.645
_UNQUANTISED = frozenset({"16bit", "32bit", "gguf-16"})


@dataclass(frozen=True, slots=True)
class Loss:
    """What a format costs, in log-odds of a correct answer, with its 90 % interval."""

    value: float
    low: float
    high: float
    measured: bool  # False: the law is used for a kind of format that nobody published


@dataclass(frozen=True, slots=True)
class Quality:
    """`quantity` is None where too little was published. `unpublished`: profiles that rest on links alone."""

    quantity: Quantity | None
    published: tuple[str, ...]  # benchmark ids
    linked: tuple[str, ...]
    unpublished: tuple[TaskProfile, ...]
    mode: str  # off | on | max: the kind of thinking that the scores are for
    loss: Loss
    proxy_id: str = ""  # the earlier release whose scores stand in, where this one has none in this mode


_NO_LOSS = Loss(0.0, 0.0, 0.0, True)
_REFRESH = re.compile(r"\d{4}|terminus|dspark")  # suffixes of later releases of the same architecture


@dataclass(frozen=True, slots=True)
class _Law:
    """Coefficients of `penalty_fit`; `activations`: kind -> (loss, standard error)."""

    a: float
    p: float
    g: float
    c0: float
    c1: float
    relative_spread: float
    dynamic_share: float
    activations: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Figure:
    value: float
    low: float
    high: float
    published: tuple[str, ...]
    linked: tuple[str, ...]


def quality(variant: Variant, model_format: Format, task_profile: TaskProfile, *, thinking: bool) -> Quality:
    """Figure of one profile. None inside: no benchmark of this profile was published for the variant."""
    return task_quality(variant, model_format, {task_profile: 1.0}, thinking=thinking)


def task_quality(
    variant: Variant, model_format: Format, task: Mapping[TaskProfile, float], *, thinking: bool
) -> Quality:
    """Mean over the task's profiles, by weight. Interval ends are averaged too: errors of profiles are related."""
    loss = format_loss(variant, model_format)
    scored, mode = _scored_release(variant, task, thinking=thinking)
    figures = _figures().get(f"{scored}@{mode}")
    if figures is None:
        return Quality(None, (), (), tuple(task), mode, loss)
    proxy = "" if scored == variant.id else scored
    unpublished = tuple(profile for profile in task if not figures[profile].published)
    published = tuple(name for profile in task for name in figures[profile].published)
    linked = tuple(name for profile in task for name in figures[profile].linked)
    total = sum(task.values())
    if _published_share(figures, task) < MIN_PUBLISHED_SHARE:
        return Quality(None, published, linked, unpublished, mode, loss, proxy)
    parts = [(weight / total, figures[profile]) for profile, weight in task.items()]
    quantity = Quantity(
        value=sum(share * _shift(figure.value, loss.value) for share, figure in parts),
        low=sum(share * _shift(figure.low, loss.high) for share, figure in parts),
        high=sum(share * _shift(figure.high, loss.low) for share, figure in parts),
        basis=Basis.EXTRAPOLATED if unpublished or proxy else Basis.ESTIMATED,
        source="data/quality",
    )
    return Quality(quantity, published, linked, unpublished, mode, loss, proxy)


def has_thinking(variant: Variant) -> bool:
    """Whether scores with a chain of thought were published for it."""
    return any(f"{name}@{mode}" in _figures() for name in _releases(variant) for mode in ("on", "max"))


def published_scores(variant: Variant) -> tuple[Score, ...]:
    """Every published score of a variant, with setting, date and source."""
    return _scores().get(variant.id, ())


def scores_behind(variant: Variant, found: Quality) -> tuple[Score, ...]:
    """The published scores that a figure rests on: of its benchmarks, in its mode, of the release that was scored."""
    rows = _scores().get(found.proxy_id or variant.id, ())
    return tuple(row for row in rows if row.benchmark in found.published and row.thinking == found.mode)


@lru_cache(maxsize=1)
def benchmarks() -> Mapping[str, Benchmark]:
    return read_benchmarks()


@lru_cache(maxsize=4096)
def format_loss(variant: Variant, model_format: Format) -> Loss:
    """Loss against the published format: the fitted law on bits and size, plus activations where quantised."""
    if model_format.id == variant.native_format or model_format.family in _UNQUANTISED:
        return _NO_LOSS
    if model_format.family == "fp8" and not variant.native_format.endswith(("bf16", "fp16")):
        return _NO_LOSS  # as many bits as the publisher used, or more
    law = _law()
    size = variant.published.get("total_params") or profile(variant.architecture, model_format).total_params
    value = law.a * exp(law.c0 - law.c1 * model_format.bits_per_weight) ** law.p * float((size / 1e10) ** -law.g)
    if "-ud-" in model_format.id:
        value *= law.dynamic_share
    extra, error = law.activations.get(_activation_kind(model_format), (0.0, 0.0))
    half = _Z90 * (law.relative_spread * value + error)
    value += extra
    return Loss(value, max(0.0, value - half), value + half, model_format.family != "fp4")


def _activation_kind(model_format: Format) -> str:
    """Formats whose activations are quantised too; FP4 compute is charged as FP8, the nearest that was measured."""
    if model_format.weight_only or model_format.gguf is not None:
        return ""
    return "int8" if model_format.family == "int8" else "fp8"


def _scored_release(variant: Variant, task: Mapping[TaskProfile, float], *, thinking: bool) -> tuple[str, str]:
    """(variant id, mode) of the figures to use: the variant's own, else those of a release that it refreshes,
    whichever first covers enough of the task; else the first that exists."""
    modes = ("on", "max", "off") if thinking or variant.always_reasons else ("off",)
    found = [(name, mode) for name in _releases(variant) for mode in modes if f"{name}@{mode}" in _figures()]
    for name, mode in found:
        if _published_share(_figures()[f"{name}@{mode}"], task) >= MIN_PUBLISHED_SHARE:
            return name, mode
    return found[0] if found else (variant.id, modes[0])


def _published_share(figures: Mapping[TaskProfile, _Figure], task: Mapping[TaskProfile, float]) -> float:
    return sum(weight for profile, weight in task.items() if figures[profile].published) / sum(task.values())


def _releases(variant: Variant) -> list[str]:
    """The variant and the scored releases that it refreshes (v4-flash-0731 of v4-flash), nearest first."""
    earlier = [
        name
        for name in _owners()
        if variant.id.startswith(f"{name}-") and _REFRESH.fullmatch(variant.id.removeprefix(f"{name}-"))
    ]
    return [variant.id, *sorted(earlier, key=len, reverse=True)]


@lru_cache(maxsize=1)
def _owners() -> frozenset[str]:
    return frozenset(system.partition("@")[0] for system in _figures())


def _shift(score: float, loss: float) -> float:
    """A score in per cent after a loss in log-odds."""
    share = min(max(score / 100, 0.001), 0.999)
    return score if loss == 0 else 100 / (1 + exp(-(log(share / (1 - share)) - loss)))


@lru_cache(maxsize=1)
def _figures() -> Mapping[str, Mapping[TaskProfile, _Figure]]:
    content = _yaml("figures.yaml")["figures"]
    return {
        system: {
            TaskProfile(name): _Figure(f["value"], f["low"], f["high"], tuple(f["published"]), tuple(f["linked"]))
            for name, f in profiles.items()
        }
        for system, profiles in content.items()
    }


@lru_cache(maxsize=1)
def _law() -> _Law:
    content = _yaml("penalties.yaml")
    activations = {kind: (v["loss_logit"], v["standard_error"]) for kind, v in content["activations"].items()}
    spread, share = content["fit"]["relative_spread"], content["dynamic_share"]["share"]
    return _Law(**content["weight_only"], relative_spread=spread, dynamic_share=share, activations=activations)


@lru_cache(maxsize=1)
def _scores() -> Mapping[str, tuple[Score, ...]]:
    found: dict[str, list[Score]] = {}
    for score in read_scores():
        found.setdefault(score.variant_id, []).append(score)
    return {key: tuple(rows) for key, rows in found.items()}


def _yaml(name: str) -> dict[str, Any]:
    path = QUALITY_DIR / name
    content = read_yaml(DataFile(path, f"data/quality/{name}", True))
    if not isinstance(content, dict):
        raise DataError(path.name, "", "", "a mapping")
    return content
