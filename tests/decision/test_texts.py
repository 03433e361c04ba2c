"""Texts of the decision: both languages, every key that the code can produce."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import advisor.decision
from advisor.catalog.text import texts
from advisor.decision.explain import sentence, value_text
from advisor.decision.result import Constraint, Reason
from advisor.decision.scenario import FACTS, TaskProfile
from advisor.sizing.plan import Binding


def _own(language: str) -> dict[str, str]:
    return {key: text for key, text in texts(language).items() if key.startswith("decision.")}


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys_and_placeholders() -> None:
    english, chinese = _own("en"), _own("zh")
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert _placeholders(text) == _placeholders(chinese[key]), key


def test_every_reason_in_the_code_has_a_sentence() -> None:
    folder = Path(advisor.decision.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    keys = set(re.findall(r'Reason\(\s*"([a-z_0-9]+)"', source))
    assert len(keys) > 10
    known = _own("en")
    for key in keys:
        assert f"decision.reason.{key}" in known, key


def test_constraints_fields_and_profiles_have_words() -> None:
    known = _own("en")
    for constraint in Constraint:
        assert f"decision.reason.rejected_{constraint}" in known
    for field in FACTS:
        assert f"decision.field.{field}" in known
    for profile in TaskProfile:
        assert f"decision.value.profile_{profile}" in known
    for binding in Binding:
        assert f"decision.value.binding_{binding}" in known


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (671026419200, "671,026,419,200"),
        (0.123456, "0.1235"),
        (41.96, "41.96"),
        (1234.567, "1,235"),
        (None, "not stated"),
    ],
)
def test_numbers_read_well(value: float | None, expected: str) -> None:
    assert value_text("en", value) == expected


def test_latency_from_a_second_on_is_in_seconds() -> None:
    reason = Reason("ttft_met", {"value": 160_000.0, "limit": 850, "percentile": 95})
    assert sentence("en", reason) == "First token after 160 s at the 95th percentile, limit 850 ms."
    assert sentence("zh", reason) == "95 分位首词元 160 秒，时限 850 毫秒。"


def test_sentences_in_both_languages() -> None:
    values = {"variant": "R1", "format": "FP8", "device": "H100", "count": 8, "need_gib": 641.2, "have_gib": 596.0}
    reason = Reason("rejected_memory", values)
    assert sentence("en", reason) == "R1 in FP8 needs 641.2 GiB, 8 × H100 has 596."
    assert "641.2" in sentence("zh", reason)
