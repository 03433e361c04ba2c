"""Frozen dataclasses to plain JSON values and back: how specs and results cross the process border."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

from advisor.catalog.errors import DataError

__all__ = ["decode", "encode"]

T = TypeVar("T")


def encode(value: object) -> Any:
    """Dicts, lists, strings and numbers only. Fields that are None are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {name: encode(item) for name, item in pairs if item is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    return value


def decode(cls: type[T], data: object, *, where: str = "probe record") -> T:
    """An instance of the dataclass `cls`. Unknown keys are ignored (a newer writer), missing required ones raise
    DataError.
    """
    if not isinstance(data, Mapping):
        raise DataError(where, "", cls.__name__, "a mapping", type(data).__name__)
    hints = _hints(cls)
    known = {name: _value(hints[name], data[name], f"{where}: {name}") for name in hints if name in data}
    try:
        return cls(**known)
    except TypeError as problem:
        missing = ", ".join(name for name in _required(cls) if name not in known)
        raise DataError(where, "", cls.__name__, f"the fields {missing}" if missing else str(problem)) from problem


@lru_cache(maxsize=128)
def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _required(cls: type) -> list[str]:
    return [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]


def _value(hint: Any, data: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if data is None or (isinstance(data, str) and str in arguments):
            return data
        return _value(next(a for a in arguments if a is not type(None)), data, where)
    if origin is tuple:
        return tuple(_value(arguments[0], item, where) for item in _list(data, where))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise DataError(where, "", "", "a mapping", type(data).__name__)
        return {str(key): _value(arguments[1], item, where) for key, item in data.items()}
    if isinstance(hint, type):
        return _plain(hint, data, where)
    return data


def _plain(hint: type, data: Any, where: str) -> Any:
    if is_dataclass(hint):
        return decode(hint, data, where=where)
    if data is None:
        raise DataError(where, "", "", hint.__name__, "nothing")
    try:
        return hint(data) if issubclass(hint, (Enum, bool, int, float, str)) else data
    except (TypeError, ValueError, OverflowError) as problem:
        raise DataError(where, "", "", f"{hint.__name__}", data) from problem


def _list(data: Any, where: str) -> list[Any]:
    if not isinstance(data, (list, tuple)):
        raise DataError(where, "", "", "a list", type(data).__name__)
    return list(data)
