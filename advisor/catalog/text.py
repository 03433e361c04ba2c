"""Texts in English and Chinese: `data/i18n/<language>/<area>.yaml`, keys joined with dots (`ui.advise.title`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import yaml

from advisor.catalog.errors import DataError
from advisor.catalog.paths import DATA_DIR

__all__ = ["LANGUAGES", "texts", "translate"]

LANGUAGES = ("en", "zh")


def translate(language: str, key: str, /, **values: object) -> str:
    """The text for `key`, with `values` filled in. Raises KeyError for an unknown key: a bug, caught by tests."""
    return texts(language)[key].format(**values)


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
