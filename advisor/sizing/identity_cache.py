"""A cache keyed by the identity of records: hashing a whole architecture costs more than the answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

__all__ = ["cached_by_identity"]

T = TypeVar("T")
_BY_VALUE = (str, float)


def cached_by_identity(maxsize: int) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Like `lru_cache` for frozen records, strings and numbers as positional arguments; emptied at `maxsize`.

    The cache holds its arguments, so an identity is never that of another object.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        known: dict[tuple[Any, ...], tuple[tuple[Any, ...], T]] = {}

        @wraps(function)
        def cached(*arguments: Any) -> T:
            key = tuple([a if type(a) in _BY_VALUE else id(a) for a in arguments])
            found = known.get(key)
            if found is not None:
                return found[1]
            if len(known) >= maxsize:
                known.clear()
            answer = function(*arguments)
            known[key] = (arguments, answer)
            return answer

        return cached

    return decorate
