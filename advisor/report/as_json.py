"""Recommendation → plain values for JSON, by field name; quantities are `{value, low, high, basis}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from advisor.catalog.quantity import Quantity
from advisor.decision.result import Recommendation
from advisor.decision.scenario import Scenario
from advisor.decision.scenario_form import scenario_to_mapping
from advisor.sizing.plan import Plan

__all__ = ["plan_json", "recommendation_json"]


def recommendation_json(answer: Recommendation) -> dict[str, Any]:
    """The whole answer. `scenario` restores it: `advisor report --plan` accepts the file."""
    content = _plain(answer)
    assert isinstance(content, dict)
    return content


def plan_json(plan: Plan) -> dict[str, Any]:
    """A plan by its ids."""
    return {
        "id": plan.id,
        "variant": plan.variant.id,
        "format": plan.format.id,
        "engine": plan.engine.id,
        "engine_version": plan.engine.version,
        "backend": plan.backend,
        "device": plan.device.id if plan.device else None,
        "host": plan.host.id if plan.host else None,
        "server": plan.server.id if plan.server else None,
        "devices": plan.n_devices,
        "replicas": plan.replicas,
        "kv_format": plan.kv_format,
        "layout": _plain(plan.layout),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Quantity):
        return value.as_json()
    if isinstance(value, Plan):
        return plan_json(value)
    if isinstance(value, Scenario):
        return scenario_to_mapping(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _record(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum | date) else value


def _record(value: Any) -> Any:
    """Variants, devices and other catalogue records by id; everything else field by field."""
    if type(value).__module__.startswith("advisor.catalog.") and hasattr(value, "id"):
        return value.id
    return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
