"""A scenario goes through the form and comes back as itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog import load_catalog
from advisor.catalog.errors import DataError
from advisor.decision.scenario import Scenario, Text
from advisor.decision.scenarios import load_scenarios
from advisor.ui.form_model import CUSTOM_ID, form_values, scenario_from_form

SCENARIOS = load_scenarios(load_catalog())
BASE = SCENARIOS["customer-service"]


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_an_unchanged_form_is_the_scenario_itself(name: str) -> None:
    assert scenario_from_form(form_values(SCENARIOS[name]), SCENARIOS[name]) is SCENARIOS[name]


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_one_changed_value_changes_only_that(name: str) -> None:
    """Through the whole mapping, so that no field is dropped on the way."""
    base = SCENARIOS[name]
    values = form_values(base) | {"context_tokens": base.context_tokens + 1}
    changed = scenario_from_form(values, base)
    assert changed.id == CUSTOM_ID
    assert changed.context_tokens == base.context_tokens + 1
    again = form_values(changed) | {"context_tokens": base.context_tokens}
    assert again == form_values(base)


def test_the_name_says_that_it_was_changed_once() -> None:
    once = scenario_from_form(form_values(BASE) | {"output_tokens": 151}, BASE)
    twice = scenario_from_form(form_values(once) | {"output_tokens": 152}, once)
    assert twice.name.en == f"Custom: {BASE.name.en}"
    assert twice.name.zh == f"自定义：{BASE.name.zh}"


@given(st.sampled_from(["users", "requests_per_s", "requests_per_day", "concurrency"]), st.integers(1, 10_000))
def test_each_kind_of_traffic(kind: str, value: int) -> None:
    changed = scenario_from_form(form_values(BASE) | {"traffic_kind": kind, "traffic_value": float(value)}, BASE)
    assert getattr(changed, kind) == value
    others = {"users", "requests_per_s", "requests_per_day", "concurrency"} - {kind}
    assert all(getattr(changed, name) is None for name in others)


def test_own_hardware_and_counts() -> None:
    values = form_values(BASE) | {"hardware": "owned", "owned": ["l4", "h200-sxm"], "owned_count_l4": 3}
    assert dict(scenario_from_form(values, BASE).owned) == {"l4": 3, "h200-sxm": 1}


def test_only_the_chosen_way_to_limit_hardware_counts() -> None:
    values = form_values(BASE) | {"hardware": "this_machine", "owned": ["l4"], "devices": ["l4"]}
    changed = scenario_from_form(values, BASE)
    assert changed.this_machine
    assert (changed.devices, dict(changed.owned)) == ((), {})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"input_tokens": 0}, "input_tokens"),
        ({"output_tokens": -5}, "output_tokens"),
        ({"traffic_value": 0.0}, "requests_per_day"),
        ({"traffic_value": None}, "requests_per_day"),
        ({"percentile": 100}, "percentile"),
        ({"quality_floor": 101.0}, "quality_floor"),
        ({"power_limit_w": -1.0}, "power_limit_w"),
        ({"task": []}, "task"),
        ({"input_tokens": None}, "input_tokens"),
        ({"reasoning_tokens": None}, "reasoning_tokens"),
        ({"peak_factor": None}, "peak_factor"),
        ({"hardware": "owned", "owned": []}, "owned"),
        ({"edge_share": 1.5}, "edge_share"),
        ({"traffic_kind": "users", "traffic_value": 1.5}, "users"),
    ],
)
def test_bad_values_name_their_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(DataError) as caught:
        scenario_from_form(form_values(BASE) | change, BASE)
    assert field in str(caught.value)


def test_a_form_needs_no_base_from_the_catalogue() -> None:
    plain = Scenario(id="x", name=Text("X", "X"), users=3)
    assert scenario_from_form(form_values(plain), plain) is plain
