"""What can go wrong with what a user gives us.

FathomError                 every expected failure; its text is one clear line for the user
├── DataError               a record, file or upload is broken: names file, record, field, expected value
├── UnknownIdError          an id that is not in the catalogue; suggests the nearest ones
├── UnsupportedError        a known thing that cannot be sized or run, and what is missing
│   └── NotHereError        this machine cannot compute it: an answer to a probe, like "does not fit"
└── InputError              a value from a form, URL or command line is out of range

"Nothing fits" is an answer, not an error, and has no exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

__all__ = ["DataError", "FathomError", "InputError", "NotHereError", "UnknownIdError", "UnsupportedError"]


_FEW_ENOUGH_TO_LIST = 24


class FathomError(Exception):
    """Expected failure; `str()` is one line that a user can act on."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Processes hand these to each other; the constructors take more than the message."""
        return _rebuilt, (type(self), self.args, dict(self.__dict__))


class DataError(FathomError):
    """A broken record: where it is, which field, what was expected."""

    def __init__(self, file: str, record: str, field: str, expected: str, got: object = None) -> None:
        self.file, self.record, self.field, self.expected, self.got = file, record, field, expected, got
        parts = (file, f"record '{record}'" if record else "", f"field '{field}'" if field else "")
        where = ", ".join(part for part in parts if part)
        found = "" if got is None else f", got {_shorten(got)}"
        super().__init__(f"{where}: expected {expected}{found}")


class UnknownIdError(FathomError):
    """An id that is not in the catalogue."""

    def __init__(self, kind: str, wanted: str, known: Iterable[str]) -> None:
        self.kind, self.wanted = kind, wanted
        ids = list(known)
        self.near = get_close_matches(wanted.lower(), ids, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(self.near)}?" if self.near else ""
        if not self.near and len(ids) <= _FEW_ENOUGH_TO_LIST:
            hint = f"; known: {', '.join(ids)}"
        super().__init__(f"unknown {kind} '{_shorten(wanted)}'{hint}")


class UnsupportedError(FathomError):
    """A known thing that cannot be sized or run here; the text says what is missing.

    `key` and `values`: of the same text in any language, where it has one.
    """

    def __init__(self, text: str, key: str = "", values: Mapping[str, str] | None = None) -> None:
        self.key, self.values = key, dict(values or {})
        super().__init__(text)


class NotHereError(UnsupportedError):
    """This machine cannot compute what was asked, whatever its memory."""


class InputError(FathomError):
    """A value given by a user is out of range."""

    def __init__(self, field: str, expected: str, got: object) -> None:
        self.field, self.expected, self.got = field, expected, got
        super().__init__(f"{field}: expected {expected}, got {_shorten(got)}")


def _shorten(value: object, limit: int = 80) -> str:
    text = str(value).replace("\n", " ")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _rebuilt(kind: type[FathomError], arguments: tuple[Any, ...], fields: dict[str, Any]) -> FathomError:
    problem = kind.__new__(kind, *arguments)
    problem.__dict__.update(fields)
    return problem
