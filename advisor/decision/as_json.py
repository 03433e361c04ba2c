"""A recommendation as plain JSON: keys carry units, each predicted number is `{value, low, high, basis}`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from advisor.catalog.quantity import Quantity
from advisor.decision.explain import sentence
from advisor.decision.result import Candidate, FinalistCheck, Mix, NearMiss, Reason, Recommendation, Rejection, TreeStep
from advisor.decision.scenario_form import scenario_to_mapping
from advisor.sizing.plan import Plan

__all__ = ["candidate_json", "plan_json", "recommendation_json"]

PICKS = ("best", "cheapest", "fastest", "smallest")


def recommendation_json(answer: Recommendation, *, top: int | None = None, language: str = "en") -> dict[str, Any]:
    """The whole answer; `top` limits the ranked plans."""
    picks = {name: getattr(answer.picks, name) for name in PICKS}
    return {
        "scenario": scenario_to_mapping(answer.scenario),
        "path": [_step(step, language) for step in answer.path],
        "leaf": {
            "id": answer.leaf.id,
            "name": answer.leaf.name.get(language),
            "reason": answer.leaf.reason.get(language),
            "families": list(answer.leaf.families),
            "formats": list(answer.leaf.formats),
            "weights": {str(axis): weight for axis, weight in answer.leaf.weights.items()},
        },
        "nothing_fits": answer.nothing_fits,
        "counts": {
            "enumerated": answer.counts.enumerated,
            "fitting": answer.counts.fitting,
            "accepted": answer.counts.accepted,
            "on_pareto_front": answer.counts.on_pareto_front,
            "rejected": {str(constraint): count for constraint, count in answer.counts.rejected.items()},
        },
        "picks": {name: None if found is None else found.plan.id for name, found in picks.items()},
        "simulated": [_check(check, language) for check in answer.checks],
        "candidates": [candidate_json(candidate, language=language) for candidate in answer.candidates[:top]],
        "mixes": [_mix(mix, language) for mix in answer.mixes],
        "rejected": [_rejection(item, language) for item in answer.rejected],
        "nearest_misses": [_near_miss(item, language) for item in answer.nearest_misses],
        "unrated_variants": [variant.id for variant in answer.unrated_variants],
        "catalog_date": answer.catalog_date,
        "version": answer.version,
    }


def candidate_json(candidate: Candidate, *, language: str = "en") -> dict[str, Any]:
    """One plan with its figures and reasons."""
    money = candidate.money
    return {
        "plan": plan_json(candidate.plan),
        "load": asdict(candidate.load),
        "replicas": candidate.replicas,
        "score": candidate.score,
        "axis_scores": {str(axis): value for axis, value in candidate.axis_scores.items()},
        "on_pareto_front": candidate.on_pareto_front,
        "in_leaf": candidate.in_leaf,
        "limits_hold_probability": candidate.limits_hold,
        "quality": _quantity(candidate.quality),
        "ttft_ms": _quantity(candidate.ttft_ms),
        "tpot_ms": _quantity(candidate.tpot_ms),
        "e2e_ms": _quantity(candidate.e2e_ms),
        "utilisation": candidate.utilisation,
        "output_tok_s": _quantity(candidate.fleet_output_tok_s),
        "capital_usd": _quantity(money.capital_usd),
        "monthly_usd": _quantity(candidate.monthly_usd),
        "rent_monthly_usd": _quantity(money.rent_monthly_usd),
        "own_monthly_usd": _quantity(money.own_monthly_usd),
        "electricity_monthly_usd": _quantity(money.electricity_monthly_usd),
        "per_million_tokens_usd": _quantity(money.per_million_tokens_usd),
        "prices_from": money.prices_from,
        "prices_to": money.prices_to,
        "power_w": _quantity(candidate.power_w),
        "carbon_kg_month": _quantity(candidate.carbon_kg_month),
        "memory": _memory(candidate),
        "reasons": _sentences(candidate.reasons, language),
    }


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as ids and layout."""
    return {
        "id": plan.id,
        "variant": plan.variant.id,
        "format": plan.format.id,
        "kv_format": plan.kv_format,
        "engine": plan.engine.id,
        "engine_version": plan.engine.version,
        "backend": plan.backend,
        "device": plan.device.id if plan.device else None,
        "host": plan.host.id if plan.host else None,
        "server": plan.server.id if plan.server else None,
        "n_devices": plan.n_devices,
        "replicas": plan.replicas,
        "layout": {**asdict(plan.layout), "offload": str(plan.layout.offload)},
    }


def _memory(candidate: Candidate) -> dict[str, Any]:
    sizing = candidate.sizing
    used = sizing.per_device
    return {
        "fits": sizing.fits,
        "binding": str(sizing.binding),
        "per_device": {
            "weights_bytes": used.weights_bytes,
            "kv_cache_bytes": used.kv_cache_bytes,
            "activation_bytes": used.activation_bytes,
            "overhead_bytes": used.overhead_bytes,
            "total_bytes": used.total_bytes,
            "usable_bytes": used.usable_bytes,
        },
        "max_concurrency": sizing.max_concurrency,
    }


def _step(step: TreeStep, language: str) -> dict[str, Any]:
    return {
        "node": step.node_id,
        "question": step.question.get(language),
        "decided_by": dict(step.decided_by),
        "branch": step.branch.get(language),
        "counterfactuals": _sentences(step.counterfactuals, language),
    }


def _check(check: FinalistCheck, language: str) -> dict[str, Any]:
    return {
        "plan": check.plan_id,
        "picks": list(check.picks),
        "ranked_replicas": check.ranked_replicas,
        "replicas": check.replicas,
        "safe_replicas": check.safe_replicas,
        "replicas_if_steps_take_1.1_times": check.replicas_if_slower,
        "agrees": check.agrees,
        "load": check.load,
        "binding": check.binding,
        "ttft_ms": _quantity(check.ttft_ms),
        "tpot_ms": _quantity(check.tpot_ms),
        "e2e_ms": _quantity(check.e2e_ms),
        "reasons": _sentences(check.reasons, language),
    }


def _mix(mix: Mix, language: str) -> dict[str, Any]:
    return {
        "kind": str(mix.kind),
        "pools": [
            {"role": pool.role, "share": pool.share, "plan": plan_json(pool.candidate.plan)} for pool in mix.pools
        ],
        "quality": _quantity(mix.quality),
        "monthly_usd": _quantity(mix.monthly_usd),
        "power_w": _quantity(mix.power_w),
        "reasons": _sentences(mix.reasons, language),
    }


def _rejection(item: Rejection, language: str) -> dict[str, Any]:
    return {
        "plan": plan_json(item.plan),
        "load": asdict(item.load),
        "constraint": str(item.constraint),
        "reason": sentence(language, item.reason),
        "figures": dict(item.reason.values),
        "remedies": _sentences(item.remedies, language),
    }


def _near_miss(item: NearMiss, language: str) -> dict[str, Any]:
    return {
        **_rejection(item.rejection, language),
        "excess": item.excess,
        "relaxation": sentence(language, item.relaxation),
    }


def _sentences(reasons: Iterable[Reason], language: str) -> list[str]:
    return [sentence(language, reason) for reason in reasons]


def _quantity(quantity: Quantity | None) -> dict[str, float | str] | None:
    return None if quantity is None else quantity.as_json()
