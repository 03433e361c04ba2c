"""Both languages have the same texts with the same placeholders, and the code asks only for texts that exist."""

from __future__ import annotations

import ast
import fnmatch
import re
import string
from enum import StrEnum
from pathlib import Path

import pytest
import yaml

from advisor.catalog import load_catalog
from advisor.catalog.paths import DATA_DIR
from advisor.catalog.quantity import Basis
from advisor.catalog.records import Confidence, DeviceClass, Role
from advisor.catalog.text import name_in, texts, translate
from advisor.decision.result import Constraint, MixKind
from advisor.decision.scenario import Axis, Hosting, Language, TaskProfile
from advisor.sizing.plan import Binding
from probes.result import State
from probes.spec import Kind

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "advisor/ui").rglob("*.py"), *(ROOT / "advisor/report").rglob("*.py")])


def _flat(area: Path, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}

    def walk(node: dict[str, object], name: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                walk(value, f"{name}{key}.")
            else:
                found[f"{name}{key}"] = str(value)

    walk(yaml.safe_load(area.read_text(encoding="utf-8")), prefix)
    return found


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


AREAS = sorted({path.stem for path in (DATA_DIR / "i18n").rglob("*.yaml")} - {"names"})


@pytest.mark.parametrize("area", AREAS)
def test_both_languages_have_the_same_keys_and_placeholders(area: str) -> None:
    english, chinese = (_flat(DATA_DIR / "i18n" / lang / f"{area}.yaml") for lang in ("en", "zh"))
    assert english.keys() == chinese.keys()
    assert {key for key in english if _placeholders(english[key]) != _placeholders(chinese[key])} == set()


def test_names_that_are_words_have_a_chinese_name() -> None:
    """Formats and machines that are offered; a lower-case English word marks a name that is not a product's."""
    catalog = load_catalog()
    hosts = [host.name for host in catalog.hosts.values() if not host.reference]
    names = [*(f.name for f in catalog.formats.values()), *hosts]
    wordy = [name for name in names if re.search(r"\b(?!bitsandbytes|bfloat|float|q4f16)[a-z]{3,}", name)]
    assert len(wordy) > 10
    assert [name for name in wordy if name_in("zh", name) == name] == []
    parts = (catalog.devices.values(), catalog.servers.values())
    every = {*names, *(v.family for v in catalog.variants.values()), *(item.name for part in parts for item in part)}
    kept = [key.removeprefix("names.") for key in texts("zh") if key.startswith("names.")]
    assert [name for name in kept if name not in every] == []
    assert name_in("en", "AWQ 4 bit, groups of 128") == "AWQ 4 bit, groups of 128"


@pytest.mark.parametrize(("count", "text"), [(1, "1 replica lost"), ("1", "1 replica lost"), (2, "2 replicas lost")])
def test_a_noun_follows_its_number(count: object, text: str) -> None:
    assert translate("en", "load.phase.outage", number=count) == text


def _asked() -> tuple[set[str], set[str]]:
    """Keys asked for by constant, and patterns of those with a computed part."""
    exact, patterns = set(), set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("t", "translate")
            ):
                continue
            prefix, place = ("ui.", 0) if node.func.id == "t" else ("", 1)
            key = node.args[place]
            if isinstance(key, ast.Constant):
                exact.add(prefix + str(key.value))
            elif isinstance(key, ast.JoinedStr):
                parts = (str(v.value) if isinstance(v, ast.Constant) else "*" for v in key.values)
                patterns.add(prefix + "".join(parts))
    return exact, patterns


def test_every_text_that_the_code_asks_for_exists() -> None:
    exact, patterns = _asked()
    known = texts("en")
    assert len(exact) > 100
    assert sorted(key for key in exact if key not in known) == []
    assert sorted(pattern for pattern in patterns if not fnmatch.filter(known, pattern)) == []


def test_no_text_of_the_pages_is_left_unused() -> None:
    exact, patterns = _asked()
    own = [key for key in texts("en") if key.startswith("ui.")]
    assert sorted(key for key in own if key not in exact and not any(fnmatch.fnmatch(key, p) for p in patterns)) == []


def test_chinese_texts_are_chinese() -> None:
    """Texts without a Chinese character are names, units or placeholders only."""
    plain = {key: text for key, text in texts("zh").items() if not any("\u4e00" <= char <= "\u9fff" for char in text)}
    english = texts("en")
    assert sorted(key for key, text in plain.items() if len(text.split()) > 4 and text == english[key]) == []


@pytest.mark.parametrize(
    ("prefix", "members"),
    [
        ("ui.constraint", Constraint),
        ("ui.binding", Binding),
        ("ui.device_class", DeviceClass),
        ("ui.role", Role),
        ("ui.mix", MixKind),
        ("ui.basis", Basis),
        ("ui.axis", Axis),
        ("ui.task", TaskProfile),
        ("ui.hosting", Hosting),
        ("ui.language", Language),
        ("ui.confidence", Confidence),
        ("probes.state", State),
        ("probes.kind", Kind),
    ],
)
def test_every_word_of_a_fixed_list_has_a_text(prefix: str, members: type[StrEnum]) -> None:
    assert sorted(f"{prefix}.{member}" for member in members if f"{prefix}.{member}" not in texts("zh")) == []
