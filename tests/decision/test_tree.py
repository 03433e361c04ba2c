"""The decision tree: paths, counterfactuals, and every fault that a careless author makes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import DataError
from advisor.catalog.paths import DATA_DIR
from advisor.decision.conditions import Comparison, Group, Op, crossing, holds
from advisor.decision.explain import sentence
from advisor.decision.scenario import Axis, Scenario, facts
from advisor.decision.tree import load_tree, tree_from_mapping, walk
from tests.decision.conftest import make_scenario

LEAVES = {
    "financial-risk-control": "strict_latency",
    "financial-sentiment": "strict_latency",
    "fraud-detection": "strict_latency",
    "medical-records": "enterprise",
    "customer-service": "high_concurrency",
    "multi-turn-chat": "enterprise",
    "long-documents": "long_context",
    "mathematics-tutoring": "enterprise",
    "industrial-inspection": "edge_central",
    "mobile-question-answering": "edge_small",
    "frontier-research": "frontier",
    "code-assistant": "enterprise",
    "farm-advisory": "edge_small",
    "private-assistant": "cost_sensitive",
    "cpu-office": "cpu_only",
}


@pytest.fixture
def content() -> dict[str, Any]:
    return yaml.safe_load((DATA_DIR / "tree.yaml").read_text(encoding="utf-8"))


def test_built_in_scenarios_reach_their_leaves(catalog: Catalog, scenarios: dict[str, Scenario]) -> None:
    tree = load_tree(catalog)
    assert {name: walk(tree, scenario)[1].id for name, scenario in scenarios.items()} == LEAVES
    assert set(LEAVES.values()) == set(tree.leaves)


def test_path_holds_the_values_that_decided(catalog: Catalog) -> None:
    steps, leaf = walk(load_tree(catalog), make_scenario(context_tokens=65536))
    assert leaf.id == "long_context"
    last = steps[-1]
    assert last.node_id == "context"
    assert last.decided_by == {"context_tokens": 65536}
    assert [sentence("en", reason) for reason in last.counterfactuals] == [
        "With context (tokens) of at most 32,768 the branch would be: No."
    ]
    assert "32,768" in sentence("zh", last.counterfactuals[0])


def test_counterfactuals_are_true(catalog: Catalog, scenarios: dict[str, Scenario]) -> None:
    """Putting the threshold into the facts really changes the branch at that node."""
    tree = load_tree(catalog)
    nudge = {"flip_at_most": 0.0, "flip_at_least": 0.0, "flip_below": -1e-3, "flip_above": 1e-3}
    checked = 0
    for scenario in scenarios.values():
        for step in walk(tree, scenario)[0]:
            node = tree.nodes[step.node_id]
            for reason in step.counterfactuals:
                if reason.key not in nudge:
                    continue
                value = float(reason.values["value"]) + nudge[reason.key]
                known = {**facts(scenario), str(reason.values["field"]): value}
                taken = next(b for b in node.branches if b.when is None or holds(b.when, known))
                assert taken.label.en == reason.values["branch_en"]
                assert taken.label != step.branch
                checked += 1
    assert checked > 50


def test_own_weights_replace_those_of_the_leaf(catalog: Catalog) -> None:
    _, leaf = walk(load_tree(catalog), make_scenario(weights={"cost": 1}))
    assert leaf.weights == {Axis.COST: 1.0}


@pytest.mark.parametrize(
    ("op", "value", "fact", "expected"),
    [
        (Op.LT, 5, 4, True),
        (Op.LT, 5, 5, False),
        (Op.LE, 5, 5, True),
        (Op.GT, 5, 5, False),
        (Op.GE, 5, 5, True),
        (Op.EQ, "zh", "zh", True),
        (Op.NE, "zh", "en", True),
        (Op.NE, "zh", None, False),
        (Op.LT, 5, None, False),
        (Op.KNOWN, True, 0.0, True),
        (Op.KNOWN, True, None, False),
        (Op.UNKNOWN, True, None, True),
    ],
)
def test_comparisons(op: Op, value: float | str, fact: float | str | None, *, expected: bool) -> None:
    assert holds(Comparison("field", op, value), {"field": fact}) is expected


@pytest.mark.parametrize("op", [Op.LT, Op.LE, Op.GT, Op.GE])
@pytest.mark.parametrize("fact", [-3.0, 5.0, 70.0, None])
def test_crossing_flips_the_comparison(op: Op, fact: float | None) -> None:
    test = Comparison("field", op, 5.0)
    value, _ = crossing(test, {"field": fact})
    assert holds(test, {"field": value}) is not holds(test, {"field": fact})


def test_groups() -> None:
    small, large = Comparison("f", Op.LT, 5), Comparison("f", Op.GT, 1)
    assert holds(Group(True, (small, large)), {"f": 3})
    assert not holds(Group(True, (small, large)), {"f": 7})
    assert holds(Group(False, (small, large)), {"f": 7})


def _node(content: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in content["nodes"] if node["id"] == name)


def _unknown_field(content: dict[str, Any]) -> None:
    _node(content, "context")["branches"][0]["when"]["field"] = "context_token"


def _unknown_target(content: dict[str, Any]) -> None:
    _node(content, "context")["branches"][0]["goto"] = "nowhere"


def _cycle(content: dict[str, Any]) -> None:
    _node(content, "money")["branches"][1]["goto"] = "latency"
    content["leaves"] = [leaf for leaf in content["leaves"] if leaf["id"] != "enterprise"]


def _unreachable(content: dict[str, Any]) -> None:
    extra = copy.deepcopy(_node(content, "money"))
    extra["id"] = "island"
    content["nodes"].append(extra)


def _missing_branch(content: dict[str, Any]) -> None:
    _node(content, "money")["branches"].pop()


def _no_other_case(content: dict[str, Any]) -> None:
    _node(content, "money")["branches"][1]["when"] = {"field": "users", "op": ">", "value": 1}


def _repeated_id(content: dict[str, Any]) -> None:
    content["leaves"].append(copy.deepcopy(content["leaves"][0]))


def _bad_op(content: dict[str, Any]) -> None:
    _node(content, "context")["branches"][0]["when"]["op"] = "=>"


def _text_threshold(content: dict[str, Any]) -> None:
    _node(content, "context")["branches"][0]["when"]["value"] = "long"


def _one_language(content: dict[str, Any]) -> None:
    del content["leaves"][0]["name"]["zh"]


def _negative_weight(content: dict[str, Any]) -> None:
    content["leaves"][0]["weights"]["quality"] = -1


def _no_weights(content: dict[str, Any]) -> None:
    content["leaves"][0]["weights"] = {"quality": 0}


def _bad_mix(content: dict[str, Any]) -> None:
    content["leaves"][0]["mix"] = "cocktail"


def _stray_key(content: dict[str, Any]) -> None:
    content["leaves"][0]["colour"] = "red"


def _empty_group(content: dict[str, Any]) -> None:
    _node(content, "money")["branches"][0]["when"] = {"any": []}


def _bad_root(content: dict[str, Any]) -> None:
    content["root"] = "trunk"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (_unknown_field, "record 'context', field 'field': expected a scenario field such as context_tokens"),
        (_unknown_target, "record 'context', field 'goto': expected the id of an existing node or leaf, got nowhere"),
        (_cycle, "no cycle, got latency > traffic > context > money > latency"),
        (_unreachable, "record 'island'"),
        (_missing_branch, "record 'money', field 'branches': expected at least two branches"),
        (_no_other_case, "record 'money', field 'branches': expected a `when` in each branch but the last"),
        (_repeated_id, "an id used once"),
        (_bad_op, "field 'op': expected one of < <= > >= = != known unknown, got =>"),
        (_text_threshold, "a number to compare with '>'"),
        (_one_language, "field 'name': expected {en: ..., zh: ...}"),
        (_negative_weight, "weights.quality"),
        (_no_weights, "at least one weight above 0"),
        (_bad_mix, "field 'mix'"),
        (_stray_key, "field 'colour'"),
        (_empty_group, "a list of at least one condition"),
        (_bad_root, "field 'root'"),
    ],
)
def test_faults_get_one_clear_line(content: dict[str, Any], fault: Any, expected: str) -> None:
    fault(content)
    with pytest.raises(DataError) as caught:
        tree_from_mapping(content, "tree.yaml")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("tree.yaml")


@pytest.mark.parametrize("content", [None, [], {"root": "a"}, {"root": "a", "nodes": [], "leaves": []}, "tree"])
def test_shapeless_trees_are_refused(content: object) -> None:
    with pytest.raises(DataError):
        tree_from_mapping(content, "tree.yaml")


@pytest.mark.parametrize(("field", "name"), [("families", "DeepSeek Dream"), ("formats", "fp12")])
def test_unknown_families_and_formats_are_named(tmp_path: Path, content: dict[str, Any], field: str, name: str) -> None:
    content["leaves"][0][field] = [name]
    (tmp_path / "tree.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"tree\.yaml, record 'frontier', field '{field}': expected one of .*got {name}"
    ):
        load_tree(load_catalog(tmp_path))


def test_overlay_replaces_the_tree(tmp_path: Path, content: dict[str, Any]) -> None:
    content["leaves"][0]["name"]["en"] = "Mine"
    (tmp_path / "tree.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    assert load_tree(load_catalog(tmp_path)).leaves["frontier"].name.en == "Mine"
