"""How the engine multiplies by a format on this device, where it is not what the format's name says."""

from __future__ import annotations

from advisor.catalog.engines import support
from advisor.catalog.formats import TensorRole
from advisor.decision.result import Reason
from advisor.sizing.plan import Plan

__all__ = ["kernel_reasons"]


def kernel_reasons(plan: Plan) -> tuple[Reason, ...]:
    """FP8 or FP4 weights that are expanded before each product, because the engine has no other for this device; empty
    for formats that are weight-only everywhere.
    """
    rule = support(plan.engine, plan.format, plan.device, plan.backend)
    if rule is None or rule.compute != "weight-only" or plan.format.weight_only or plan.device is None:
        return ()
    key = "weight_only_experts" if _is_mixed(plan) else "weight_only"
    values = {"format": plan.format.name, "engine": plan.engine.name, "device": plan.device.name}
    values["kind"] = plan.format.family.upper()  # FP8, FP4
    return (Reason(key, values),)


def _is_mixed(plan: Plan) -> bool:
    """Experts are stored in another type than the rest (FP4 experts, FP8 rest)."""
    stored = plan.format.storage
    return stored.get(TensorRole.EXPERT_UP) != stored.get(TensorRole.FFN_UP)
