"""Rows of the grid as candidates: plan, load, sizing, figures with intervals, and the reasons for and against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.catalog import Catalog
from advisor.catalog.quantity import Basis, Quantity
from advisor.decision.kernel_reasons import kernel_reasons
from advisor.decision.models import Model
from advisor.decision.money import HOURS_PER_MONTH, price_dates
from advisor.decision.money_formulas import MoneyFormulas, money_formulas
from advisor.decision.own_reasons import own_reasons
from advisor.decision.result import Candidate, Leaf, Money, Reason
from advisor.decision.scenario import Axis, Scenario
from advisor.decision.search import Outcome
from advisor.sizing.columns import LoadColumns, PlanColumns
from advisor.sizing.grid import evaluate
from advisor.sizing.plan import Load, Plan, Sizing
from advisor.sizing.size import sizing_of

__all__ = ["Ranking", "build_candidates", "load_of", "plan_of"]

Floats = NDArray[np.float64]

SURE = 0.95  # an interval of 90 % that ends below the limit
_ROUNDING = 0.01  # of a sequence in flight: no reason for a further seat


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores of all rows of an outcome. Arrays of shape (plans,)."""

    score: Floats
    axes: Mapping[Axis, Floats]
    in_leaf: NDArray[np.bool_]
    on_front: NDArray[np.bool_]
    limits_hold: Floats  # probability that every latency limit is kept


def plan_of(outcome: Outcome, row: int) -> Plan:
    """The plan of a row, with its replicas (one where the traffic cannot be held)."""
    replicas = outcome.served.replicas[row]
    return replace(outcome.space.plans.plan(row), replicas=int(replicas) if np.isfinite(replicas) else 1)


def load_of(outcome: Outcome, row: int, scenario: Scenario) -> Load:
    """The load on one replica at the peak; one sequence where the traffic cannot be held."""
    model = _model(outcome, row)
    sequences = outcome.served.concurrency[row]
    return Load(
        input_tokens=scenario.input_tokens,
        output_tokens=model.output_tokens,
        context_tokens=model.context_tokens,
        concurrency=max(1, ceil(sequences - _ROUNDING)) if np.isfinite(sequences) else 1,
        cached_input_tokens=scenario.cached_input_tokens,
    )


def build_candidates(
    outcome: Outcome, rows: Sequence[int], scenario: Scenario, catalog: Catalog, ranking: Ranking, leaf: Leaf
) -> list[Candidate]:
    """Accepted rows with everything that a page shows about them, in the order given."""
    plans = [plan_of(outcome, row) for row in rows]
    held = [_held(load_of(outcome, row, scenario), outcome, row) for row in rows]
    if not plans:
        return []
    columns = {item.name: np.array([getattr(load, item.name) for load in held], float) for item in fields(Load)}
    result = evaluate(PlanColumns.from_plans(plans), LoadColumns.from_arrays(**columns), table=outcome.space.efficiency)
    sizings = [sizing_of(plan, load, result, i) for i, (plan, load) in enumerate(zip(plans, held, strict=True))]
    return [
        _candidate(outcome, row, sizing, scenario, catalog, ranking, leaf)
        for row, sizing in zip(rows, sizings, strict=True)
    ]


def _candidate(
    outcome: Outcome,
    row: int,
    sizing: Sizing,
    scenario: Scenario,
    catalog: Catalog,
    ranking: Ranking,
    leaf: Leaf,
) -> Candidate:
    plan, load = sizing.plan, load_of(outcome, row, scenario)
    model, served, costs = _model(outcome, row), outcome.served, outcome.costs
    formulas = money_formulas(outcome.space, served, costs, row, scenario, catalog)
    candidate = Candidate(
        plan=plan,
        load=load,
        sizing=sizing,
        replicas=plan.replicas,
        quality=model.quality.quantity,
        ttft_ms=_latency(
            served.ttft_s[row] + model.hidden_tokens * served.tpot_s[row],
            sizing.ttft_ms,
            float(outcome.alone.ttft_factor[row]),
        ),
        tpot_ms=_latency(served.tpot_s[row], sizing.tpot_ms, float(outcome.alone.tpot_factor[row])),
        e2e_ms=_latency(served.e2e_s[row], sizing.tpot_ms, float(outcome.alone.tpot_factor[row])),
        utilisation=float(served.utilisation[row]),
        fleet_output_tok_s=_scaled(sizing.output_tok_s, plan.replicas),
        money=_money(outcome, row, scenario, catalog, formulas),
        monthly_usd=costs.monthly_usd.quantity(row, formulas.monthly),
        power_w=costs.power_w.quantity(row, formulas.power),
        carbon_kg_month=costs.carbon_kg_month.quantity(row, formulas.carbon),
        score=float(ranking.score[row]),
        axis_scores={axis: float(values[row]) for axis, values in ranking.axes.items()},
        on_pareto_front=bool(ranking.on_front[row]),
        in_leaf=bool(ranking.in_leaf[row]),
        limits_hold=float(ranking.limits_hold[row]),
    )
    why = _reasons(candidate, model, outcome, row, scenario, leaf, catalog)
    reasons = (*why, *kernel_reasons(plan), *own_reasons(plan, catalog))
    return replace(candidate, reasons=reasons)


