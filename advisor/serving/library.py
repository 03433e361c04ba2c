"""Workloads by name: built-in ones, the user's overlay, single files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from advisor.catalog.errors import DataError, InputError, UnknownIdError
from advisor.catalog.files import DataFile, default_overlay, parse_yaml, read_text, records
from advisor.catalog.schema_base import validate
from advisor.serving.lengths import LengthDistribution
from advisor.serving.sampling import check_workload
from advisor.serving.workload import ArrivalKind, ArrivalProcess, RequestClass, Slo, Workload

__all__ = ["DEFAULT_REASONING", "load_workloads", "read_workload", "workload", "workload_from_mapping"]

DEFAULT_REASONING = "servegen-deepseek-r1"  # production lengths of DeepSeek-R1

_Positive = Annotated[float, Field(gt=0, le=1e9)]
_NotNegative = Annotated[float, Field(ge=0, le=1e9)]
_Tokens = Annotated[float, Field(ge=1, le=100_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Fixed(_Strict):
    kind: Literal["fixed"]
    tokens: _Tokens

    def record(self) -> LengthDistribution:
        return LengthDistribution.fixed(self.tokens)


class _Geometric(_Strict):
    kind: Literal["geometric"]
    mean: _Tokens

    def record(self) -> LengthDistribution:
        return LengthDistribution.geometric(self.mean)


class _Lognormal(_Strict):
    kind: Literal["lognormal"]
    mean: _Tokens
    p50: _Tokens
    high: int = Field(default=1_000_000, ge=1, le=100_000_000)

    def record(self) -> LengthDistribution:
        return LengthDistribution.lognormal(mean=self.mean, p50=self.p50, high=self.high)


class _Empirical(_Strict):
    kind: Literal["empirical"]
    quantiles: tuple[float, ...] = Field(min_length=2, max_length=10_000)
    tokens: tuple[float, ...] = Field(min_length=2, max_length=10_000)

    def record(self) -> LengthDistribution:
        return LengthDistribution.empirical(self.quantiles, self.tokens)


_Length = Annotated[_Fixed | _Geometric | _Lognormal | _Empirical, Field(discriminator="kind")]


class _Slo(_Strict):
    ttft_ms: _Positive | None = None
    tpot_ms: _Positive | None = None
    e2e_ms: _Positive | None = None
    percentile: float = Field(default=95.0, gt=0, lt=100)


class _Class(_Strict):
    name: str = Field(min_length=1, max_length=80)
    input: _Length
    output: _Length
    reasoning: _Length | None = None
    share: _Positive = 1.0
    shared_prefix_tokens: int = Field(default=0, ge=0, le=10_000_000)
    prefix_hit_share: float = Field(default=0.0, ge=0, le=1)
    turns: int = Field(default=1, ge=1, le=1000)
    think_s: _NotNegative = 0.0
    slo: _Slo = Field(default_factory=_Slo)
    priority: int = Field(default=0, ge=0, le=7)

    def record(self) -> RequestClass:
        fields = self.model_dump(exclude={"input", "output", "reasoning", "slo"})
        fields |= {"input": self.input.record(), "output": self.output.record()}
        fields |= {"reasoning": self.reasoning.record() if self.reasoning else None}
        return RequestClass(**fields, slo=Slo(**self.slo.model_dump()))


class _Arrivals(_Strict):
    kind: ArrivalKind = ArrivalKind.POISSON
    rate_per_s: _NotNegative = 0.0
    cv: float = Field(default=1.0, gt=0, le=50)
    shape: tuple[_NotNegative, ...] = Field(default=(), max_length=10_000)
    period_s: _Positive = 86_400.0
    users: int = Field(default=0, ge=0, le=10_000_000)
    think_s: _NotNegative = 0.0


class _Name(_Strict):
    en: str = Field(min_length=1, max_length=200)
    zh: str = Field(min_length=1, max_length=200)


class _Workload(_Strict):
    id: str = Field(min_length=1, max_length=80)
    name: _Name | str
    arrivals: _Arrivals
    classes: tuple[_Class, ...] = Field(min_length=1, max_length=16)
    max_context_tokens: int | None = Field(default=None, ge=2, le=100_000_000)
    source: str = Field("", max_length=500)
    licence: str = Field("", max_length=200)

    def record(self) -> Workload:
        names = (self.name, self.name) if isinstance(self.name, str) else (self.name.en, self.name.zh)
        return Workload(
            id=self.id,
            name=names[0],
            name_zh=names[1],
            arrivals=ArrivalProcess(**self.arrivals.model_dump()),
            classes=tuple(c.record() for c in self.classes),
            max_context_tokens=self.max_context_tokens,
            source=self.source,
            licence=self.licence,
        )


def load_workloads(overlay: Path | None = None) -> Mapping[str, Workload]:
    """Built-in workloads and those of the overlay folder (its `workloads/` or `workloads.yaml`), by id."""
    folder = overlay or default_overlay()
    if folder is None:
        return _builtin()
    return MappingProxyType(
        {raw.id: workload_from_mapping(raw.content, raw.file) for raw in records("workloads", folder)}
    )


@lru_cache(maxsize=1)
def _builtin() -> Mapping[str, Workload]:
    return MappingProxyType({raw.id: workload_from_mapping(raw.content, raw.file) for raw in records("workloads")})


def workload(name: str, overlay: Path | None = None) -> Workload:
    """By id. Raises UnknownIdError with the nearest ids."""
    known = load_workloads(overlay)
    if name not in known:
        raise UnknownIdError("workload", name, known)
    return known[name]


def read_workload(path: Path) -> Workload:
    """One workload in a YAML or JSON file: the mapping itself, or under `workloads` as the only entry."""
    content = parse_yaml(read_text(DataFile(path, path.name, False)), path.name)
    if isinstance(content, Mapping) and "workloads" in content:
        entries = content["workloads"]
        if not isinstance(entries, list) or len(entries) != 1:
            raise DataError(path.name, "", "workloads", "a list of one workload", len(entries or ()))
        content = entries[0]
    return workload_from_mapping(content, path.name)


def workload_from_mapping(content: object, file: str = "workload") -> Workload:
    """Check and convert. Raises DataError that names file, record, field and what was expected."""
    if not isinstance(content, Mapping):
        raise DataError(file, "", "", "a mapping with id, name, arrivals, classes", content)
    record = str(content.get("id", ""))
    try:
        answer = validate(_Workload, content, file, record).record()
        check_workload(answer)
    except InputError as problem:
        raise DataError(file, record, problem.field, problem.expected, problem.got) from problem
    return answer
