"""The requirements form without Streamlit: a scenario as form values, and form values as a checked scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any

from advisor.catalog.errors import DataError
from advisor.decision.scenario import Axis, Scenario, Text
from advisor.decision.scenario_form import scenario_from_mapping

__all__ = ["CUSTOM_ID", "TRAFFIC_KINDS", "Hardware", "form_values", "scenario_from_form"]

CUSTOM_ID = "custom"
TRAFFIC_KINDS = ("users", "requests_per_s", "requests_per_day", "concurrency")
_CUSTOM_NAME = {"en": "Custom: ", "zh": "自定义："}
# Fields that the form asks for in another way than by one widget of the same name.
_SPECIAL = ("id", "name", "description", "task", "weights", "owned", "devices", "device_classes", "this_machine")


class Hardware(StrEnum):
    """How the user limits the hardware; one of them at a time."""

    ANY = "any"
    CLASSES = "classes"
    DEVICES = "devices"
    OWNED = "owned"
    THIS_MACHINE = "this_machine"


def form_values(scenario: Scenario) -> dict[str, Any]:
    """One value per widget, by field name; `traffic_kind` and `hardware` are questions of the form only."""
    values = {
        item.name: _plain(getattr(scenario, item.name))
        for item in fields(Scenario)
        if item.name not in _SPECIAL and item.name not in TRAFFIC_KINDS
    }
    kind = next(name for name in TRAFFIC_KINDS if getattr(scenario, name) is not None)
    values |= {"traffic_kind": kind, "traffic_value": float(getattr(scenario, kind))}
    values |= {"task": [str(profile) for profile in scenario.task], "own_weights": bool(scenario.weights)}
    values |= {f"weight_{axis}": round(10 * scenario.weights.get(axis, 0.25)) for axis in Axis}
    values |= {"hardware": str(_hardware(scenario)), "devices": list(scenario.devices), "owned": list(scenario.owned)}
    values |= {"device_classes": [str(name) for name in scenario.device_classes]}
    return values | {f"owned_count_{device}": count for device, count in scenario.owned.items()}


def scenario_from_form(values: Mapping[str, Any], base: Scenario) -> Scenario:
    """The scenario that the form describes; `base` itself if nothing was changed. Raises DataError for bad values."""
    if dict(values) == form_values(base):
        return base
    _refuse_empty(values)
    content = {name: value for name, value in values.items() if name in _PLAIN_FIELDS and value is not None}
    content |= {"id": CUSTOM_ID, "name": _custom_name(base.name), "description": _texts(base.description)}
    content[str(values["traffic_kind"])] = _number(str(values["traffic_kind"]), values["traffic_value"])
    content["task"] = _shares(values["task"], base)
    if values["own_weights"]:
        content["weights"] = {str(axis): values[f"weight_{axis}"] for axis in Axis}
    content |= _hardware_fields(values)
    return scenario_from_mapping(content, source="form")


_PLAIN_FIELDS = frozenset(
    item.name for item in fields(Scenario) if item.name not in _SPECIAL and item.name not in TRAFFIC_KINDS
)


# Asked for with one kind of traffic only: empty elsewhere, they are not seen.
_BESIDE: Mapping[str, tuple[str, ...]] = {
    "peak_factor": ("requests_per_day",),
    "think_time_s": ("users",),
    "growth_factor": ("requests_per_s", "concurrency"),
}
_NEEDED = frozenset(
    item.name for item in fields(Scenario) if item.name in _PLAIN_FIELDS and isinstance(item.default, int | float)
)


def _refuse_empty(values: Mapping[str, Any]) -> None:
    """An emptied field is not silently filled with a default that the user does not see."""
    for name, value in values.items():
        shown = values["traffic_kind"] in _BESIDE.get(name, TRAFFIC_KINDS)
        if name in _NEEDED and value is None and shown:
            raise DataError("form", CUSTOM_ID, name, "a value")


def _plain(value: object) -> Any:
    if isinstance(value, StrEnum):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _hardware(scenario: Scenario) -> Hardware:
    if scenario.this_machine:
        return Hardware.THIS_MACHINE
    if scenario.owned:
        return Hardware.OWNED
    if scenario.devices:
        return Hardware.DEVICES
    return Hardware.CLASSES if scenario.device_classes else Hardware.ANY


def _hardware_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    kind = Hardware(str(values["hardware"]))
    if kind is Hardware.THIS_MACHINE:
        return {"this_machine": True}
    if kind is Hardware.OWNED and not values["owned"]:
        raise DataError("form", CUSTOM_ID, "owned", "at least one device")
    if kind is Hardware.OWNED:
        return {"owned": {name: values.get(f"owned_count_{name}") or 1 for name in values["owned"]}}
    if kind is Hardware.DEVICES:
        return {"devices": values["devices"]}
    return {"device_classes": values["device_classes"]} if kind is Hardware.CLASSES else {}


def _shares(profiles: list[str], base: Scenario) -> dict[str, float]:
    """The published shares of the base scenario while its profiles are unchanged, else equal shares."""
    if set(profiles) == {str(profile) for profile in base.task}:
        return {str(profile): share for profile, share in base.task.items()}
    return dict.fromkeys(profiles, 1.0)


def _number(kind: str, value: float | None) -> float | None:
    whole = kind in ("users", "concurrency")
    return value if value is None or not whole or value != int(value) else int(value)


def _custom_name(name: Text) -> dict[str, str]:
    texts = _texts(name).items()
    return {key: _CUSTOM_NAME[key] + text.removeprefix(_CUSTOM_NAME[key]) for key, text in texts}


def _texts(text: Text) -> dict[str, str]:
    return {"en": text.en, "zh": text.zh}
