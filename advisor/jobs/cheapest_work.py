"""The search of the cheapest plan, as figures for a page."""

from __future__ import annotations

from collections.abc import Callable

from advisor.decision.cheapest import Finalist, cheapest_plans
from advisor.decision.scenario_form import scenario_from_token
from advisor.evidence.in_force import known_catalog
from advisor.jobs.answers import CheapestReport, CheapestRow
from advisor.jobs.messages import CheapestRequest
from advisor.report.rows import plan_title
from advisor.serving.limits import Limit

__all__ = ["cheapest_report"]


def cheapest_report(request: CheapestRequest, tell: Callable[[float, str, int], None]) -> CheapestReport:
    """In this process alone, so that cancelling ends all of it. Raises FathomError."""
    tell(0.0, "rank", request.finalists)
    scenario = scenario_from_token(request.token)

    def progress(share: float) -> None:
        tell(0.1 + 0.9 * share, "finalists", round(share * request.finalists))

    found = cheapest_plans(scenario, known_catalog(), most=request.finalists, workers=0, progress=progress)
    return CheapestReport(tuple(_row(finalist) for finalist in found), scenario.percentile)


def _row(finalist: Finalist) -> CheapestRow:
    candidate, row = finalist.candidate, finalist.row
    plan = candidate.plan
    place = plan.device or plan.host
    each = max(1, plan.layout.devices)
    return CheapestRow(
        plan_id=plan.id,
        title=f"{plan_title(plan)} · {plan.engine.name}",
        feasible=finalist.feasible,
        devices=each * (row.safe_replicas if row else 0),
        device_name=place.name if place else "",
        ranked_replicas=candidate.replicas,
        replicas=row.replicas if row else 0,
        safe_replicas=row.safe_replicas if row else 0,
        if_slower=dict(row.at_step_factor).get(1.1, 0) if row else 0,
        agrees=finalist.agrees,
        binding=row.binding if row else Limit.CACHE,
        next_binding=row.next_binding if row else None,
        ttft_ms=row.ttft_ms if row and row.ttft_is_quotable else None,
        tpot_ms=row.tpot_ms if row else float("nan"),
        e2e_ms=row.e2e_ms if row else float("nan"),
        monthly_usd=finalist.monthly_usd,
        capital_usd=finalist.capital_usd,
        power_w=finalist.power_w,
        quality=candidate.quality,
        tpot_basis=candidate.tpot_ms,
    )
