"""Reads the catalogue: built-in data, then the user's overlay, once per process and state of the overlay."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from advisor.catalog import tables
from advisor.catalog.catalog import Catalog, name_key
from advisor.catalog.errors import DataError
from advisor.catalog.files import RawRecord, data_files, default_overlay, records
from advisor.catalog.formats import Format, load_formats
from advisor.catalog.frozen import FrozenDict
from advisor.catalog.paths import DATA_DIR
from advisor.catalog.records import Device, Engine, Host, Server, Variant
from advisor.catalog.schema_base import Schema, validate
from advisor.catalog.schema_engines import EngineSchema
from advisor.catalog.schema_hardware import DeviceSchema, HostSchema, ServerSchema
from advisor.catalog.schema_models import ArchitectureSchema, VariantSchema

__all__ = ["load_catalog"]

KINDS = ("models", "devices", "hosts", "servers", "engines", "formats", "prices", *tables.ENERGY_KINDS, "sources")
REFERENCE = "reference"  # built-in data for validation and comparison only

Origin = dict[str, str]  # id -> file, for messages about references


def load_catalog(overlay: Path | None = None) -> Catalog:
    """The catalogue, cached per overlay folder. Default overlay: the folder named by FATHOM_DATA, if set.

    Raises DataError for a broken file: file, record, field and expected value.
    """
    folder = overlay or default_overlay()
    return _load(folder, _stamp(folder))


@lru_cache(maxsize=8)
def _load(overlay: Path | None, _state: tuple[tuple[str, int, int], ...]) -> Catalog:
    sources = {raw.id: tables.source_title(raw) for raw in records("sources", overlay)}
    origin: Origin = {}
    variants = _models(overlay, origin)
    devices = _simple("devices", DeviceSchema, overlay, origin, sources)
    hosts = _simple("hosts", HostSchema, overlay, origin, sources)
    servers = _simple("servers", ServerSchema, overlay, origin, sources)
    engines = _simple("engines", EngineSchema, overlay, origin, sources)
    formats = load_formats(DATA_DIR, overlay)
    _check_references(variants, devices, hosts, servers, engines, formats, origin)
    return Catalog(
        variants=FrozenDict(variants),
        devices=FrozenDict(devices),
        hosts=FrozenDict(hosts),
        servers=FrozenDict(servers),
        engines=FrozenDict(engines),
        formats=FrozenDict(formats),
        prices=tables.prices(devices, overlay),
        electricity=tables.electricity(overlay),
        carbon=tables.carbon(overlay),
        power_usage=tables.power_usage(overlay),
        networks=FrozenDict(tables.rates("networks", overlay)),
        storage=FrozenDict(tables.rates("storage", overlay)),
        aliases=FrozenDict(
            {
                "model": _aliases(variants.values(), _repository_names),
                "device": _aliases(devices.values(), _with_aliases),
                "host": _aliases(hosts.values(), _plain_names),
                "server": _aliases(servers.values(), _plain_names),
                "engine": _aliases(engines.values(), _with_aliases),
                "format": _aliases(formats.values(), _plain_names),
            }
        ),
        as_of=tables.as_of(),
        overlay_dir=overlay,
    )


def _stamp(overlay: Path | None) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file of the overlay does, so that an edit is seen without a restart."""
    if overlay is None:
        return ()
    files = [file for kind in KINDS for pattern in ("*.yaml", "*.csv") for file in _own(kind, overlay, pattern)]
    states = [(str(path), path.stat()) for path in files]
    return tuple((name, state.st_mtime_ns, state.st_size) for name, state in states)


def _own(kind: str, overlay: Path, pattern: str) -> list[Path]:
    return [file.path for file in data_files(kind, overlay, pattern=pattern) if not file.builtin]


def _raw(kind: str, overlay: Path | None) -> Iterable[tuple[RawRecord, bool]]:
    """Raw records with whether they are for reference only; the overlay's come last and so win."""
    for raw in records(kind, subfolder=REFERENCE):
        yield raw, True
    for raw in records(kind, overlay):
        yield raw, False


def _simple(
    kind: str, schema: type[Schema], overlay: Path | None, origin: Origin, sources: Mapping[str, str]
) -> dict[str, Any]:
    """Records of a kind whose file shape is its record shape."""
    found: dict[str, Any] = {}
    for raw, reference in _raw(kind, overlay):
        content = _with_titles(raw, sources)
        if reference:
            content["reference"] = True
        found[raw.id] = validate(schema, content, raw.file, raw.id).record()
        origin[raw.id] = raw.file
    return found


