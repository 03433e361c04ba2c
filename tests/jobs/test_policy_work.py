"""Autoscaling on a part of a fleet: how much of it is simulated, and that its shares are those of the whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from advisor.jobs import policy_work
from advisor.jobs.messages import PolicyRequest
from advisor.jobs.policy_work import part_of, policy_report
from advisor.serving.lengths import LengthDistribution
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import ArrivalProcess, RequestClass, Slo, Workload

COSTS = StepCosts((0, 1, 64), (0.02, 0.02, 0.04), 1e-7, 2e-7, 1e-9, 256, 200_000, 16, 512)
DAY = (0.3, 0.3, 0.5, 1.0, 0.9, 0.6)


def traffic(rate_per_s: float, period_s: float = 7200.0) -> Workload:
    arrivals = ArrivalProcess(rate_per_s=rate_per_s, shape=DAY, period_s=period_s)
    lengths = LengthDistribution.fixed(64), LengthDistribution.fixed(32)
    return Workload("w", "w", arrivals, (RequestClass("a", *lengths),))


@pytest.mark.parametrize(
    ("rate", "fleet", "replicas", "shortened"),
    [
        (2.0, 6, 6, 1.0),  # a small fleet as it is
        (100.0, 400, 48, 1.0),  # a large one by a cell
        (600.0, 60, 27, 1.0),  # busy replicas: fewer of them
        (600.0, 4, 4, 2e6 / (600 * 7200)),  # never fewer than 16, or all: the day is shorter
        (10_000.0, 20, 16, 2e6 / (8_000 * 7200)),
    ],
)
def test_a_part_keeps_the_traffic_of_each_replica(rate, fleet, replicas, shortened):
    part = part_of(traffic(rate), fleet)
    assert part.replicas == replicas
    assert part.workload.arrivals.rate_per_s / replicas == pytest.approx(rate / fleet)
    assert part.workload.arrivals.period_s == pytest.approx(7200 * shortened)
    assert part.requests == pytest.approx(part.workload.arrivals.rate_per_s * part.workload.arrivals.period_s, abs=1)


def request(rate: float, fleet: int) -> PolicyRequest:
    slo = Slo(ttft_ms=1000.0, percentile=99.0)
    return PolicyRequest(COSTS, traffic(rate, 1200.0), slo, fleet, (6.0, 12.0), 60.0)


def test_the_shares_of_a_cell_are_those_of_the_fleet(monkeypatch):
    fleet = 64
    asked = request(6.0 * fleet, fleet)
    monkeypatch.setattr(policy_work, "_LARGE_CELL", 16)
    cell = policy_report(asked, lambda *_: None)
    assert (cell.fleet, cell.replicas) == (64, 16)
    monkeypatch.setattr(policy_work, "_LARGE_CELL", fleet)
    whole = policy_report(asked, lambda *_: None)
    assert whole.replicas == fleet
    for part, full in zip(cell.rows, whole.rows, strict=True):
        assert part.paid_share == pytest.approx(full.paid_share, abs=0.06)
        assert part.in_slo_share == pytest.approx(full.in_slo_share, abs=0.02)
        assert full.replica_hours == pytest.approx(4 * part.replica_hours, rel=0.1)


def test_urgent_requests_go_first_under_a_policy_too():
    asked = request(40.0, 6)
    one = asked.workload.classes[0]
    limits = {"now": Slo(ttft_ms=400.0), "later": Slo(ttft_ms=60_000.0)}

    def served(levels: dict[str, int]) -> float:
        classes = tuple(replace(one, name=n, share=0.5, priority=levels[n], slo=limits[n]) for n in limits)
        report = policy_report(replace(asked, workload=replace(asked.workload, classes=classes)), lambda *_: None)
        return report.rows[-1].in_slo_share

    assert 1 - served({"now": 0, "later": 1}) < (1 - served({"now": 0, "later": 0})) / 2