def _model(outcome: Outcome, row: int) -> Model:
    return outcome.space.table.models[int(outcome.space.plans.model[row])]


def _held(load: Load, outcome: Outcome, row: int) -> Load:
    """The same sequences with the room that each really takes, so that the memory shown is that of the peak.

    Engines with paged caches keep what a request has, not the longest that is allowed.
    """
    if outcome.space.plans.runtimes[outcome.space.plans.runtime[row]].engine.batching != "continuous":
        return load
    if load.concurrency == 1:
        return load
    return replace(load, context_tokens=load.input_tokens + load.output_tokens)


def _latency(seconds: float, like: Quantity, factor: float) -> Quantity:
    """Milliseconds under load, known as well as the step model knows this plan.

    `factor`: of the interval of one sequence; own measurements state that of the load itself.
    """
    if like.basis in (Basis.MEASURED, Basis.CALIBRATED):
        factor = like.high / max(like.value, 1e-12)
    return Quantity.within(float(seconds) * 1e3, factor, like.basis, "closed form on the step model")


def _scaled(quantity: Quantity, factor: float) -> Quantity:
    return replace(quantity, value=quantity.value * factor, low=quantity.low * factor, high=quantity.high * factor)


def _money(outcome: Outcome, row: int, scenario: Scenario, catalog: Catalog, formulas: MoneyFormulas) -> Money:
    costs, served = outcome.costs, outcome.served
    offer = outcome.space.offers[outcome.space.offer[row]]
    first, last = price_dates(offer, catalog)
    tokens = _model(outcome, row).output_tokens * float(served.requests_per_s[row])
    per_month = tokens / max(scenario.peak_factor, 1.0) * HOURS_PER_MONTH * 3600 / 1e6
    monthly = costs.monthly_usd.quantity(row, formulas.monthly)
    per_million = _scaled(monthly, 1 / per_month) if monthly and per_month > 0 else None
    if monthly and per_million:
        per_million = replace(per_million, source=f"{monthly.value:,.0f} / {per_month:,.4g} million tokens")
    return Money(
        capital_usd=Quantity.exact(0.0, "owned") if offer.owned else costs.capital_usd.quantity(row, formulas.capital),
        rent_monthly_usd=costs.rent_monthly_usd.quantity(row, formulas.rent),
        own_monthly_usd=costs.own_monthly_usd.quantity(row, formulas.own),
        electricity_monthly_usd=costs.electricity_monthly_usd.quantity(row, formulas.electricity),
        per_million_tokens_usd=per_million,
        prices_from=first,
        prices_to=last,
    )


