"""The decision tree: from a scenario to the families, formats and weights to look at first, and the path there.

`tree.yaml` has `root`, `nodes` and `leaves`. A node asks one question and has branches; the first branch whose
`when` holds is taken, the last one has none. Validated at load, so that walking it cannot fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from advisor.catalog.catalog import Catalog
from advisor.catalog.errors import DataError
from advisor.catalog.files import DataFile, read_yaml
from advisor.catalog.paths import DATA_DIR
from advisor.decision.conditions import Condition, Fact, crossing, holds, parse_condition, tests_in
from advisor.decision.result import Leaf, MixKind, Reason, TreeStep
from advisor.decision.scenario import Axis, Scenario, Text, facts

__all__ = ["Branch", "Node", "Tree", "check_vocabulary", "load_tree", "tree_from_mapping", "walk"]

MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Branch:
    label: Text
    when: Condition | None  # None: every other case
    goto: str


@dataclass(frozen=True, slots=True)
class Node:
    id: str
    question: Text
    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    root: str
    nodes: Mapping[str, Node]
    leaves: Mapping[str, Leaf]
    file: str = "data/tree.yaml"


def load_tree(catalog: Catalog) -> Tree:
    """The tree of the user's overlay (`tree.yaml`) if it has one, else the built-in one. Raises DataError."""
    tree = _load(catalog.overlay_dir)
    check_vocabulary(tree, catalog)
    return tree


def walk(tree: Tree, scenario: Scenario) -> tuple[tuple[TreeStep, ...], Leaf]:
    """The steps taken and the leaf. The user's own weights replace the leaf's."""
    known = facts(scenario)
    steps = []
    place = tree.root
    while place in tree.nodes:
        node = tree.nodes[place]
        branch = _taken(node, known)
        steps.append(_step(node, branch, known))
        place = branch.goto
    leaf = tree.leaves[place]
    return tuple(steps), replace(leaf, weights=scenario.weights) if scenario.weights else leaf


def tree_from_mapping(content: object, file: str) -> Tree:
    """A checked tree. Raises DataError: unknown field or branch target, missing branch, cycle, unreachable node."""
    if not isinstance(content, Mapping) or set(content) != {"root", "nodes", "leaves"}:
        raise DataError(file, "", "", "exactly the keys root, nodes and leaves")
    leaves = {leaf.id: leaf for leaf in (_leaf(item, file) for item in _list(content, "leaves", file))}
    nodes = {node.id: node for node in (_node(item, file) for item in _list(content, "nodes", file))}
    _refuse_repeats([*_list(content, "nodes", file), *_list(content, "leaves", file)], file)
    tree = Tree(str(content["root"]), nodes, leaves, file)
    _check_graph(tree)
    return tree


def check_vocabulary(tree: Tree, catalog: Catalog) -> None:
    """Every family and format family that a leaf names exists in the catalogue. Raises DataError."""
    families = {variant.family for variant in catalog.variants.values()}
    formats = {item.family for item in catalog.formats.values()}
    for leaf in tree.leaves.values():
        for name, known, field in [(f, families, "families") for f in leaf.families] + [
            (f, formats, "formats") for f in leaf.formats
        ]:
            if name not in known:
                raise DataError(tree.file, leaf.id, field, f"one of {', '.join(sorted(known))}", name)


@lru_cache(maxsize=8)
def _load(overlay: Path | None) -> Tree:
    own = overlay / "tree.yaml" if overlay else None
    if own and own.is_file():
        file = DataFile(own, "tree.yaml", False)
    else:
        file = DataFile(DATA_DIR / "tree.yaml", "data/tree.yaml", True)
    return tree_from_mapping(read_yaml(file), file.name)


def _taken(node: Node, known: Mapping[str, Fact]) -> Branch:
    return next(branch for branch in node.branches if branch.when is None or holds(branch.when, known))


def _step(node: Node, branch: Branch, known: Mapping[str, Fact]) -> TreeStep:
    tests = [test for item in node.branches if item.when for test in tests_in(item.when)]
    flips = []
    for test in tests:
        value, side = crossing(test, known)
        other = branch if value is None else _taken(node, {**known, test.field: value})
        if other is not branch:
            flips.append(_flip(test.field, side, value if side == "equal" else test.value, other))
    return TreeStep(
        node_id=node.id,
        question=node.question,
        decided_by={test.field: known[test.field] for test in tests},
        branch=branch.label,
        counterfactuals=tuple(flips),
    )


def _flip(field: str, side: str, value: Fact, other: Branch) -> Reason:
    shown = str(value).lower() if isinstance(value, bool) or value is None else value
    values = {"field": field, "value": shown, "branch_en": other.label.en, "branch_zh": other.label.zh}
    return Reason(f"flip_{side}", values)


def _list(content: Mapping[object, object], key: str, file: str) -> list[Mapping[str, object]]:
    items = content[key]
    if not isinstance(items, list) or not items or not all(isinstance(item, Mapping) for item in items):
        raise DataError(file, "", key, "a list of records")
    return items


