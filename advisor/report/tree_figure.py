"""The decision tree as a figure: one box per node and per place where a leaf is reached, with the path taken.

Drawn like an indented list: the branch for every other case goes on below, all other branches go to the right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from advisor.catalog.text import translate
from advisor.decision.result import Recommendation
from advisor.decision.scenario import Text
from advisor.decision.tree import Tree as DecisionTree
from advisor.report.figures import Edge, Node, Tree

__all__ = ["tree_figure"]


def tree_figure(tree: DecisionTree, answer: Recommendation, language: str) -> Tree:
    """`Node.id` is the node's id, or "leaf@node.branch": a leaf that several branches reach is drawn for each."""
    drawing = _Drawing(tree, language, {step.node_id: step.branch for step in answer.path})
    drawing.place(tree.root, tree.root, 0, 0, on_path=True)
    steps = " → ".join(step.branch.get(language) for step in answer.path)
    return Tree(
        title=translate(language, "report.tree.title"),
        hint=translate(language, "report.tree.hint"),
        alt=translate(language, "report.tree.alt", leaf=answer.leaf.name.get(language), steps=steps),
        nodes=tuple(drawing.nodes),
        edges=tuple(drawing.edges),
    )


@dataclass(slots=True)
class _Drawing:
    tree: DecisionTree
    language: str
    taken: Mapping[str, Text]
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def place(self, target: str, name: str, column: int, row: int, *, on_path: bool) -> int:
        """Draw `target` and all below it; returns the next free row."""
        if target in self.tree.leaves:
            label = self.tree.leaves[target].name.get(self.language)
            self.nodes.append(Node(name, label, column, row, leaf=True, on_path=on_path))
            return row + 1
        node = self.tree.nodes[target]
        label = node.question.get(self.language)
        self.nodes.append(Node(name, label, column, row, leaf=False, on_path=on_path))
        free = row
        for index, branch in enumerate(node.branches):
            last = index == len(node.branches) - 1
            chosen = on_path and self.taken.get(target) == branch.label
            child = branch.goto if branch.goto in self.tree.nodes else f"{branch.goto}@{target}.{index}"
            self.edges.append(Edge(name, child, branch.label.get(self.language), on_path=chosen))
            free = self.place(branch.goto, child, column + (not last), max(free, row + last), on_path=chosen)
        return free
