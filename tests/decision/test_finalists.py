"""The picks under simulation: close to the ranking, quick, cancellable, told in both languages."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from advisor.catalog import Catalog, load_catalog
from advisor.decision.as_json import recommendation_json
from advisor.decision.explain import sentence
from advisor.decision.finalists import agrees, check_finalists, finalist_task
from advisor.decision.recommend import recommend
from advisor.decision.result import Candidate, Recommendation
from advisor.decision.scenarios import load_scenarios
from advisor.serving.capacity import CancelledError
from tests.decision.conftest import make_scenario
from tests.decision.test_recommend import IDS, answer_of


@pytest.mark.parametrize("name", IDS)
def test_the_ranking_is_near_the_simulation(name: str, catalog: Catalog) -> None:
    start = time.process_time()
    answer = check_finalists(answer_of(name), catalog)
    assert time.process_time() - start < 10
    picked = {c.plan.id for c in _picked(answer)}
    assert {check.plan_id for check in answer.checks} == picked
    for check in answer.checks:
        assert check.safe_replicas >= check.replicas >= 1
        assert check.replicas - 2 <= check.ranked_replicas <= 2 * check.replicas + 1
        for found, limit in ((check.tpot_ms, answer.scenario.tpot_ms), (check.e2e_ms, answer.scenario.e2e_ms)):
            assert found is not None
            assert limit is None or found.value <= limit
        if check.ttft_ms is not None and answer.scenario.ttft_ms is not None:
            assert check.ttft_ms.value <= answer.scenario.ttft_ms
        said = {reason.key for reason in check.reasons}
        assert bool(said & {"simulated_agrees", "simulated_near", "simulated_close"}) == check.agrees
        assert ("simulated_agrees" in said) == (check.replicas == check.ranked_replicas)
        assert ("simulated_differs" in said) != check.agrees
        for reason in check.reasons:
            for language in ("en", "zh"):
                assert "{" not in sentence(language, reason)


def test_what_the_server_takes_around_the_engine_counts_in_both(catalog: Catalog) -> None:
    """The ranking's time to the first token has a part that no step explains; the simulated user waits for it too."""
    answer = check_finalists(answer_of("fraud-detection"), catalog)
    candidates = {candidate.plan.id: candidate for candidate in _picked(answer)}
    for check in answer.checks:
        task = finalist_task(candidates[check.plan_id], answer.scenario, catalog)
        assert task is not None
        outside_ms = 1e3 * task.search.costs.outside_s
        assert outside_ms > 1
        assert check.ttft_ms is not None
        assert check.ttft_ms.value > outside_ms
        assert check.ttft_ms.value == pytest.approx(candidates[check.plan_id].ttft_ms.value, rel=0.35)


def test_in_json(catalog: Catalog) -> None:
    answer = check_finalists(answer_of("fraud-detection"), catalog)
    content = recommendation_json(answer)["simulated"]
    assert [item["plan"] for item in content] == [check.plan_id for check in answer.checks]
    assert {name for item in content for name in item["picks"]} == {"best", "cheapest", "fastest", "smallest"}
    assert all(item["tpot_ms"]["low"] <= item["tpot_ms"]["value"] for item in content)


def test_progress_and_cancelling(catalog: Catalog) -> None:
    shares: list[float] = []
    check_finalists(answer_of("fraud-detection"), catalog, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    with pytest.raises(CancelledError):
        check_finalists(answer_of("fraud-detection"), catalog, cancelled=lambda: True)


def test_a_disagreement_is_said(catalog: Catalog) -> None:
    answer = answer_of("customer-service")
    best = answer.picks.best
    assert best is not None
    wrong = replace(best, replicas=10 * best.replicas)
    only = replace(answer, picks=replace(answer.picks, best=wrong, cheapest=None, fastest=None, smallest=None))
    (check,) = check_finalists(only, catalog).checks
    assert not check.agrees
    assert check.reasons[0].key == "simulated_differs"
    assert "disagree" in sentence("en", check.reasons[0])


def test_nothing_to_check(catalog: Catalog) -> None:
    answer = recommend(make_scenario(owned={"jetson-nano-4": 1}, quality_floor=90), catalog)
    assert answer.nothing_fits
    assert check_finalists(answer, catalog).checks == ()


@pytest.mark.parametrize(
    ("ranked", "simulated", "expected"), [(4, 3, True), (5, 3, False), (50, 40, True), (1, 0, False)]
)
def test_agreement_is_a_quarter_or_one(ranked: int, simulated: int, *, expected: bool) -> None:
    assert agrees(ranked, simulated) == expected


def _picked(answer: Recommendation) -> list[Candidate]:
    picks = answer.picks
    return [c for c in (picks.best, picks.cheapest, picks.fastest, picks.smallest) if c is not None]


def test_the_smallest_pick_occupies_the_least_memory(catalog: Catalog) -> None:
    for name in load_scenarios(load_catalog()):
        answer = answer_of(name)
        smallest = answer.picks.smallest
        assert smallest is not None
        rated = [c for c in answer.candidates if c.quality is not None]
        assert _installed(smallest) <= min(_installed(c) for c in rated)


def _installed(candidate: Candidate) -> float:
    plan = candidate.plan
    where = plan.device or plan.host
    return float(where.memory_bytes or 0) * max(1, plan.layout.devices) * plan.replicas
