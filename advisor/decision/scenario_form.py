"""The boundary of scenarios: YAML, JSON, forms and links become a `Scenario`, or one clear line says why not."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from advisor.catalog.catalog import Catalog
from advisor.catalog.errors import DataError, InputError, UnknownIdError
from advisor.catalog.files import parse_yaml
from advisor.catalog.frozen import FrozenDict
from advisor.catalog.records import DeviceClass
from advisor.decision.scenario import DEFAULT_TASK, Axis, Hosting, Language, Scenario, TaskProfile, Text

__all__ = [
    "resolve_ids",
    "scenario_from_file",
    "scenario_from_mapping",
    "scenario_from_text",
    "scenario_from_token",
    "scenario_to_mapping",
    "scenario_to_token",
    "scenario_to_yaml",
]

MAX_TEXT_BYTES = 200_000
_TRAFFIC = ("users", "requests_per_s", "requests_per_day", "concurrency")


def _as_text(value: object) -> object:
    return {"en": value, "zh": value} if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Text(_Strict):
    en: str = Field(max_length=2000)
    zh: str = Field(max_length=2000)


_Words = Annotated[_Text, BeforeValidator(_as_text)]
_Positive = Annotated[float, Field(gt=0, le=1e12)]
_Tokens = Annotated[int, Field(ge=1, le=100_000_000)]
_TokensOrNone = Annotated[int, Field(ge=0, le=100_000_000)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Weight = Annotated[float, Field(ge=0, le=1000)]
_Count = Annotated[int, Field(ge=1, le=1_000_000)]


class _Form(_Strict):
    """Field by field as in `Scenario`, with ranges."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")
    name: _Words
    description: _Words = _Text(en="", zh="")
    task: Mapping[TaskProfile, _Weight] = Field(default_factory=lambda: dict(DEFAULT_TASK))
    language: Language = Language.MIXED
    users: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    think_time_s: Annotated[float, Field(ge=0, le=86_400)] = 30.0
    requests_per_s: Annotated[float, Field(gt=0, le=1e7)] | None = None
    requests_per_day: Annotated[float, Field(gt=0, le=1e12)] | None = None
    peak_factor: Annotated[float, Field(ge=1, le=100)] = 1.0
    concurrency: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    input_tokens: _Tokens = 1024
    output_tokens: _Tokens = 256
    reasoning_tokens: _TokensOrNone = 0
    cached_input_tokens: _TokensOrNone = 0
    context_tokens: _Tokens = 4096
    ttft_ms: _Positive | None = None
    tpot_ms: _Positive | None = None
    e2e_ms: _Positive | None = None
    percentile: Annotated[int, Field(ge=50, le=99)] = 95
    quality_floor: Annotated[float, Field(ge=0, le=100)] | None = None
    hosting: Hosting = Hosting.ANY
    budget_capital_usd: _Positive | None = None
    budget_monthly_usd: _Positive | None = None
    power_limit_w: _Positive | None = None
    device_classes: tuple[DeviceClass, ...] = ()
    devices: tuple[str, ...] = ()
    owned: Mapping[str, _Count] = Field(default_factory=dict)
    this_machine: bool = False
    max_devices: _Count | None = None
    growth_factor: Annotated[float, Field(ge=1, le=1000)] = 1.0
    commercial_use: bool = True
    edge_share: _Share | None = None
    variants: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    weights: Mapping[Axis, _Weight] = Field(default_factory=dict)
    region: str = Field(default="WLD", min_length=2, max_length=40)
    electricity_usd_per_kwh: Annotated[float, Field(ge=0, le=10)] | None = None


def scenario_from_mapping(content: object, *, source: str = "scenario") -> Scenario:
    """A checked scenario. Raises DataError naming `source`, the scenario and the field.

    `name` and `description` take {en, zh} or one text for both languages.
    """
    if not isinstance(content, Mapping):
        raise DataError(source, "", "", "a mapping of scenario fields", type(content).__name__)
    record = str(content.get("id", ""))
    _refuse_unknown_fields(content, source, record)
    try:
        form = _Form.model_validate(dict(content))
    except ValidationError as problem:
        raise _first_problem(problem, source, record) from None
    scenario = _build(form)
    _check(scenario, source)
    return scenario


