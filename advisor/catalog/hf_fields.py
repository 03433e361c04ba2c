"""Typed reading of the fields of a `config.json`: each problem names the field and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from advisor.catalog.errors import DataError

__all__ = ["Fields"]

_LARGEST = 10**12


@dataclass(frozen=True, slots=True)
class Fields:
    """The language part of a configuration. `kind` is its `model_type`."""

    config: Mapping[str, object]
    file: str
    kind: str

    def integer(self, *names: str) -> int:
        """The first of `names` that is present; raises DataError if none is."""
        found = self.optional(*names)
        if found is None:
            raise DataError(self.file, self.kind, names[0], "a whole number above 0")
        return found

    def optional(self, *names: str) -> int | None:
        """As `integer`, but None where none is present or it is null."""
        for name in names:
            value = self.config.get(name)
            if value is not None:
                return self._checked(name, value)
        return None

    def count(self, name: str, default: int = 0) -> int:
        """A whole number that may be 0."""
        value = self.config.get(name)
        if value is None:
            return default
        return 0 if value == 0 and not isinstance(value, bool) else self._checked(name, value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.config.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise DataError(self.file, self.kind, name, "true or false", value)
        return value

    def text(self, name: str, default: str = "") -> str:
        value = self.config.get(name)
        return value if isinstance(value, str) else default

    def integers(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers; empty if absent."""
        value = self.config.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, int) and item >= 0 for item in value):
            raise DataError(self.file, self.kind, name, "a list of whole numbers", value)
        return tuple(value)

    def words(self, name: str) -> tuple[str, ...]:
        value = self.config.get(name)
        return tuple(str(item) for item in value) if isinstance(value, list) else ()

    def _checked(self, name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LARGEST:
            got = repr(value) if isinstance(value, str) else value
            raise DataError(self.file, self.kind, name, "a whole number above 0", got)
        return value
