"""The background check of the picks tells the same as the check in this process."""

from __future__ import annotations

from advisor.catalog import load_catalog
from advisor.decision.finalists import check_finalists
from advisor.decision.recommend import recommend
from advisor.decision.scenarios import load_scenarios
from advisor.jobs.check_work import checks
from advisor.jobs.messages import ChecksRequest


def test_picks_and_one_named_plan() -> None:
    catalog = load_catalog()
    scenario = load_scenarios(catalog)["private-assistant"]
    answer = recommend(scenario, catalog)
    told: list[float] = []
    found = checks(ChecksRequest(scenario), lambda share, phase, number: told.append(share))
    expected = check_finalists(answer, catalog).checks
    assert [(c.plan_id, c.replicas, c.picks) for c in found] == [(c.plan_id, c.replicas, c.picks) for c in expected]
    assert told[-1] == 1.0
    other = next(c for c in answer.candidates if c.plan.id not in {check.plan_id for check in found})
    (named,) = checks(ChecksRequest(scenario, other.plan.id), lambda share, phase, number: None)
    assert named.plan_id == other.plan.id
    assert named.replicas >= 1
