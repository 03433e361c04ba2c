"""Recommendations: every built-in scenario answered sensibly, limits kept, rejections with their figures."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib import import_module

import pytest

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import DataError
from advisor.catalog.records import DeviceClass
from advisor.decision.as_json import recommendation_json
from advisor.decision.explain import sentence
from advisor.decision.recommend import recommend
from advisor.decision.result import Candidate, Constraint, MixKind, Recommendation
from advisor.decision.scenario import Axis, Hosting, Scenario
from advisor.decision.scenarios import load_scenarios
from advisor.decision.search import Outcome, search
from advisor.decision.space import Space
from tests.decision.conftest import make_scenario

IDS = sorted(load_scenarios(load_catalog()))


@cache
def answer_of(name: str) -> Recommendation:
    catalog = load_catalog()
    return recommend(load_scenarios(catalog)[name], catalog)


def _picks(answer: Recommendation) -> list[Candidate]:
    picks = answer.picks
    return [c for c in (picks.best, picks.cheapest, picks.fastest, picks.smallest) if c is not None]


def _device_class(candidate: Candidate) -> DeviceClass:
    return candidate.plan.device.device_class if candidate.plan.device else DeviceClass.CPU


@pytest.mark.parametrize("name", IDS)
def test_each_grid_is_searched_once(name: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """One grid for the scenario and one for each part of a mix; benchmarks/recommend.py has the time."""
    module, searched = import_module("advisor.decision.recommend"), []

    def counted(space: Space, *arguments: object) -> Outcome:
        searched.append(len(space))
        return search(space, *arguments)

    monkeypatch.setattr(module, "search", counted)
    answer = recommend(load_scenarios(catalog)[name], catalog)
    assert searched[0] == answer.counts.enumerated
    assert len(searched) <= 1 + max((len(mix.pools) for mix in answer.mixes), default=0)


@pytest.mark.parametrize("name", IDS)
def test_every_scenario_has_an_answer_that_keeps_its_limits(name: str) -> None:
    answer = answer_of(name)
    scenario = answer.scenario
    assert not answer.nothing_fits
    assert answer.picks.best is not None
    assert answer.candidates[0] == answer.picks.best
    for candidate in answer.candidates:
        for found, limit in (
            (candidate.ttft_ms, scenario.ttft_ms),
            (candidate.tpot_ms, scenario.tpot_ms),
            (candidate.e2e_ms, scenario.e2e_ms),
        ):
            assert limit is None or found.value <= limit * (1 + 1e-9)
            assert found.low <= found.value <= found.high
        assert candidate.sizing.fits
        if scenario.quality_floor:
            assert candidate.quality is not None
            assert candidate.quality.value >= scenario.quality_floor
        if scenario.budget_capital_usd:
            assert candidate.capital_usd is not None
            assert candidate.capital_usd.value <= scenario.budget_capital_usd
        if scenario.budget_monthly_usd:
            assert candidate.monthly_usd is not None
            assert candidate.monthly_usd.value <= scenario.budget_monthly_usd
        if scenario.max_devices:
            assert max(1, candidate.plan.n_devices) <= scenario.max_devices
        if scenario.device_classes:
            assert _device_class(candidate) in scenario.device_classes


@pytest.mark.parametrize("name", IDS)
def test_picks_are_what_they_say(name: str) -> None:
    answer = answer_of(name)
    rated = [c for c in answer.candidates if c.quality is not None]
    best, cheapest, fastest = answer.picks.best, answer.picks.cheapest, answer.picks.fastest
    assert best is not None
    assert fastest is not None
    assert best.score == max(c.score for c in answer.candidates)
    assert fastest.e2e_ms.value <= min(c.e2e_ms.value for c in rated) * (1 + 1e-9)
    if cheapest is not None:
        assert cheapest.monthly_usd is not None
        known = [c.monthly_usd.value for c in rated if c.monthly_usd is not None]
        assert cheapest.monthly_usd.value <= min(known) * (1 + 1e-9)
    scores = [c.score for c in answer.candidates]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("name", IDS)
def test_every_sentence_reads_in_both_languages(name: str) -> None:
    answer = answer_of(name)
    reasons = [reason for c in answer.candidates for reason in c.reasons]
    reasons += [r for item in answer.rejected for r in (item.reason, *item.remedies)]
    reasons += [r for step in answer.path for r in step.counterfactuals]
    reasons += [r for mix in answer.mixes for r in mix.reasons]
    assert reasons
    for reason in reasons:
        for language in ("en", "zh"):
            text = sentence(language, reason)
            assert "{" not in text
            assert "nan" not in text.split()
            assert "inf" not in text.split()


@pytest.mark.parametrize("name", IDS)
def test_json_is_plain_and_complete(name: str) -> None:
    answer = answer_of(name)
    content = json.loads(json.dumps(recommendation_json(answer, top=3), allow_nan=False))
    assert len(content["candidates"]) == min(3, len(answer.candidates))
    first = content["candidates"][0]
    for key in ("ttft_ms", "tpot_ms", "e2e_ms", "output_tok_s"):
        assert set(first[key]) == {"value", "low", "high", "basis"}
    assert content["leaf"]["id"] == answer.leaf.id
    assert content["counts"]["enumerated"] == answer.counts.enumerated


def test_counts_add_up() -> None:
    for name in IDS:
        counts = answer_of(name).counts
        assert counts.accepted + sum(counts.rejected.values()) == counts.enumerated


def test_phone_and_edge_scenarios_stay_on_their_devices() -> None:
    for candidate in answer_of("mobile-question-answering").candidates:
        assert _device_class(candidate) is DeviceClass.PHONE
    for name in ("industrial-inspection", "farm-advisory"):
        for candidate in answer_of(name).candidates:
            assert _device_class(candidate) is DeviceClass.EDGE
            assert candidate.plan.device is not None
            assert candidate.plan.device.tdp_w is not None
            assert candidate.plan.device.tdp_w <= (answer_of(name).scenario.power_limit_w or 0)


def test_patient_data_never_leaves_the_house() -> None:
    for name in ("medical-records", "financial-risk-control", "code-assistant"):
        answer = answer_of(name)
        assert answer.scenario.hosting is Hosting.ON_PREMISES
        for candidate in answer.candidates:
            assert candidate.money.rent_monthly_usd is None
            assert not any(reason.key == "cost_rented" for reason in candidate.reasons)


def test_frontier_research_gets_a_full_model_with_enough_memory() -> None:
    best = answer_of("frontier-research").picks.best
    assert best is not None
    assert best.plan.variant.role == "full"
    assert best.quality is not None
    assert best.quality.value >= 80
    assert best.sizing.per_device.total_bytes <= best.sizing.per_device.usable_bytes


def test_the_smallest_model_does_not_always_win() -> None:
    winners = {answer_of(name).picks.best.plan.variant.id for name in IDS if answer_of(name).picks.best}  # type: ignore[union-attr]
    assert len(winners) >= 4
    assert "deepseek-coder-1.3b-instruct" not in winners
    chat = answer_of("multi-turn-chat")
    assert chat.picks.best is not None
    assert chat.picks.cheapest is not None
    assert chat.picks.best.quality is not None
    assert chat.picks.cheapest.quality is not None
    assert chat.picks.best.quality.value > chat.picks.cheapest.quality.value


def test_strict_deadlines_are_met_without_a_chain_of_thought() -> None:
    for name in ("financial-risk-control", "fraud-detection"):
        for candidate in answer_of(name).candidates:
            assert not candidate.plan.variant.always_reasons
            assert candidate.e2e_ms.value <= (answer_of(name).scenario.e2e_ms or 0)


def test_heavy_traffic_gets_replicas_and_a_mix() -> None:
    answer = answer_of("customer-service")
    best = answer.picks.best
    assert best is not None
    assert best.plan.n_devices > 1
    assert (best.replicas == 1) == any(reason.key == "no_spare" for reason in best.reasons)
    assert best.utilisation <= 0.91
    (mix,) = answer.mixes
    assert mix.kind is MixKind.TIERS
    assert sum(pool.share for pool in mix.pools) == pytest.approx(1)
    easy, hard = (pool.candidate.quality for pool in mix.pools)
    assert easy is not None
    assert hard is not None
    assert hard.value > easy.value
    assert mix.quality is not None
    assert easy.value < mix.quality.value < hard.value


def test_edge_with_a_central_model() -> None:
    (mix,) = answer_of("industrial-inspection").mixes
    assert mix.kind is MixKind.EDGE_CENTRAL
    assert [pool.role for pool in mix.pools] == ["edge", "central"]
    assert mix.pools[0].share == pytest.approx(0.8)
    edge, central = (pool.candidate for pool in mix.pools)
    assert _device_class(central) is not DeviceClass.EDGE
    assert edge.plan.variant.id != central.plan.variant.id
    assert edge.quality is not None
    assert central.quality is not None
    assert central.quality.value > edge.quality.value


def test_plans_outside_the_leaf_are_marked() -> None:
    for name in IDS:
        answer = answer_of(name)
        for candidate in answer.candidates:
            inside = (
                candidate.plan.variant.family in answer.leaf.families
                and candidate.plan.format.family in answer.leaf.formats
            )
            assert candidate.in_leaf == inside
            assert inside != any(reason.key == "outside_leaf" for reason in candidate.reasons)


def test_r1_in_fp8_does_not_fit_eight_h100_and_says_what_would(catalog: Catalog) -> None:
    scenario = make_scenario(
        owned={"h100-sxm": 8}, variants=["deepseek-r1"], formats=["fp8-block"], context_tokens=8192
    )
    answer = recommend(scenario, catalog)
    assert answer.nothing_fits
    miss = answer.nearest_misses[0].rejection
    assert miss.constraint is Constraint.MEMORY
    need, have = float(miss.reason.values["need_gib"]), float(miss.reason.values["have_gib"])
    assert need > 626.9  # 673.1 GB of weights alone
    assert have == pytest.approx(8 * 85_018_877_624 / 2**30, rel=1e-6)
    assert miss.reason.values["count"] == 8
    remedies = [sentence("en", remedy) for remedy in miss.remedies]
    assert any("more devices (16 in all)" in text for text in remedies)
    assert any(remedy.key == "remedy_other_format" for remedy in miss.remedies)
    assert any("DeepSeek R1 Distill" in text for text in remedies)
    assert answer.nearest_misses[0].excess == pytest.approx(need / have, rel=1e-3)


def test_four_bits_fit_where_eight_do_not(catalog: Catalog) -> None:
    answer = recommend(make_scenario(owned={"h100-sxm": 8}, variants=["deepseek-r1"], context_tokens=8192), catalog)
    assert not answer.nothing_fits
    assert all(c.plan.format.bits_per_weight < 8 for c in answer.candidates)
    rejected = {item.plan.format.id for item in answer.rejected if item.constraint is Constraint.MEMORY}
    assert "fp8-block" in rejected


def test_owned_devices_cost_only_electricity(catalog: Catalog) -> None:
    answer = recommend(make_scenario(owned={"rtx-4090": 2}), catalog)
    for candidate in answer.candidates:
        assert candidate.plan.n_devices <= 2
        assert candidate.capital_usd is not None
        assert candidate.capital_usd.value == 0
        assert candidate.monthly_usd == candidate.money.electricity_monthly_usd


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"budget_capital_usd": 100, "device_classes": ["consumer_gpu"]}, "relax_capital"),
        ({"power_limit_w": 3, "device_classes": ["edge"]}, "relax_power"),
        ({"quality_floor": 99, "devices": ["h200-sxm"]}, "relax_quality"),
        ({"requests_per_s": 5, "e2e_ms": 3, "output_tokens": 10, "devices": ["rtx-4090"]}, "relax_e2e"),
        ({"requests_per_s": 1e4, "owned": {"h100-sxm": 8}}, "relax_devices"),
    ],
)
def test_nothing_fits_names_the_single_change_that_helps(fields: dict[str, object], key: str, catalog: Catalog) -> None:
    scenario = make_scenario(**fields)
    answer = recommend(scenario, catalog)
    assert answer.nothing_fits
    misses = [miss for miss in answer.nearest_misses if miss.relaxation.key == key]
    assert misses
    assert all(miss.excess > 1 for miss in answer.nearest_misses)
    limits = {
        "relax_capital": "budget_capital_usd",
        "relax_power": "power_limit_w",
        "relax_quality": "quality_floor",
        "relax_e2e": "e2e_ms",
    }
    if key in limits:
        relaxed = replace(scenario, **{limits[key]: float(misses[0].relaxation.values["value"])})
        found = recommend(relaxed, catalog)
        assert any(c.plan.variant.id == misses[0].rejection.plan.variant.id for c in found.candidates)


def test_a_longer_limit_is_offered_where_more_devices_are_not_allowed(catalog: Catalog) -> None:
    """One small board answers every question in time only if it may take longer; a second one would draw too much."""
    scenario = replace(load_scenarios(catalog)["farm-advisory"], e2e_ms=120_000.0)
    answer = recommend(scenario, catalog)
    assert answer.nothing_fits
    nearest = answer.nearest_misses[0]
    assert nearest.rejection.constraint is Constraint.DEVICES
    assert nearest.relaxation.key == "relax_e2e"
    longer = float(nearest.relaxation.values["value"])
    assert nearest.excess == pytest.approx(longer / 120_000)
    found = recommend(replace(scenario, e2e_ms=longer), catalog)
    assert [c.plan.variant.id for c in found.candidates] == [nearest.rejection.plan.variant.id]
    assert recommend(replace(scenario, e2e_ms=longer - 1_000), catalog).nothing_fits


def test_unknown_prices_stay_unknown() -> None:
    unpriced = [c for name in IDS for c in answer_of(name).candidates if c.monthly_usd is None]
    assert unpriced
    for candidate in unpriced:
        assert candidate.axis_scores[Axis.COST] == 0
        assert candidate.per_million_tokens_usd is None


def test_unknown_ids_are_refused(catalog: Catalog) -> None:
    with pytest.raises(DataError, match="rtx-4090"):
        recommend(make_scenario(devices=["rtx-4009"]), catalog)
    with pytest.raises(DataError):
        recommend(make_scenario(variants=["deepseek-r2"]), catalog)


LOOSER = [
    ("multi-turn-chat", "ttft_ms", 1.5),
    ("multi-turn-chat", "tpot_ms", 1.5),
    ("financial-risk-control", "e2e_ms", 1.5),
    ("medical-records", "budget_capital_usd", 2.0),
    ("mathematics-tutoring", "budget_monthly_usd", 2.0),
    ("industrial-inspection", "power_limit_w", 2.0),
    ("cpu-office", "quality_floor", 0.5),
]


@pytest.mark.parametrize(("name", "field", "factor"), LOOSER)
def test_looser_limits_never_remove_plans_nor_worsen_the_best(
    name: str, field: str, factor: float, catalog: Catalog, scenarios: dict[str, Scenario]
) -> None:
    before = answer_of(name)
    scenario = scenarios[name]
    weighed = replace(scenario, weights=before.leaf.weights)  # so that the tree cannot change the scale
    looser = replace(weighed, **{field: getattr(scenario, field) * factor})
    tight, loose = recommend(weighed, catalog), recommend(looser, catalog)
    assert loose.counts.accepted >= tight.counts.accepted
    assert tight.picks.best is not None
    assert loose.picks.best is not None
    if loose.leaf.id == tight.leaf.id:
        assert loose.picks.best.score >= tight.picks.best.score - 1e-9


def test_more_traffic_never_needs_fewer_devices(catalog: Catalog) -> None:
    """The cheapest fleet of one model on one device grows with the rate."""
    devices = []
    for rate in (1, 10, 100, 1000):
        scenario = make_scenario(
            requests_per_s=rate,
            variants=["deepseek-r1-distill-qwen-7b"],
            formats=["bf16"],
            engines=["vllm"],
            devices=["h100-sxm"],
            tpot_ms=50,
        )
        cheapest = recommend(scenario, catalog).picks.cheapest
        assert cheapest is not None
        devices.append(cheapest.plan.n_devices)
    assert devices == sorted(devices)
    assert devices[-1] > 20 * devices[0]


def test_answers_do_not_depend_on_the_run(catalog: Catalog, scenarios: dict[str, Scenario]) -> None:
    again = recommend(scenarios["private-assistant"], catalog)
    assert [c.plan.id for c in again.candidates] == [c.plan.id for c in answer_of("private-assistant").candidates]
