"""The quality scale: published figures, missing ones, penalties of formats, and the fits behind them."""

from __future__ import annotations

import pytest
import yaml

from advisor.catalog import Catalog
from advisor.catalog.quantity import Basis
from advisor.decision.penalty_fit import fit_penalties
from advisor.decision.quality import benchmarks, format_loss, published_scores, quality, scores_behind, task_quality
from advisor.decision.quality_data import (
    QUALITY_DIR,
    read_benchmarks,
    read_divergence,
    read_quantised,
    read_scores,
    score_from_logit,
    to_logit,
)
from advisor.decision.quality_fit import figures, fit_scale
from advisor.decision.scenario import TaskProfile

MATHS, CODE, CHINESE, GENERAL = TaskProfile


def _value(catalog: Catalog, variant: str, profile: TaskProfile, *, thinking: bool = True) -> float:
    item = catalog.variant(variant)
    found = quality(item, catalog.format(item.native_format), profile, thinking=thinking).quantity
    assert found is not None
    return found.value


def test_published_scores_are_those_of_the_cards(catalog: Catalog) -> None:
    found = {(s.benchmark, s.score) for s in published_scores(catalog.variant("deepseek-r1-distill-qwen-7b"))}
    assert {("math-500", 92.8), ("aime-2024", 55.5), ("gpqa-diamond", 49.1), ("livecodebench-2408-2501", 37.6)} <= found
    assert all(s.source and s.setting for s in read_scores())


def test_scores_behind_a_figure_are_those_of_its_mode(catalog: Catalog) -> None:
    variant = catalog.variant("deepseek-v3.1-terminus")
    found = quality(variant, catalog.format(variant.native_format), MATHS, thinking=False)
    rows = scores_behind(variant, found)
    assert {row.benchmark for row in rows} == set(found.published)
    assert {row.variant_id for row in rows} == {"deepseek-v3.1"}
    assert {row.thinking for row in rows} == {"off"}


def test_a_fully_published_figure_is_the_plain_mean(catalog: Catalog) -> None:
    """DeepSeek-V2-Chat: MMLU 78.2 and 77.8, MMLU-Pro 58.5, GPQA Diamond 35.3 (V3 README, V2 paper)."""
    expected = ((78.2 + 77.8) / 2 + 58.5 + 35.3) / 3
    assert _value(catalog, "deepseek-v2-chat", GENERAL, thinking=False) == pytest.approx(expected, abs=0.01)


def test_larger_distills_are_better_at_everything(catalog: Catalog) -> None:
    sizes = ["1.5b", "7b", "14b"]
    for profile in (MATHS, CODE, GENERAL):
        values = [_value(catalog, f"deepseek-r1-distill-qwen-{size}", profile) for size in sizes]
        assert values == sorted(values)
        assert values[-1] - values[0] > 15


def test_full_models_beat_distilled_ones(catalog: Catalog) -> None:
    for profile in (MATHS, CODE, GENERAL):
        assert _value(catalog, "deepseek-r1", profile) > _value(catalog, "deepseek-r1-distill-llama-70b", profile)


def test_thinking_is_told_apart(catalog: Catalog) -> None:
    variant = catalog.variant("deepseek-v3.1-terminus")
    native = catalog.format(variant.native_format)
    thinking = quality(variant, native, MATHS, thinking=True)
    plain = quality(variant, native, MATHS, thinking=False)
    assert (thinking.mode, plain.mode) == ("on", "off")
    assert thinking.quantity is not None
    assert plain.quantity is not None
    assert thinking.quantity.value > plain.quantity.value + 10
    assert plain.proxy_id == "deepseek-v3.1"
    assert plain.quantity.basis is Basis.EXTRAPOLATED


def test_missing_stays_missing(catalog: Catalog) -> None:
    unpublished = catalog.variant("deepseek-coder-1.3b-instruct")
    assert quality(unpublished, catalog.format("bf16"), CODE, thinking=False).quantity is None
    distill = catalog.variant("deepseek-r1-distill-qwen-14b")
    assert quality(distill, catalog.format("bf16"), CHINESE, thinking=True).quantity is None


