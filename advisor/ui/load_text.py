"""Texts of the pages about load, fleets and money."""

from __future__ import annotations

from advisor.catalog.text import translate
from advisor.ui.text import language

__all__ = ["word"]


def word(key: str, /, **values: object) -> str:
    """The text `load.<key>` in the language of this session."""
    return translate(language(), f"load.{key}", **values)