def _reasons(
    candidate: Candidate,
    model: Model,
    outcome: Outcome,
    row: int,
    scenario: Scenario,
    leaf: Leaf,
    catalog: Catalog,
) -> Iterator[Reason]:
    yield _capacity_reason(candidate, outcome, row, scenario)
    if candidate.replicas == 1 and ((scenario.arrivals_per_s or 0) >= 1 or (scenario.closed_loop_users or 0) >= 20):
        yield Reason("no_spare", {})
    yield _memory_reason(candidate.sizing)
    yield from _quality_reasons(model, scenario, catalog)
    yield from _latency_reasons(candidate, scenario)
    if candidate.limits_hold < SURE:
        yield Reason("limits_hold", {"percent": round(100 * candidate.limits_hold)})
    if candidate.money.prices_from and candidate.monthly_usd:
        dates = {"from": candidate.money.prices_from, "to": candidate.money.prices_to}
        key = "cost_rented" if candidate.monthly_usd == candidate.money.rent_monthly_usd else "cost_owned"
        key += "_dated" if dates["from"] == dates["to"] else ""
        yield Reason(key, {"usd": candidate.monthly_usd.value, **dates})
    elif not outcome.space.offers[outcome.space.offer[row]].owned:
        yield Reason("cost_unknown", {"device": _device_name(candidate.plan)})
    launched = outcome.space.offers[outcome.space.offer[row]].old_since(catalog.as_of)
    if launched:
        yield Reason("old_device", {"device": _device_name(candidate.plan), "year": launched})
    yield Reason("binding", {"binding": f"binding_{candidate.sizing.binding}"})
    if model.hidden_tokens:
        yield Reason("thinks_unasked", {"tokens": model.hidden_tokens})
    if candidate.tpot_ms.basis is Basis.EXTRAPOLATED:
        yield Reason("extrapolated", {})
    if not candidate.in_leaf:
        yield Reason("outside_leaf", {"leaf_en": leaf.name.en, "leaf_zh": leaf.name.zh})


def _capacity_reason(candidate: Candidate, outcome: Outcome, row: int, scenario: Scenario) -> Reason:
    plan, per_s = candidate.plan, float(outcome.served.requests_per_s[row])
    values: dict[str, float | str] = {
        "replicas": candidate.replicas,
        "devices": max(1, plan.layout.devices),
        "device": _device_name(plan),
        "sequences": candidate.load.concurrency,
        "rate": per_s,
        "percent": round(100 * candidate.utilisation),
    }
    if scenario.closed_loop_users == 1 and not scenario.closed_loop_pause_s:
        return Reason("capacity_alone", {**values, "hourly": round(per_s * 3600)})
    return Reason("capacity" if candidate.replicas > 1 else "capacity_one", values)


def _memory_reason(sizing: Sizing) -> Reason:
    used = sizing.host if sizing.plan.device is None and sizing.host else sizing.per_device
    values = {
        "used_gib": used.total_bytes / 2**30,
        "usable_gib": used.usable_bytes / 2**30,
        "weights_gib": used.weights_bytes / 2**30,
        "cache_gib": used.kv_cache_bytes / 2**30,
    }
    return Reason("memory", values)


def _quality_reasons(model: Model, scenario: Scenario, catalog: Catalog) -> Iterator[Reason]:
    quality = model.quality
    if quality.quantity is None:
        yield Reason("quality_unknown", {"variant": model.variant.name})
        return
    values: dict[str, float | str] = {
        "value": round(quality.quantity.value),
        "low": round(quality.quantity.low),
        "high": round(quality.quantity.high),
        "published": len(quality.published),
    }
    if scenario.quality_floor:
        yield Reason("quality_floor", {**values, "floor": scenario.quality_floor})
    else:
        yield Reason("quality", values)
    if quality.unpublished:
        yield Reason("quality_unpublished", {"profile": f"profile_{quality.unpublished[0]}"})
    if quality.proxy_id:
        yield Reason("quality_proxy", {"variant": catalog.variant(quality.proxy_id).name})
    if quality.loss.value >= 0.01:
        yield Reason("format_loss", {"format": model.format.name, "percent": round(100 * quality.loss.value, 1)})


def _latency_reasons(candidate: Candidate, scenario: Scenario) -> Iterator[Reason]:
    for name, found, limit in (
        ("ttft", candidate.ttft_ms, scenario.ttft_ms),
        ("tpot", candidate.tpot_ms, scenario.tpot_ms),
        ("e2e", candidate.e2e_ms, scenario.e2e_ms),
    ):
        if limit is None:
            continue
        values = {"value": found.value, "limit": limit, "percentile": scenario.percentile}
        yield Reason(f"{name}_met" if found.high <= limit else f"{name}_close", {**values, "high": found.high})


def _device_name(plan: Plan) -> str:
    if plan.device is not None:
        return plan.device.name
    return plan.host.name if plan.host else ""