def test_a_mix_marks_what_rests_on_links(catalog: Catalog) -> None:
    distill = catalog.variant("deepseek-r1-distill-qwen-14b")
    both = task_quality(distill, catalog.format("bf16"), {GENERAL: 0.6, CHINESE: 0.4}, thinking=True)
    assert both.unpublished == (CHINESE,)
    assert both.quantity is not None
    assert both.quantity.basis is Basis.EXTRAPOLATED
    assert {"c-eval", "cmmlu"} <= set(both.linked)
    mostly = task_quality(distill, catalog.format("bf16"), {GENERAL: 0.2, CHINESE: 0.8}, thinking=True)
    assert mostly.quantity is None


def test_few_published_benchmarks_widen_the_interval(catalog: Catalog) -> None:
    bf16 = catalog.format("bf16")
    few = quality(catalog.variant("deepseek-r1-distill-qwen-14b"), bf16, GENERAL, thinking=True).quantity
    many = quality(catalog.variant("deepseek-r1"), catalog.format("fp8-block"), GENERAL, thinking=True).quantity
    assert few is not None
    assert many is not None
    assert few.high - few.low > 2 * (many.high - many.low)


def test_native_and_wider_formats_cost_nothing(catalog: Catalog) -> None:
    r1, distill = catalog.variant("deepseek-r1"), catalog.variant("deepseek-r1-distill-qwen-7b")
    assert format_loss(r1, catalog.format("fp8-block")).value == 0
    assert format_loss(r1, catalog.format("bf16")).value == 0
    assert format_loss(distill, catalog.format("fp16")).value == 0


def test_fewer_bits_cost_more_and_small_models_pay_more(catalog: Catalog) -> None:
    names = ["gguf-q8_0", "gguf-q5_k_m", "gguf-q4_k_m", "gguf-q3_k_m", "gguf-q2_k"]
    small, large = catalog.variant("deepseek-r1-distill-qwen-1.5b"), catalog.variant("deepseek-r1-distill-llama-70b")
    losses = [format_loss(small, catalog.format(name)).value for name in names]
    assert losses == sorted(losses)
    for name in names:
        loss = format_loss(small, catalog.format(name))
        assert loss.low <= loss.value <= loss.high
        assert loss.value > format_loss(large, catalog.format(name)).value


def test_penalties_agree_with_the_measurements_they_come_from() -> None:
    """Groups whose loss is clear of noise are met within their spread; three-bit on 1.5 B is a disaster."""
    content = fit_penalties(read_quantised(), read_divergence(), read_benchmarks())
    groups = {(g["variant_id"], g["format"]): g for g in content["groups"]}  # type: ignore[attr-defined]
    for name, share in ((("deepseek-v3-0324", "gguf-q2_k_l"), 0.3), (("deepseek-v3", "gguf-q2_k_l"), 0.4)):
        assert groups[name]["fitted"] == pytest.approx(groups[name]["loss_logit"], rel=share)
    assert groups["deepseek-r1-distill-qwen-1.5b", "gptq-w3-g128"]["fitted"] > 0.8
    assert groups["deepseek-r1-distill-qwen-32b", "gguf-q4_k_m"]["fitted"] < 0.03


def test_stored_files_are_what_the_fit_gives() -> None:
    stored = yaml.safe_load((QUALITY_DIR / "penalties.yaml").read_text(encoding="utf-8"))
    assert stored == fit_penalties(read_quantised(), read_divergence(), read_benchmarks())
    known = yaml.safe_load((QUALITY_DIR / "figures.yaml").read_text(encoding="utf-8"))
    scale = fit_scale(read_scores(), read_benchmarks())
    again = figures(scale, read_benchmarks())
    assert again.keys() == known["figures"].keys()
    for system, profiles in again.items():
        for profile, figure in profiles.items():
            assert figure["value"] == pytest.approx(known["figures"][system][profile]["value"], abs=0.02)


def test_linking_errors_are_stated_honestly() -> None:
    scale = fit_scale(read_scores(), read_benchmarks())
    assert scale.loo_rmse[GENERAL] < 8
    assert scale.loo_rmse[CODE] < 10
    assert scale.inflation[MATHS] > 1.2  # reasoning moves competition mathematics more than one ability explains


def test_logits_and_scores_invert() -> None:
    for benchmark in benchmarks().values():
        for score in (0.3, 0.55, 0.9):
            logit, variance = to_logit(score, benchmark)
            assert variance > 0
            assert score_from_logit(logit, benchmark) == pytest.approx(score, abs=1.1 / benchmark.items)


def test_every_score_is_of_a_known_benchmark() -> None:
    assert {score.benchmark for score in read_scores()} <= set(read_benchmarks())
    assert {score.benchmark for score in read_quantised()} <= set(read_benchmarks())
