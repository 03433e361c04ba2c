"""Scenarios: derived figures, checks, round trips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.catalog import Catalog
from advisor.catalog.errors import DataError, FathomError, InputError, UnknownIdError
from advisor.catalog.records import DeviceClass
from advisor.decision.scenario import FACTS, Axis, Hosting, Scenario, TaskProfile, facts
from advisor.decision.scenario_form import (
    resolve_ids,
    scenario_from_file,
    scenario_from_mapping,
    scenario_from_text,
    scenario_from_token,
    scenario_to_mapping,
    scenario_to_token,
    scenario_to_yaml,
)
from advisor.decision.scenarios import find_scenario, load_scenarios
from tests.decision.conftest import make_scenario

BUILT_IN = {
    "financial-risk-control",
    "financial-sentiment",
    "fraud-detection",
    "medical-records",
    "customer-service",
    "multi-turn-chat",
    "long-documents",
    "mathematics-tutoring",
    "industrial-inspection",
    "mobile-question-answering",
    "frontier-research",
    "code-assistant",
    "farm-advisory",
    "private-assistant",
    "cpu-office",
}


def test_all_built_in_scenarios_exist_in_both_languages(scenarios: dict[str, Scenario]) -> None:
    assert set(scenarios) == BUILT_IN
    for scenario in scenarios.values():
        assert scenario.name.en != scenario.name.zh
        assert len(scenario.description.en) > 40
        assert len(scenario.description.zh) > 15


def test_named_figures_of_the_built_in_scenarios(scenarios: dict[str, Scenario]) -> None:
    risk = scenarios["financial-risk-control"]
    assert (risk.input_tokens, risk.requests_per_s, risk.e2e_ms) == (512, 120, 85)
    assert scenarios["fraud-detection"].e2e_ms == 180
    medical = scenarios["medical-records"]
    assert (medical.input_tokens, medical.hosting) == (1024, Hosting.ON_PREMISES)
    service = scenarios["customer-service"]
    assert (service.requests_per_day, service.ttft_ms) == (4_000_000, 200)
    assert scenarios["code-assistant"].users == 50
    assert scenarios["farm-advisory"].power_limit_w == 10
    assert scenarios["private-assistant"].max_devices == 1
    assert scenarios["cpu-office"].is_cpu_only
    assert scenarios["mobile-question-answering"].device_classes == (DeviceClass.PHONE,)


def test_peak_rate_of_a_daily_volume() -> None:
    scenario = make_scenario(requests_per_day=864_000, peak_factor=2.5, growth_factor=2)
    assert scenario.arrivals_per_s == pytest.approx(50)
    assert scenario.closed_loop_users is None


def test_shares_and_weights_are_normalised() -> None:
    scenario = make_scenario(
        task={"code": 3, "mathematics": 1, "general_reasoning": 0}, weights={"cost": 2, "power": 2}
    )
    assert scenario.task == {TaskProfile.CODE: 0.75, TaskProfile.MATHEMATICS: 0.25}
    assert scenario.weights == {Axis.COST: 0.5, Axis.POWER: 0.5}


def test_every_fact_has_a_value() -> None:
    assert set(facts(make_scenario())) == set(FACTS)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"requests_per_s": -1}, "field 'requests_per_s': expected greater than 0, got -1"),
        ({"users": -3}, "field 'users'"),
        ({"input_tokens": 0}, "field 'input_tokens': expected greater than or equal to 1, got 0"),
        ({"output_tokens": 0}, "field 'output_tokens'"),
        ({"input_tokens": 1.5}, "field 'input_tokens'"),
        ({"context_tokens": 10}, "at least input + output + reasoning tokens = 1280, got 10"),
        ({"users": 3, "concurrency": 3}, "exactly one of users, requests_per_s, requests_per_day, concurrency"),
        ({"inputtokens": 5}, "a known field such as input_tokens"),
        ({"device_classes": ["fone"]}, "got fone"),
        ({"owned": {"h100-sxm": 0}}, "field 'owned.h100-sxm'"),
        ({"task": {"poetry": 1}}, "'mathematics'"),
        ({"task": {"code": 0}}, "at least one profile"),
        ({"users": float("nan")}, "finite"),
        ({"requests_per_s": float("inf")}, "field 'requests_per_s'"),
        ({"percentile": 100}, "field 'percentile'"),
        ({"quality_floor": 101}, "field 'quality_floor'"),
        ({"name": {"en": "only"}}, "field 'name.zh'"),
        ({"cached_input_tokens": 2000}, "fewer than input_tokens = 1024"),
        ({"this_machine": True, "owned": {"h100-sxm": 1}}, "nothing beside this_machine"),
        ({"id": "Bad Id"}, "field 'id'"),
    ],
)
def test_careless_values_get_one_clear_line(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        make_scenario(**fields)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_traffic_is_refused() -> None:
    with pytest.raises(DataError, match="exactly one of"):
        scenario_from_mapping({"id": "a", "name": "A"})


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_only_mappings_are_scenarios(content: object) -> None:
    with pytest.raises(DataError, match="a mapping of scenario fields"):
        scenario_from_mapping(content)


def test_unknown_device_is_named_with_a_suggestion(catalog: Catalog) -> None:
    said = r"mine.yaml, record 'case', field 'owned': expected a device of the catalogue such as h100-sxm"
    with pytest.raises(DataError, match=said):
        resolve_ids(make_scenario(owned={"h100-sxn": 8}), catalog, source="mine.yaml")


def test_aliases_become_ids(catalog: Catalog) -> None:
    scenario = resolve_ids(make_scenario(owned={"NVIDIA H100 80GB HBM3": 8}), catalog)
    assert scenario.owned == {"h100-sxm": 8}


def test_unknown_region_is_refused(catalog: Catalog) -> None:
    with pytest.raises(DataError, match="field 'region'"):
        resolve_ids(make_scenario(region="ATLANTIS"), catalog)


def test_round_trips(scenarios: dict[str, Scenario]) -> None:
    for scenario in scenarios.values():
        assert scenario_from_mapping(scenario_to_mapping(scenario)) == scenario
        assert scenario_from_text(scenario_to_yaml(scenario)) == scenario
        assert scenario_from_text(json.dumps(scenario_to_mapping(scenario))) == scenario
        token = scenario_to_token(scenario)
        assert scenario_from_token(token) == scenario
        assert len(token) < 1500
        assert hash(scenario) == hash(scenario_from_token(token))


@given(
    users=st.integers(1, 10**6),
    tokens=st.tuples(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(0, 10**5)),
    floor=st.none() | st.floats(0, 100),
    classes=st.lists(st.sampled_from(list(DeviceClass)), unique=True, max_size=3),
)
def test_any_valid_scenario_survives_a_link(
    users: int, tokens: tuple[int, int, int], floor: float | None, classes: list[DeviceClass]
) -> None:
    scenario = make_scenario(
        users=users,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        reasoning_tokens=tokens[2],
        context_tokens=sum(tokens) + 1,
        quality_floor=floor,
        device_classes=[str(item) for item in classes],
    )
    assert scenario_from_token(scenario_to_token(scenario)) == scenario


@given(st.text(max_size=200))
def test_no_link_crashes(token: str) -> None:
    with pytest.raises(FathomError):
        scenario_from_token(token)


def test_damaged_links_are_refused() -> None:
    token = scenario_to_token(make_scenario())
    for damaged in (token[:-5], token[3:], token[::-1], ""):
        with pytest.raises(InputError, match="an unbroken link"):
            scenario_from_token(damaged)


def test_broken_yaml_names_the_line() -> None:
    with pytest.raises(DataError, match="line 2"):
        scenario_from_text("id: a\n  name: [", source="mine.yaml")


def test_oversized_text_is_refused() -> None:
    with pytest.raises(DataError, match="at most"):
        scenario_from_text("#" * 300_000)


def test_files(tmp_path: Path, catalog: Catalog) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(scenario_to_yaml(make_scenario()), encoding="utf-8")
    assert find_scenario(str(path), catalog).id == "case"
    with pytest.raises(InputError, match="a readable text file"):
        scenario_from_file(tmp_path / "absent.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="a readable text file"):
        scenario_from_file(binary)
    with pytest.raises(UnknownIdError, match="code-assistant"):
        find_scenario("code-asistant", catalog)


def test_files_in_the_form_of_the_data(tmp_path: Path, catalog: Catalog) -> None:
    """Users copy the files under data/scenarios, which hold a list."""
    source = "\n".join(f"  - {{id: {name}, name: {name}, task: {{code: 1}}, users: 5}}" for name in ("one", "two"))
    path = tmp_path / "mine.yaml"
    path.write_text(f"scenarios:\n{source}\n", encoding="utf-8")
    assert find_scenario(f"{path}#two", catalog).id == "two"
    with pytest.raises(DataError, match=r"named as mine\.yaml#ID, got several: one, two"):
        find_scenario(str(path), catalog)
    with pytest.raises(DataError, match="one of one, two, got three"):
        find_scenario(f"{path}#three", catalog)
    alone = tmp_path / "no#1.yaml"
    alone.write_text(f"scenarios:\n{source.splitlines()[0]}\n", encoding="utf-8")
    assert find_scenario(str(alone), catalog).id == "one"
    alone.write_text("scenarios: []", encoding="utf-8")
    with pytest.raises(DataError, match="at least one scenario"):
        find_scenario(str(alone), catalog)


def test_aliases_in_yaml_are_refused() -> None:
    """Nested aliases ("billion laughs") grow without bound."""
    with pytest.raises(DataError, match="no YAML aliases"):
        scenario_from_text("id: a\nname: &n x\ndescription: *n\n")


def test_overlay_adds_and_replaces(tmp_path: Path) -> None:
    from advisor.catalog import load_catalog

    text = "scenarios:\n- {id: cpu-office, name: Mine, users: 3}\n- {id: own, name: Own, concurrency: 2}\n"
    (tmp_path / "scenarios.yaml").write_text(text, encoding="utf-8")
    found = load_scenarios(load_catalog(tmp_path))
    assert found["cpu-office"].users == 3
    assert found["own"].concurrency == 2
    assert len(found) == len(BUILT_IN) + 1


def test_broken_overlay_names_file_and_record(tmp_path: Path) -> None:
    from advisor.catalog import load_catalog

    text = "scenarios:\n- {id: own, name: Own, requests_per_s: -2}\n"
    (tmp_path / "scenarios.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"scenarios\.yaml, record 'own', field 'requests_per_s'"):
        load_scenarios(load_catalog(tmp_path))
