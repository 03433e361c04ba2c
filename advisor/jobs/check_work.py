"""The picks of a recommendation under simulation, in a process of their own."""

from __future__ import annotations

from collections.abc import Callable

from advisor.decision.finalists import check_finalist, check_finalists
from advisor.decision.recommend import recommend
from advisor.decision.result import FinalistCheck
from advisor.evidence.in_force import known_catalog
from advisor.jobs.messages import ChecksRequest

__all__ = ["checks"]


def checks(request: ChecksRequest, tell: Callable[[float, str, int], None]) -> tuple[FinalistCheck, ...]:
    """One check for each distinct pick, or for the plan that was named. The recommendation is made again here:
    that costs less than to send it."""
    catalog = known_catalog()
    answer = recommend(request.scenario, catalog)

    def progress(share: float) -> None:
        tell(share, "check", 0)

    if not request.plan_id:
        return check_finalists(answer, catalog, progress).checks
    named = [c for c in answer.candidates if c.plan.id == request.plan_id]
    return tuple(check_finalist(answer, candidate, catalog, progress) for candidate in named)
