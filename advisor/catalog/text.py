"""Texts in English and Chinese: `data/i18n/<language>/<area>.yaml`, keys joined with dots (`ui.advise.title`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from string import Formatter

import yaml

from advisor.catalog.errors import DataError
from advisor.catalog.paths import DATA_DIR

__all__ = ["LANGUAGES", "name_in", "texts", "translate"]

LANGUAGES = ("en", "zh")


class _Counted(Formatter):
    """Text with words that follow a number."""

    def format_field(self, value: object, format_spec: str) -> str:
        one, bar, many = format_spec.partition("|")
        if not bar:
            return str(super().format_field(value, format_spec))
        return one if str(value) in ("1", "1.0") else many


_COUNTED = _Counted()


def translate(language: str, key: str, /, **values: object) -> str:
    """The text for `key`, with `values` filled in. Raises KeyError for an unknown key: a bug, caught by tests.

    `{count:replica|replicas}` is the first word for one, the second for any other number.
    """
    text = texts(language)[key]
    return _COUNTED.format(text, **values) if "|" in text else text.format(**values)


def name_in(language: str, name: str) -> str:
    """The name of a format or machine of the catalogue; product names and those of an overlay stay as they are."""
    return texts(language).get(f"names.{name}", name)


@lru_cache(maxsize=len(LANGUAGES))
def texts(language: str) -> Mapping[str, str]:
    """All texts of one language as a flat mapping."""
    flat: dict[str, str] = {}
    for path in sorted((DATA_DIR / "i18n" / language).glob("*.yaml")):
        _flatten(_read(path), path.stem, flat)
    return flat


def _read(path: Path) -> Mapping[str, object]:
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    if not isinstance(content, dict):
        raise DataError(path.name, "", "", "a mapping of texts")
    return content


def _flatten(node: Mapping[str, object], prefix: str, out: dict[str, str]) -> None:
    for key, value in node.items():
        name = f"{prefix}.{key}"
        if isinstance(value, dict):
            _flatten(value, name, out)
        else:
            out[name] = str(value)
