"""The picks again, by simulation: how many replicas it asks for, at what latency, and whether the ranking agrees.

Every request has the lengths that the scenario states; the peak is simulated, with three seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from advisor.catalog.catalog import Catalog
from advisor.catalog.quantity import Quantity
from advisor.decision.curves import SLOTS
from advisor.decision.result import Candidate, FinalistCheck, Picks, Reason, Recommendation
from advisor.decision.scenario import Scenario
from advisor.decision.simulated_traffic import scenario_workload
from advisor.serving.capacity import CapacityAnswer, Progress, find_replicas
from advisor.serving.plan_costs import ServingPlan, serving_plan
from advisor.serving.step_costs import StepCosts
from advisor.serving.sweep import SweepTask
from advisor.serving.trial import Window
from advisor.serving.workload import Slo

__all__ = ["PICKS", "FinalistTask", "agrees", "check_finalist", "check_finalists", "finalist_task"]

PICKS = ("best", "cheapest", "fastest", "smallest")
_SOURCE = "simulation on the step model"


@dataclass(frozen=True, slots=True)
class FinalistTask:
    """The search of a candidate's replicas. Its user also waits for a chain of thought that nobody asked for."""

    search: SweepTask
    hidden_tokens: int

    def first_token_ms(self, ttft_ms: float, tpot_ms: float) -> float:
        """Until the first token that the user asked for."""
        return ttft_ms + self.hidden_tokens * tpot_ms


