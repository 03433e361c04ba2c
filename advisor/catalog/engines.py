"""Which engine runs which format on which device: the rules in `engines/*.yaml`, applied."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from advisor.catalog.formats import Format
from advisor.catalog.frozen import FrozenDict
from advisor.catalog.records import Device, DeviceClass, Engine, EngineSupport, Variant

__all__ = [
    "NotSupported", "backends", "expands_weights", "rule_formats", "rules_for", "runs_model", "support", "why_not",
]  # fmt: skip

_BEST_FIRST = ("native", "weight-only", "emulated")


@dataclass(frozen=True, slots=True)
class NotSupported:
    """Why a combination is refused: a text key (`catalog.unsupported.…`) and what fills it."""

    key: str
    values: Mapping[str, str]


def support(engine: Engine, fmt: Format, device: Device | None, backend: str | None = None) -> EngineSupport | None:
    """The best rule that lets `engine` run `fmt` on `device` through `backend` (None: any); None: it cannot.

    `device` None stands for the processor of a host.
    """
    fitting = [
        rule
        for rule in engine.supports
        if _takes_format(rule, fmt) and _takes_backend(rule, backend) and _takes_device(rule, device)
    ]
    return min(fitting, key=lambda rule: _BEST_FIRST.index(rule.compute), default=None)


def expands_weights(
    engine: Engine, fmt: Format, backend: str, devices: Iterable[Device | None]
) -> tuple[bool, ...]:
    """By device: whether `engine` has no products of its own for `fmt` there and multiplies in 16 bits.

    False where no rule takes the combination: nothing is known of it.
    """
    rules = [rule for rule in engine.supports if _takes_format(rule, fmt) and _takes_backend(rule, backend)]
    rules.sort(key=lambda rule: _BEST_FIRST.index(rule.compute))
    if not rules or rules[-1].compute == "native":
        return (False,) * len(tuple(devices))
    best = (next((rule for rule in rules if _takes_device(rule, device)), None) for device in devices)
    return tuple(rule is not None and rule.compute != "native" for rule in best)


def rules_for(engine: Engine, device: Device | None) -> tuple[EngineSupport, ...]:
    """The rules under which `engine` runs some format on `device`."""
    return tuple(rule for rule in engine.supports if _takes_device(rule, device))


def rule_formats(rule: EngineSupport, formats: Iterable[Format]) -> frozenset[str]:
    """Ids of the formats that a rule is about."""
    return frozenset(fmt.id for fmt in formats if _takes_format(rule, fmt))


def backends(engine: Engine, device: Device | None) -> tuple[str, ...]:
    """Back ends through which `engine` can use `device` with at least one format, in the order of the rules."""
    return tuple(dict.fromkeys(backend for rule in rules_for(engine, device) for backend in rule.backends))


def why_not(engine: Engine, fmt: Format, device: Device | None, backend: str | None = None) -> NotSupported | None:
    """The reason for a refusal, from the rule that comes closest; None if it is supported."""
    if support(engine, fmt, device, backend):
        return None
    values = {"engine": engine.name, "format": fmt.name, "backend": backend or "", "device": _name(device)}
    rules = [rule for rule in engine.supports if _takes_format(rule, fmt)]
    if not rules:
        return NotSupported("catalog.unsupported.format", FrozenDict(values))
    steps: tuple[tuple[str, Callable[[EngineSupport], bool]], ...] = (
        ("backend", lambda rule: _takes_backend(rule, backend)),
        ("device", lambda rule: _takes_kind(rule, device)),
        ("architecture", lambda rule: _takes_architecture(rule, device)),
    )
    for key, accepts in steps:
        rules, before = [rule for rule in rules if accepts(rule)], rules
        if not rules:
            values["architectures"] = ", ".join(sorted({name for rule in before for name in rule.architectures}))
            return NotSupported(f"catalog.unsupported.{key}", FrozenDict(values))
    return _capability_reason(rules, device, values)


def runs_model(engine: Engine, variant: Variant) -> NotSupported | None:
    """None if `engine` can run this architecture in the version that the catalogue describes, else why not."""
    values = {"engine": engine.name, "model": variant.name}
    if variant.architecture.attention not in engine.attention_kinds:
        values["attention"] = str(variant.architecture.attention)
        return NotSupported("catalog.unsupported.attention", FrozenDict(values))
    needed = variant.min_engine_version.get(engine.id)
    if needed and _version(engine.version) < _version(needed):
        values |= {"needed": needed, "version": engine.version}
        return NotSupported("catalog.unsupported.version", FrozenDict(values))
    return None


def _takes_format(rule: EngineSupport, fmt: Format) -> bool:
    if fmt.id in rule.excluded_format_ids:
        return False
    return fmt.id in rule.format_ids or fmt.family in rule.format_families


def _takes_backend(rule: EngineSupport, backend: str | None) -> bool:
    return backend is None or backend in rule.backends


def _takes_device(rule: EngineSupport, device: Device | None) -> bool:
    return _takes_kind(rule, device) and _takes_architecture(rule, device) and _takes_capability(rule, device)


def _takes_kind(rule: EngineSupport, device: Device | None) -> bool:
    if device is None:
        return DeviceClass.CPU in rule.device_classes
    if rule.vendors and device.vendor not in rule.vendors:
        return False
    if rule.device_classes:
        return device.device_class in rule.device_classes
    return device.device_class is not DeviceClass.CPU  # a rule without classes is about accelerators


def _takes_architecture(rule: EngineSupport, device: Device | None) -> bool:
    if device is None:
        return True
    if device.architecture in rule.excluded_architectures:
        return False
    return not rule.architectures or device.architecture in rule.architectures


def _takes_capability(rule: EngineSupport, device: Device | None) -> bool:
    low, high = rule.min_compute_capability, rule.max_compute_capability
    if low is None and high is None:
        return True
    if device is None or device.compute_capability is None:
        return False
    return (low or 0.0) <= device.compute_capability <= (high or 1e9)


def _capability_reason(rules: list[EngineSupport], device: Device | None, values: dict[str, str]) -> NotSupported:
    has = device.compute_capability if device else None
    lowest = min(rule.min_compute_capability or 0.0 for rule in rules)
    values["has"] = "?" if has is None else f"{has:.1f}"
    if has is not None and has >= lowest:
        return NotSupported("catalog.unsupported.too_new", FrozenDict(values))
    values["needed"] = f"{lowest:.1f}"
    return NotSupported("catalog.unsupported.compute_capability", FrozenDict(values))


def _name(device: Device | None) -> str:
    return device.name if device else "CPU"


def _version(text: str) -> tuple[int, ...]:
    """Numbers of a version; "unspecified" is taken as new enough."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
    return numbers or (10**9,)