def _with_titles(raw: RawRecord, sources: Mapping[str, str]) -> dict[str, object]:
    """The record with its source keys replaced by the titles in `sources`."""
    content = dict(raw.content)
    named = content.get("source")
    if isinstance(named, list):
        content["source"] = [sources.get(name, name) if isinstance(name, str) else name for name in named]
    elif named is None and not raw.builtin:
        content["source"] = [raw.file]
    return content


def _models(overlay: Path | None, origin: Origin) -> dict[str, Variant]:
    found: dict[str, Variant] = {}
    for raw, reference in _raw("models", overlay):
        for variant in _variants_of(raw, reference=reference):
            if variant.id in found and origin[variant.id] == raw.file:
                raise DataError(raw.file, raw.id, "variants", "each id once", variant.id)
            found[variant.id] = variant
            origin[variant.id] = raw.file
    return found


def _variants_of(raw: RawRecord, *, reference: bool) -> Iterable[Variant]:
    """The checkpoints of one model: each inherits what it does not state."""
    shared = {key: value for key, value in raw.content.items() if key not in ("variants", "architecture")}
    architecture = raw.content.get("architecture")
    listed = raw.content.get("variants", [{}])
    if not isinstance(architecture, dict):
        raise DataError(raw.file, raw.id, "architecture", "a mapping of dimensions", architecture)
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise DataError(raw.file, raw.id, "variants", "a list of mappings", listed)
    common = validate(ArchitectureSchema, architecture, raw.file, raw.id).record()
    for item in listed:
        content = {"model_id": raw.id, "name": raw.id, "source": [] if raw.builtin else [raw.file], **shared, **item}
        own = content.pop("architecture", None)
        if reference:
            content["role"] = REFERENCE
        label = str(content["id"])
        checked = validate(VariantSchema, content, raw.file, label)
        dims = common if own is None else _override(architecture, own, raw.file, label)
        yield Variant(architecture=dims, **checked.values())


def _override(base: Mapping[str, object], own: object, file: str, record: str) -> Any:
    if not isinstance(own, dict):
        raise DataError(file, record, "architecture", "a mapping of the dimensions that differ", own)
    return validate(ArchitectureSchema, {**base, **own}, file, record).record()


def _check_references(
    variants: Mapping[str, Variant],
    devices: Mapping[str, Device],
    hosts: Mapping[str, Host],
    servers: Mapping[str, Server],
    engines: Mapping[str, Engine],
    formats: Mapping[str, Format],
    origin: Origin,
) -> None:
    families = {known.family for known in formats.values()}
    for variant in variants.values():
        _known(variant.native_format, formats, "native_format", "the id of a format", variant.id, origin)
        for engine_id in variant.min_engine_version:
            _known(engine_id, engines, "min_engine_version", "the id of an engine", variant.id, origin)
    for host in hosts.values():
        if host.cpu_device_id is not None:
            _known(host.cpu_device_id, devices, "cpu_device_id", "the id of a device", host.id, origin)
    for server in servers.values():
        _known(server.device_id, devices, "device_id", "the id of a device", server.id, origin)
    for engine in engines.values():
        for rule in engine.supports:
            for family in rule.format_families:
                _known(family, families, "supports.format_families", "the family of a format", engine.id, origin)
            for wanted in rule.format_ids:
                _known(wanted, formats, "supports.format_ids", "the id of a format", engine.id, origin)


def _known(wanted: str, table: Container[str], field: str, expected: str, record: str, origin: Origin) -> None:
    if wanted not in table:
        raise DataError(origin.get(record, ""), record, field, expected, wanted)


def _aliases(found: Iterable[Any], names: Callable[[Any], Iterable[str]]) -> FrozenDict[str, tuple[str, ...]]:
    table: dict[str, dict[str, None]] = {}
    for record in found:
        for name in names(record):
            table.setdefault(name_key(name), {})[record.id] = None
    return FrozenDict({name: tuple(ids) for name, ids in table.items()})


def _plain_names(record: Any) -> Iterable[str]:
    return record.id, record.name


def _with_aliases(record: Any) -> Iterable[str]:
    return record.id, record.name, *record.aliases


def _repository_names(variant: Variant) -> Iterable[str]:
    names = [variant.id, variant.name, *variant.aliases]
    if variant.hf_repo:
        names += [variant.hf_repo, variant.hf_repo.rpartition("/")[2]]
    return names
