"""Texts of the pages about load, fleets and money."""

from __future__ import annotations

from advisor.catalog.text import translate
from advisor.serving.workload import SINGLE_CLASS
from advisor.ui.text import language

__all__ = ["class_name", "word"]


def word(key: str, /, **values: object) -> str:
    """The text `load.<key>` in the language of this session."""
    return translate(language(), f"load.{key}", **values)


def class_name(name: str) -> str:
    """Of a class of requests; the only class of a workload has no name of the user's."""
    return word("fleet.class_all") if name == SINGLE_CLASS else name