def check_finalists(
    recommendation: Recommendation,
    catalog: Catalog,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Recommendation:
    """The recommendation with a check of each pick. `progress` gets a share 0..1.

    Raises CancelledError when `cancelled()` says so.
    """
    found = _distinct(recommendation.picks)
    checks = []
    for number, (candidate, names) in enumerate(found):

        def tell(share: float, done: int = number) -> None:
            if progress:
                progress((done + share) / len(found))

        check = check_finalist(recommendation, candidate, catalog, tell, cancelled)
        checks.append(replace(check, picks=names))
        tell(1.0)
    return replace(recommendation, checks=tuple(checks))


def check_finalist(
    recommendation: Recommendation,
    candidate: Candidate,
    catalog: Catalog,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> FinalistCheck:
    """One candidate simulated under the scenario's peak."""
    task = finalist_task(candidate, recommendation.scenario, catalog)
    if task is None:
        return _not_run(candidate)
    search = task.search
    answer = find_replicas(
        search.costs,
        search.workload,
        search.slo,
        options=search.options,
        step_shares=dict(search.shares),
        progress=(lambda step: _tell(progress, step)) if progress else None,
        cancelled=cancelled,
    )
    return _check(candidate, answer, task, recommendation.scenario.percentile)


def finalist_task(candidate: Candidate, scenario: Scenario, catalog: Catalog) -> FinalistTask | None:
    """The search of a candidate's replicas under the scenario's peak; None where the plan has no room to run."""
    traffic = scenario_workload(scenario, generated_tokens=candidate.load.output_tokens)
    served = serving_plan(replace(candidate.plan, replicas=1), traffic, catalog)
    if served.costs is None:
        return None
    costs, shares = _seated(served.costs, candidate, served), tuple(served.step_shares.items())
    hidden = max(0, candidate.load.output_tokens - scenario.total_output_tokens)
    slo = _left(traffic.classes[0].slo, hidden * candidate.tpot_ms.value)
    classes = tuple(replace(one, slo=slo) for one in traffic.classes)  # limits of a class precede the fleet's
    traffic = replace(traffic, classes=classes)
    search = SweepTask(candidate.plan.id, costs, traffic, slo, served.options, shares=shares)
    return FinalistTask(search, hidden)


def _left(slo: Slo, hidden_ms: float) -> Slo:
    """What the limits leave, with the chain of thought written as fast as predicted."""
    return slo if slo.ttft_ms is None else replace(slo, ttft_ms=max(1.0, slo.ttft_ms - hidden_ms))


def agrees(ranked: int, simulated: int) -> bool:
    """Within a quarter, or one replica."""
    return simulated > 0 and abs(ranked - simulated) <= max(1.0, 0.25 * simulated)


def _tell(progress: Callable[[float], None] | None, step: Progress) -> None:
    if progress:
        progress(step.share)


def _distinct(picks: Picks) -> list[tuple[Candidate, tuple[str, ...]]]:
    """Each picked plan once, with the names under which it was picked."""
    names: dict[str, list[str]] = {}
    by_plan: dict[str, Candidate] = {}
    for name in PICKS:
        candidate = getattr(picks, name)
        if candidate is not None:
            names.setdefault(candidate.plan.id, []).append(name)
            by_plan[candidate.plan.id] = candidate
    return [(by_plan[key], tuple(values)) for key, values in names.items()]


def _seated(costs: StepCosts, candidate: Candidate, served: ServingPlan) -> StepCosts:
    """Engines with fixed slots take no more sequences than they have slots, each with the whole context."""
    slots = SLOTS.get(candidate.plan.engine.batching)
    if slots is None:
        return costs
    tokens = served.load.context_tokens
    seats = min(slots, costs.max_num_seqs, max(1, costs.kvcap_tokens // max(candidate.load.context_tokens, tokens)))
    return replace(costs, max_num_seqs=seats)


def _not_run(candidate: Candidate) -> FinalistCheck:
    return FinalistCheck(
        plan_id=candidate.plan.id,
        ranked_replicas=candidate.replicas,
        reasons=(Reason("simulated_no_room", {}),),
    )


def _check(candidate: Candidate, answer: CapacityAnswer, task: FinalistTask, percentile: int) -> FinalistCheck:
    trial = answer.trial
    window = trial.window if trial else None
    quotable = trial is not None and trial.result.ttft_is_quotable
    return FinalistCheck(
        plan_id=candidate.plan.id,
        ranked_replicas=candidate.replicas,
        replicas=answer.replicas,
        safe_replicas=answer.safe_replicas,
        replicas_if_slower=answer.at_step_factor.get(1.1, 0),
        agrees=agrees(candidate.replicas, answer.replicas),
        load=answer.load if trial else None,
        binding=str(answer.binding),
        ttft_ms=_around(task.first_token_ms(window.ttft_ms, window.tpot_ms), candidate.ttft_ms)
        if window and quotable
        else None,
        tpot_ms=_around(window.tpot_ms, candidate.tpot_ms) if window else None,
        e2e_ms=_around(window.e2e_ms, candidate.e2e_ms) if window else None,
        reasons=tuple(_reasons(candidate, answer, task, percentile)),
    )


def _around(value: float, like: Quantity) -> Quantity:
    """With the relative interval that the step model has for this plan."""
    factor = like.high / like.value if like.value > 0 else 1.0
    return Quantity.within(value, max(factor, 1.0), like.basis, _SOURCE)


def _reasons(candidate: Candidate, answer: CapacityAnswer, task: FinalistTask, percentile: int) -> list[Reason]:
    limit = f"limit_{answer.binding}"
    if not answer.feasible:
        return [Reason("simulated_infeasible", {"ranked": candidate.replicas, "limit": limit})]
    values: dict[str, float | str] = {
        "replicas": answer.replicas,
        "safe": answer.safe_replicas,
        "ranked": candidate.replicas,
        "more": max(candidate.replicas, answer.replicas),
        "limit": limit,
    }
    reasons = [Reason(_verdict(candidate.replicas, answer.replicas), values)]
    if answer.trial is not None:
        reasons.append(Reason("simulated_latency", {**_seen(answer.trial.window, task), "percentile": percentile}))
    slower = answer.at_step_factor.get(1.1, 0)
    if slower != answer.replicas:
        key = "simulated_slower" if slower else "simulated_slower_fails"
        reasons.append(Reason(key, {"replicas": slower}))
    return reasons


def _seen(window: Window, task: FinalistTask) -> dict[str, float]:
    first = task.first_token_ms(window.ttft_ms, window.tpot_ms)
    return {"ttft": first, "tpot": window.tpot_ms, "e2e": window.e2e_ms}


def _verdict(ranked: int, simulated: int) -> str:
    if ranked == simulated:
        return "simulated_agrees"
    if not agrees(ranked, simulated):
        return "simulated_differs"
    return "simulated_near" if abs(ranked - simulated) == 1 else "simulated_close"
