"""The sentence of a suggestion, in either language."""

from __future__ import annotations

from advisor.catalog import Catalog
from advisor.catalog.text import name_in, translate
from advisor.sizing.plan import Suggestion

__all__ = ["suggestion_text"]


def suggestion_text(suggestion: Suggestion, language: str, catalog: Catalog) -> str:
    """Names instead of ids where the catalogue has them."""
    values: dict[str, object] = dict(suggestion.values)
    for key, table in (("format", catalog.formats), ("device", catalog.devices), ("variant", catalog.variants)):
        known = table.get(str(values.get(f"{key}_id", "")))
        values[key] = name_in(language, known.name) if known is not None else values.get(f"{key}_id", "")
    return translate(language, f"sizing.suggestion.{suggestion.kind}", **values)
