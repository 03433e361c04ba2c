"""What all schemas share: validation at the boundary, then a frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from advisor.catalog.errors import DataError
from advisor.catalog.frozen import FrozenDict

__all__ = ["Amount", "Count", "Positive", "Schema", "Size", "Sources", "Text", "validate"]

Text = Annotated[str, Field(min_length=1, max_length=500)]
Sources = Annotated[tuple[Text, ...], Field(min_length=1)]
Size = Annotated[int, Field(gt=0, le=10**16, strict=True)]  # bytes, dimensions
Count = Annotated[int, Field(ge=0, le=10**9, strict=True)]
Positive = Annotated[float, Field(gt=0, le=1e20, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=1e20, allow_inf_nan=False)]


class Schema(BaseModel):
    """Fields as in the YAML file; `record()` gives the frozen dataclass `RECORD` with the same field names."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    RECORD: ClassVar[type]

    def record(self) -> Any:
        return self.RECORD(**{name: _plain(getattr(self, name)) for name in type(self).model_fields})


M = TypeVar("M", bound=BaseModel)


def validate(schema: type[M], content: Mapping[str, object], file: str, record: str) -> M:
    """`content` as a `schema`. Raises DataError for the first problem: field, expected value, value found."""
    try:
        return schema.model_validate(content)
    except ValidationError as problems:
        first = problems.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(file, record, field, *_expectation(first)) from problems


def _expectation(problem: Any) -> tuple[str, object]:
    if problem["type"] == "missing":
        return "a value", None
    if problem["type"] == "extra_forbidden":
        return "a known field name", problem["loc"][-1]
    text = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return text[:1].lower() + text[1:], problem["input"]


def _plain(value: object) -> object:
    if isinstance(value, Schema):
        return value.record()
    if isinstance(value, dict):
        return FrozenDict(value)
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return value
