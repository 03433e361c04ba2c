"""Plans as flat rows: one dictionary per candidate, for the table on the page, CSV and XLSX. Keys carry units."""

from __future__ import annotations

from collections.abc import Mapping

from advisor.catalog.quantity import Quantity
from advisor.catalog.text import name_in
from advisor.decision.result import Candidate, Recommendation
from advisor.sizing.plan import Plan

__all__ = [
    "QUANTITY_COLUMNS",
    "device_text",
    "format_text",
    "plan_row",
    "plan_rows",
    "plan_title",
    "quantities",
    "shown_quantities",
]

# Columns that have an interval; CSV and XLSX add `_low`, `_high` and `_basis` for each.
QUANTITY_COLUMNS = (
    "quality",
    "ttft_ms",
    "tpot_ms",
    "e2e_ms",
    "output_tok_s",
    "monthly_usd",
    "capital_usd",
    "per_million_tokens_usd",
    "power_w",
    "carbon_kg_month",
)


def plan_rows(recommendation: Recommendation) -> list[dict[str, object]]:
    """All candidates in order of rank, with intervals."""
    ranked = enumerate(recommendation.candidates, start=1)
    return [{"rank": rank, **plan_row(candidate), **_intervals(candidate)} for rank, candidate in ranked]


def plan_row(candidate: Candidate) -> dict[str, object]:
    """Values only, in the order in which a reader wants them."""
    plan, sizing = candidate.plan, candidate.sizing
    values = {name: None if q is None else q.value for name, q in quantities(candidate).items()}
    return {
        "plan_id": plan.id,
        "variant": plan.variant.name,
        "format": plan.format.name,
        "device": plan.device.name if plan.device else (plan.host.name if plan.host else ""),
        "devices": plan.n_devices,
        "replicas": candidate.replicas,
        "layout": plan.layout.label(),
        "engine": f"{plan.engine.name} {plan.engine.version}".strip(),
        **values,
        "memory_share": sizing.per_device.total_bytes / sizing.per_device.usable_bytes,
        "utilisation": candidate.utilisation,
        "score": candidate.score,
        "on_pareto_front": candidate.on_pareto_front,
    }


def shown_quantities(candidate: Candidate) -> Mapping[str, Quantity]:
    """Those that are known and say something: what is owned already costs nothing to buy."""
    known = quantities(candidate).items()
    return {name: q for name, q in known if q is not None and (name != "capital_usd" or q.value)}


def quantities(candidate: Candidate) -> Mapping[str, Quantity | None]:
    """The columns of QUANTITY_COLUMNS, by name."""
    return {
        "quality": candidate.quality,
        "ttft_ms": candidate.ttft_ms,
        "tpot_ms": candidate.tpot_ms,
        "e2e_ms": candidate.e2e_ms,
        "output_tok_s": candidate.fleet_output_tok_s,
        "monthly_usd": candidate.monthly_usd,
        "capital_usd": candidate.capital_usd,
        "per_million_tokens_usd": candidate.per_million_tokens_usd,
        "power_w": candidate.power_w,
        "carbon_kg_month": candidate.carbon_kg_month,
    }


def format_text(plan: Plan, language: str) -> str:
    return name_in(language, plan.format.name)


def device_text(plan: Plan, language: str = "en") -> str:
    """The hardware of a plan: "8 × H200 SXM", "2 × 4 × L4" for replicas, or the host's name."""
    if plan.device is None:
        name = name_in(language, plan.host.name) if plan.host else "CPU"
        return name if plan.replicas == 1 else f"{plan.replicas} × {name}"
    per_replica = plan.layout.devices
    counts = [str(plan.replicas)] if plan.replicas > 1 else []
    counts += [str(per_replica)] if per_replica > 1 else []
    return " × ".join([*counts, name_in(language, plan.device.name)])


def plan_title(plan: Plan, language: str = "en") -> str:
    """What runs where, in one line."""
    return f"{plan.variant.name} · {format_text(plan, language)} · {device_text(plan, language)}"


def _intervals(candidate: Candidate) -> dict[str, object]:
    columns: dict[str, object] = {}
    for name, quantity in quantities(candidate).items():
        columns[f"{name}_low"] = None if quantity is None else quantity.low
        columns[f"{name}_high"] = None if quantity is None else quantity.high
        columns[f"{name}_basis"] = None if quantity is None else str(quantity.basis)
    return columns
