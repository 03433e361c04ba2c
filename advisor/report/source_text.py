"""Where a number comes from, in the reader's language: the phrases that the program itself writes are translated,
formulas, file names and titles of publications stay as they are."""

from __future__ import annotations

import re
from functools import lru_cache
from string import Formatter

from advisor.catalog.text import texts

__all__ = ["source_text"]

_PREFIX = "report.source."


def source_text(source: str, language: str) -> str:
    """`source`: parts joined by "; ", in English, as `Quantity.source` has them."""
    return "; ".join(_part(part, language) for part in source.split("; "))


def _part(part: str, language: str) -> str:
    for key, pattern in _patterns():
        found = pattern.fullmatch(part)
        if found:
            return texts(language)[key].format(**found.groupdict())
    return part


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The English phrases, with what stands in their placeholders as named groups."""
    known = ((key, text) for key, text in texts("en").items() if key.startswith(_PREFIX))
    return tuple((key, re.compile(_pattern(text))) for key, text in known)


def _pattern(text: str) -> str:
    pieces = []
    for literal, name, _, _ in Formatter().parse(text):
        pieces.append(re.escape(literal))
        pieces += [f"(?P<{name}>.+?)"] if name else []
    return "".join(pieces)