def scenario_from_text(text: str, *, source: str = "scenario", wanted: str = "") -> Scenario:
    """From YAML or JSON text: one scenario, or a list of them under `scenarios`, of which `wanted` names one by its id.

    Raises DataError for broken or oversized text, and where a list leaves open which one is meant.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise DataError(source, "", "", f"at most {MAX_TEXT_BYTES} characters", f"{len(text)} characters")
    return scenario_from_mapping(_chosen(parse_yaml(text, source), source, wanted), source=source)


def _chosen(content: object, source: str, wanted: str) -> object:
    """The record meant, of a file in the form of `data/scenarios/*.yaml` or with one scenario alone."""
    listed = isinstance(content, Mapping) and set(content) == {"scenarios"}
    found = content["scenarios"] if isinstance(content, Mapping) and listed else [content]
    if not isinstance(found, list) or not found:
        raise DataError(source, "", "scenarios", "a list of at least one scenario")
    ids = [str(item.get("id", "")) if isinstance(item, Mapping) else "" for item in found]
    if wanted:
        if wanted not in ids:
            raise DataError(source, "", "id", f"one of {', '.join(ids)}", wanted)
        return found[ids.index(wanted)]
    if len(found) > 1:
        raise DataError(source, "", "scenarios", f"one scenario, named as {source}#ID", f"several: {', '.join(ids)}")
    return found[0]


def scenario_from_file(path: Path, wanted: str = "") -> Scenario:
    """From a YAML or JSON file. Raises InputError if it cannot be read, DataError if it is broken."""
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise DataError(path.name, "", "", f"a scenario of at most {MAX_TEXT_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError("scenario", "a readable text file", f"{path} ({type(problem).__name__})") from None
    return scenario_from_text(text, source=path.name, wanted=wanted)


def scenario_to_mapping(scenario: Scenario) -> dict[str, Any]:
    """Plain values, without the fields left at their default; `scenario_from_mapping` restores the scenario."""
    defaults = Scenario(id="", name=Text("", ""))
    return {
        item.name: _plain(getattr(scenario, item.name))
        for item in fields(Scenario)
        if item.name in ("id", "name") or getattr(scenario, item.name) != getattr(defaults, item.name)
    }


def scenario_to_yaml(scenario: Scenario) -> str:
    return yaml.safe_dump(scenario_to_mapping(scenario), allow_unicode=True, sort_keys=False)


def scenario_to_token(scenario: Scenario) -> str:
    """Short text for links: JSON, zlib, base64url without padding."""
    text = json.dumps(scenario_to_mapping(scenario), ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")


def scenario_from_token(token: str) -> Scenario:
    """Inverse of `scenario_to_token`. Raises InputError for a damaged token, DataError for bad values in it."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(raw, MAX_TEXT_BYTES)
        if not unpacker.eof:
            raise ValueError("cut off or too long")
        content = json.loads(text.decode())
    except (ValueError, binascii.Error, zlib.error):
        raise InputError("scenario link", "an unbroken link made by Fathom", token) from None
    return scenario_from_mapping(content, source="scenario link")


def resolve_ids(scenario: Scenario, catalog: Catalog, *, source: str = "scenario") -> Scenario:
    """The scenario with catalogue ids in place of aliases. Raises DataError naming `source`, scenario and field."""

    def known(field: str, names: Iterable[str], find: Callable[[str], Any]) -> tuple[str, ...]:
        try:
            return tuple(find(name).id for name in names)
        except UnknownIdError as problem:
            like = f" such as {' or '.join(problem.near)}" if problem.near else ""
            wanted = f"a {problem.kind} of the catalogue{like}"
            raise DataError(source, scenario.id, field, wanted, problem.wanted) from None

    regions = {item.region for item in catalog.carbon}
    if scenario.region not in regions:
        wanted = "WLD, or a country of the catalogue by its three letters, such as DEU"
        raise DataError(source, scenario.id, "region", wanted, scenario.region)
    owned = known("owned", scenario.owned, catalog.device)
    return replace(
        scenario,
        devices=known("devices", scenario.devices, catalog.device),
        owned=FrozenDict(zip(owned, scenario.owned.values(), strict=True)),
        variants=known("variants", scenario.variants, catalog.variant),
        formats=known("formats", scenario.formats, catalog.format),
        engines=known("engines", scenario.engines, catalog.engine),
    )


def _build(form: _Form) -> Scenario:
    values = {name: getattr(form, name) for name in _Form.model_fields}
    values["name"] = Text(form.name.en, form.name.zh)
    values["description"] = Text(form.description.en, form.description.zh)
    values["task"] = _normalised(form.task)
    values["weights"] = _normalised(form.weights)
    values["owned"] = FrozenDict(form.owned)
    return Scenario(**values)


def _normalised(shares: Mapping[Any, float]) -> Mapping[Any, float]:
    total = sum(shares.values())
    return FrozenDict({key: share / total for key, share in shares.items() if share > 0}) if total else FrozenDict()


def _check(scenario: Scenario, source: str) -> None:
    """Rules between fields."""
    stated = [name for name in _TRAFFIC if getattr(scenario, name) is not None]
    if len(stated) != 1:
        wanted = f"exactly one of {', '.join(_TRAFFIC)}"
        raise DataError(source, scenario.id, "traffic", wanted, ", ".join(stated) or "none")
    if not scenario.task:
        raise DataError(source, scenario.id, "task", "at least one profile with a share above 0")
    if scenario.context_tokens < scenario.request_tokens:
        wanted = f"at least input + output + reasoning tokens = {scenario.request_tokens}"
        raise DataError(source, scenario.id, "context_tokens", wanted, scenario.context_tokens)
    if scenario.cached_input_tokens >= scenario.input_tokens:
        wanted = f"fewer than input_tokens = {scenario.input_tokens}"
        raise DataError(source, scenario.id, "cached_input_tokens", wanted, scenario.cached_input_tokens)
    if scenario.this_machine and (scenario.owned or scenario.devices or scenario.device_classes):
        wanted = "nothing beside this_machine: it is the only machine then"
        raise DataError(source, scenario.id, "owned, devices, device_classes", wanted)


def _refuse_unknown_fields(content: Mapping[Any, Any], source: str, record: str) -> None:
    known = list(_Form.model_fields)
    for name in content:
        if name not in known:
            near = get_close_matches(str(name), known, n=2, cutoff=0.5)
            raise DataError(
                source, record, str(name), "a known field" + (f" such as {' or '.join(near)}" if near else "")
            )


def _first_problem(problem: ValidationError, source: str, record: str) -> DataError:
    error = problem.errors(include_url=False)[0]
    place = ".".join(str(part) for part in error["loc"] if part != "[key]")
    message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    got = None if error["type"] == "missing" else error.get("input")
    return DataError(source, record, place, "a value" if error["type"] == "missing" else message, got)


def _plain(value: object) -> Any:
    if isinstance(value, Text):
        return {"en": value.en, "zh": value.zh}
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