def _refuse_repeats(items: list[Mapping[str, object]], file: str) -> None:
    seen: set[str] = set()
    for item in items:
        name = str(item.get("id"))
        if name in seen:
            raise DataError(file, name, "id", "an id used once")
        seen.add(name)


def _text(item: Mapping[str, object], field: str, file: str, record: str) -> Text:
    words = item.get(field)
    if not isinstance(words, Mapping) or set(words) != {"en", "zh"}:
        raise DataError(file, record, field, "{en: ..., zh: ...}", words)
    return Text(str(words["en"]), str(words["zh"]))


def _node(item: Mapping[str, object], file: str) -> Node:
    record = _id(item, file)
    _only(item, {"id", "question", "branches"}, file, record)
    branches = item.get("branches")
    if not isinstance(branches, list) or len(branches) < 2 or not all(isinstance(b, Mapping) for b in branches):
        raise DataError(file, record, "branches", "at least two branches")
    built = tuple(_branch(branch, file, record) for branch in branches)
    if built[-1].when is not None or any(branch.when is None for branch in built[:-1]):
        raise DataError(file, record, "branches", "a `when` in each branch but the last, which takes every other case")
    return Node(record, _text(item, "question", file, record), built)


def _branch(item: Mapping[str, object], file: str, record: str) -> Branch:
    _only(item, {"label", "when", "goto"}, file, record)
    if not isinstance(item.get("goto"), str):
        raise DataError(file, record, "goto", "the id of a node or leaf", item.get("goto"))
    when = parse_condition(item["when"], file, record) if "when" in item else None
    return Branch(_text(item, "label", file, record), when, str(item["goto"]))


def _leaf(item: Mapping[str, object], file: str) -> Leaf:
    record = _id(item, file)
    _only(item, {"id", "name", "reason", "families", "formats", "weights", "mix"}, file, record)
    mix = item.get("mix")
    if mix is not None and mix not in list(MixKind):
        raise DataError(file, record, "mix", f"one of {', '.join(MixKind)}", mix)
    return Leaf(
        id=record,
        name=_text(item, "name", file, record),
        reason=_text(item, "reason", file, record),
        families=_names(item, "families", file, record),
        formats=_names(item, "formats", file, record),
        weights=_weights(item.get("weights"), file, record),
        mix=MixKind(str(mix)) if mix else None,
    )


def _names(item: Mapping[str, object], field: str, file: str, record: str) -> tuple[str, ...]:
    names = item.get(field)
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(file, record, field, "a list of at least one name", names)
    return tuple(names)


def _weights(content: object, file: str, record: str) -> Mapping[Axis, float]:
    if not isinstance(content, Mapping) or not content:
        raise DataError(file, record, "weights", f"numbers for {', '.join(Axis)}", content)
    for axis, value in content.items():
        if axis not in list(Axis) or isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise DataError(file, record, f"weights.{axis}", f"a number from 0 for {', '.join(Axis)}", value)
    total = float(sum(content.values()))
    if total <= 0:
        raise DataError(file, record, "weights", "at least one weight above 0")
    return {Axis(axis): float(value) / total for axis, value in content.items()}


def _id(item: Mapping[str, object], file: str) -> str:
    if not isinstance(item.get("id"), str):
        raise DataError(file, "", "id", "a text", item.get("id"))
    return str(item["id"])


def _only(item: Mapping[str, object], known: set[str], file: str, record: str) -> None:
    for name in item:
        if name not in known:
            raise DataError(file, record, str(name), f"only {', '.join(sorted(known))}")


def _check_graph(tree: Tree) -> None:
    """Every branch leads somewhere, no path returns to itself, everything is reached from the root."""
    _require(tree, tree.root, "", "root")
    for node in tree.nodes.values():
        for branch in node.branches:
            _require(tree, branch.goto, node.id, "goto")
    finished: set[str] = set()
    _visit(tree, tree.root, (), finished)
    for name in (*tree.nodes, *tree.leaves):
        if name not in finished:
            raise DataError(tree.file, name, "", f"a branch that leads here from '{tree.root}': it is unreachable")


def _require(tree: Tree, target: str, record: str, field: str) -> None:
    if target not in tree.nodes and target not in tree.leaves:
        raise DataError(tree.file, record, field, "the id of an existing node or leaf", target)


def _visit(tree: Tree, place: str, path: tuple[str, ...], finished: set[str]) -> None:
    """Depth first; a place on its own path closes a cycle."""
    if place in path:
        cycle = " > ".join((*path[path.index(place) :], place))
        raise DataError(tree.file, place, "branches", "no cycle", cycle)
    if len(path) > MAX_DEPTH:
        raise DataError(tree.file, place, "branches", f"a tree of at most {MAX_DEPTH} questions in a row")
    if place in tree.nodes and place not in finished:
        for branch in tree.nodes[place].branches:
            _visit(tree, branch.goto, (*path, place), finished)
    finished.add(place)
