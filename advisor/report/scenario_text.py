"""A scenario in words: short chips for the page, label and value pairs for the report."""

from __future__ import annotations

from advisor.catalog import load_catalog
from advisor.catalog.text import name_in, translate
from advisor.decision.scenario import Hosting, Scenario
from advisor.report.numbers import latency_text, money_text, number

__all__ = ["scenario_chips_text", "scenario_facts"]

_LIMITS = ("ttft_ms", "tpot_ms", "e2e_ms")


def scenario_chips_text(scenario: Scenario, language: str) -> list[str]:
    """The inputs that decide, in a few words each."""
    return [
        *_traffic(scenario, language),
        *_lengths(scenario, language),
        *_targets(scenario, language),
        *_bounds(scenario, language),
        *_hardware(scenario, language),
    ]


def scenario_facts(scenario: Scenario, language: str) -> list[tuple[str, str]]:
    """The same by group, for the report."""
    groups = (
        ("work", [*_traffic(scenario, language), *_lengths(scenario, language)]),
        ("targets", _targets(scenario, language)),
        ("limits", _bounds(scenario, language)),
        ("hardware", _hardware(scenario, language) or [translate(language, "ui.hardware.any")]),
    )
    separator = translate(language, "report.list_separator")
    return [(translate(language, f"ui.form.{name}"), separator.join(texts) or "–") for name, texts in groups]


def _traffic(scenario: Scenario, language: str) -> list[str]:
    if scenario.arrivals_per_s is not None:
        chips = [translate(language, "report.chip.rate", value=number(scenario.arrivals_per_s))]
    elif scenario.users is not None:
        chips = [translate(language, "report.chip.users", value=number(scenario.closed_loop_users or 0))]
    else:
        chips = [translate(language, "report.chip.concurrency", value=number(scenario.closed_loop_users or 0))]
    profiles = translate(language, "report.list_separator").join(
        translate(language, f"ui.task.{profile}") for profile in scenario.task
    )
    return [*chips, profiles]


def _lengths(scenario: Scenario, language: str) -> list[str]:
    key = "report.chip.lengths_reasoning" if scenario.reasoning_tokens else "report.chip.lengths"
    return [
        translate(
            language,
            key,
            input=f"{scenario.input_tokens:,}",
            output=f"{scenario.output_tokens:,}",
            reasoning=f"{scenario.reasoning_tokens:,}",
        ),
        translate(language, "report.chip.context", value=f"{scenario.context_tokens:,}"),
    ]


def _targets(scenario: Scenario, language: str) -> list[str]:
    chips = [
        translate(language, f"report.chip.{name}", value=latency_text(value), percentile=scenario.percentile)
        for name in _LIMITS
        if (value := getattr(scenario, name)) is not None
    ]
    if scenario.quality_floor is not None:
        chips.append(translate(language, "report.chip.quality_floor", value=number(scenario.quality_floor)))
    return chips


def _bounds(scenario: Scenario, language: str) -> list[str]:
    chips = [] if scenario.hosting is Hosting.ANY else [translate(language, f"ui.hosting.{scenario.hosting}")]
    if scenario.budget_capital_usd is not None:
        chips.append(translate(language, "report.chip.capital", value=money_text(scenario.budget_capital_usd)))
    if scenario.budget_monthly_usd is not None:
        chips.append(translate(language, "report.chip.monthly", value=money_text(scenario.budget_monthly_usd)))
    if scenario.power_limit_w is not None:
        chips.append(translate(language, "report.chip.power", value=number(scenario.power_limit_w)))
    return chips


def _device(device_id: str, language: str) -> str:
    found = load_catalog().devices.get(device_id)
    return name_in(language, found.name) if found else device_id


def _hardware(scenario: Scenario, language: str) -> list[str]:
    if scenario.this_machine:
        return [translate(language, "ui.hardware.this_machine")]
    chips = [translate(language, f"ui.device_class.{name}") for name in scenario.device_classes]
    chips += [f"{count} × {_device(name, language)}" for name, count in scenario.owned.items()]
    chips += [_device(name, language) for name in scenario.devices]
    if scenario.max_devices is not None:
        chips.append(translate(language, "report.chip.max_devices", value=scenario.max_devices))
    return chips
