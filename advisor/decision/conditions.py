"""Conditions on scenario facts, as the tree writes them in YAML: `{field, op, value}`, `{all: […]}`, `{any: […]}`.

A fact that the user did not state (None) satisfies only `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from advisor.catalog.errors import DataError
from advisor.decision.scenario import FACTS

__all__ = ["Comparison", "Condition", "Fact", "Group", "Op", "crossing", "holds", "parse_condition", "tests_in"]

Fact = float | str | bool | None


class Op(StrEnum):
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    EQ = "="
    NE = "!="
    KNOWN = "known"
    UNKNOWN = "unknown"


_ORDERED = frozenset({Op.LT, Op.LE, Op.GT, Op.GE})
_UNARY = frozenset({Op.KNOWN, Op.UNKNOWN})
_SIDES = {Op.LE: "at_most", Op.LT: "below", Op.GE: "at_least", Op.GT: "above"}
_OPPOSITE = {Op.LE: Op.GT, Op.LT: Op.GE, Op.GE: Op.LT, Op.GT: Op.LE}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of one fact."""

    field: str
    op: Op
    value: float | str | bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """All of the parts, or any of them."""

    every: bool
    parts: tuple[Condition, ...]


Condition = Comparison | Group


def holds(condition: Condition, facts: Mapping[str, Fact]) -> bool:
    """Whether the facts satisfy the condition."""
    if isinstance(condition, Group):
        results = (holds(part, facts) for part in condition.parts)
        return all(results) if condition.every else any(results)
    fact = facts[condition.field]
    if condition.op in _UNARY:
        return (fact is None) == (condition.op is Op.UNKNOWN)
    if fact is None:
        return False
    if condition.op in _ORDERED:
        return _ordered(float(fact), condition.op, float(condition.value))
    return (fact == condition.value) == (condition.op is Op.EQ)


def tests_in(condition: Condition) -> Iterator[Comparison]:
    """The comparisons of a condition, left to right."""
    if isinstance(condition, Comparison):
        yield condition
        return
    for part in condition.parts:
        yield from tests_in(part)


def crossing(test: Comparison, facts: Mapping[str, Fact]) -> tuple[Fact, str]:
    """A value of the fact on the other side of the comparison, and in words which side: at_most, below, at_least,
    above or equal. The value is None where there is no natural one."""
    wanted = not holds(test, facts)
    if test.op in _UNARY:
        return None, ""
    if test.op not in _ORDERED:
        equal = wanted == (test.op is Op.EQ)
        if equal:
            return test.value, "equal"
        return (not test.value if isinstance(test.value, bool) else None), "equal"
    threshold = float(test.value)
    side = _SIDES[test.op] if wanted else _SIDES[_OPPOSITE[test.op]]
    step = max(abs(threshold) * 1e-6, 1e-6)
    return {"at_most": threshold, "at_least": threshold, "below": threshold - step, "above": threshold + step}[
        side
    ], side


def parse_condition(content: object, file: str, record: str) -> Condition:
    """A condition from YAML. Raises DataError naming the node, the field and what is expected."""
    if not isinstance(content, Mapping):
        raise DataError(file, record, "when", "{field, op, value}, {all: [...]} or {any: [...]}", content)
    for key in ("all", "any"):
        if key in content:
            return _group(content, key, file, record)
    return _test(content, file, record)


def _group(content: Mapping[object, object], key: str, file: str, record: str) -> Group:
    parts = content[key]
    if len(content) != 1 or not isinstance(parts, list) or not parts:
        raise DataError(file, record, key, "a list of at least one condition", parts)
    return Group(key == "all", tuple(parse_condition(part, file, record) for part in parts))


def _test(content: Mapping[object, object], file: str, record: str) -> Comparison:
    name, op = str(content.get("field", "")), str(content.get("op", ""))
    if name not in FACTS:
        near = get_close_matches(name, FACTS, n=3, cutoff=0.4)
        raise DataError(file, record, "field", f"a scenario field such as {', '.join(near or FACTS[:3])}", name)
    if op not in list(Op):
        raise DataError(file, record, "op", f"one of {' '.join(Op)}", op)
    if unknown := set(content) - {"field", "op", "value"}:
        raise DataError(file, record, str(sorted(map(str, unknown))[0]), "only field, op and value")
    if Op(op) in _UNARY:
        return Comparison(name, Op(op))
    value = content.get("value")
    if not isinstance(value, int | float | str):
        raise DataError(file, record, "value", "a number, a text or true/false", value)
    if Op(op) in _ORDERED and (isinstance(value, str | bool)):
        raise DataError(file, record, "value", f"a number to compare with '{op}'", value)
    return Comparison(name, Op(op), value)


def _ordered(fact: float, op: Op, value: float) -> bool:
    if op is Op.LT:
        return fact < value
    if op is Op.LE:
        return fact <= value
    return fact > value if op is Op.GT else fact >= value
