"""Reasons, relaxations and remedies of plans that were ruled out; the sentences are in `data/i18n/*/decision.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, isfinite
from typing import Any

from advisor.catalog.catalog import Catalog
from advisor.catalog.formats import Format
from advisor.catalog.records import Device, Variant
from advisor.decision.models import Model
from advisor.decision.result import Constraint, Reason, Rejection
from advisor.decision.scenario import Scenario
from advisor.sizing.plan import Plan, Suggestion

__all__ = ["memory_relaxation", "reason_of", "relax", "remedy_of"]

_LIMITS = {  # constraint -> (figure, field of the scenario)
    Constraint.TTFT: ("ttft_ms", "ttft_ms"),
    Constraint.TPOT: ("tpot_ms", "tpot_ms"),
    Constraint.E2E: ("e2e_ms", "e2e_ms"),
    Constraint.CAPITAL: ("capital_usd", "budget_capital_usd"),
    Constraint.MONTHLY: ("monthly_usd", "budget_monthly_usd"),
    Constraint.POWER: ("power_w", "power_limit_w"),
}


def reason_of(
    constraint: Constraint, plan: Plan, model: Model, figures: Mapping[str, float], scenario: Scenario
) -> Reason:
    """Why the plan was ruled out, with what it needs and what there is."""
    device = plan.device.name if plan.device else (plan.host.name if plan.host else "")
    names: dict[str, float | str] = {"variant": model.variant.name, "format": model.format.name, "device": device}
    if constraint is Constraint.MEMORY:
        count = max(1, plan.layout.devices)
        sizes = {key: figures[key] for key in ("need_gib", "have_gib", "more")}
        return Reason("rejected_memory", {**names, **sizes, "count": count})
    if constraint is Constraint.QUALITY:
        return _quality_reason(model, names, scenario)
    if constraint is Constraint.DEVICES:
        counts = {"need": figures["devices"], "have": figures["available"]}
        return Reason("rejected_devices", {**names, **counts})
    if constraint not in _LIMITS:
        return Reason(f"rejected_{constraint}", names)
    figure, field = _LIMITS[constraint]
    value, limit = figures[figure], getattr(scenario, field)
    if not isfinite(value):
        return Reason(f"rejected_{constraint}_unknown", names)
    return Reason(f"rejected_{constraint}", {**names, "value": value, "limit": limit})


def relax(scenario: Scenario, constraint: Constraint, excess: float) -> tuple[float, Scenario]:
    """The limit that admits a plan which exceeds the present one by `excess`, and the scenario with it.

    For DEVICES the limit is a factor on those allowed; the caller lifts it from the machines.
    """
    if constraint is Constraint.QUALITY:
        floor = int((scenario.quality_floor or 0) / excess)
        return floor, replace(scenario, quality_floor=float(floor) or None)
    if constraint not in _LIMITS:
        return excess, scenario
    field = _LIMITS[constraint][1]
    value = _round_up(getattr(scenario, field) * excess)
    changed: dict[str, Any] = {field: value}
    return value, replace(scenario, **changed)


def memory_relaxation(rejection: Rejection) -> Reason:
    """The first change that makes the plan fit, else the memory that is missing."""
    if rejection.remedies:
        return rejection.remedies[0]
    values = rejection.reason.values
    return Reason("relax_memory", {"more_gib": float(values["need_gib"]) - float(values["have_gib"])})


def remedy_of(change: Suggestion, plan: Plan, catalog: Catalog) -> Reason:
    """A suggestion of the sizing as a sentence; `more_devices` says how many more."""
    if change.kind != "more_devices":
        return Reason(f"remedy_{change.kind}", {**change.values, **_names(change, catalog)})
    count = int(change.values["count"])
    more = count - plan.layout.devices
    return Reason("remedy_one_more_device" if more == 1 else "remedy_more_devices", {"count": count, "more": more})


def _names(change: Suggestion, catalog: Catalog) -> Mapping[str, str]:
    """`format`, `variant` and `device` by name, of those that the suggestion gives by id."""
    known: dict[str, Mapping[str, Format] | Mapping[str, Variant] | Mapping[str, Device]] = {
        "format": catalog.formats,
        "variant": catalog.variants,
        "device": catalog.devices,
    }
    ids = {name: str(change.values[f"{name}_id"]) for name in known if f"{name}_id" in change.values}
    return {name: known[name][key].name for name, key in ids.items()}


def _quality_reason(model: Model, names: Mapping[str, float | str], scenario: Scenario) -> Reason:
    quality = model.quality.quantity
    if quality is None:
        return Reason("rejected_quality_unknown", names)
    return Reason("rejected_quality", {**names, "value": round(quality.value), "limit": scenario.quality_floor or 0})


def _round_up(value: float) -> float:
    """To two significant digits, upwards, so that the relaxed limit really admits the plan."""
    if value <= 0:
        return value
    step = 10.0 ** (len(str(int(value))) - 2) if value >= 1 else 0.01
    return ceil(value / step) * step
