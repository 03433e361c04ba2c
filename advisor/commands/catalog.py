"""`advisor catalog`: what exists, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.formats import Format
from advisor.catalog.records import Device, Engine, Host, Price, Role, Server, Variant
from advisor.catalog.units import format_bytes, format_count, format_ops, format_rate

__all__ = ["HELP", "add_arguments", "run"]

HELP = "list what the catalogue knows"

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Listing:
    """How one kind is shown: its records, the table's header and a row for each record."""

    records: Callable[[Catalog], Iterable[Any]]
    header: Row
    row: Callable[[Any], Row]
    is_reference: Callable[[Any], bool] = lambda _record: False


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", choices=tuple(_LISTINGS), help="one kind only (default: a summary)")
    parser.add_argument("--json", action="store_true", help="all fields, machine-readable")
    parser.add_argument("--reference", action="store_true", help="also what is kept only for validation")


def run(arguments: Namespace) -> int:
    catalog = load_catalog()
    if arguments.kind is None:
        _write_summary(catalog, as_json=arguments.json)
        return 0
    listing = _LISTINGS[arguments.kind]
    records = [r for r in listing.records(catalog) if arguments.reference or not listing.is_reference(r)]
    if arguments.json:
        _write_json([_as_json(record) for record in records])
    else:
        _write_table(listing.header, [listing.row(record) for record in records])
    return 0


def _write_summary(catalog: Catalog, *, as_json: bool) -> None:
    counts = {kind: sum(1 for _ in listing.records(catalog)) for kind, listing in _LISTINGS.items()}
    if as_json:
        _write_json({"as_of": str(catalog.as_of), **counts})
        return
    _write_table(("kind", "records"), [(kind, str(count)) for kind, count in counts.items()])
    sys.stdout.write(f"\nas of {catalog.as_of}\n")


def _write_json(content: object) -> None:
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def _write_table(header: Row, rows: Sequence[Row]) -> None:
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    for line in (header, tuple("-" * width for width in widths), *rows):
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def _as_json(record: Any) -> Mapping[str, object]:
    """All known fields; those that are unknown are left out."""
    return {name: value for name, value in asdict(record).items() if value not in (None, "", (), {})}


def _model(variant: Variant) -> Row:
    total = variant.published.get("total_params")
    return (
        variant.id,
        str(variant.role),
        variant.family,
        format_count(total) if total else "",
        variant.native_format,
        str(variant.architecture.attention),
        format_count(variant.architecture.max_context_tokens or 0, digits=0),
    )


def _device(device: Device) -> Row:
    peak = device.peak_ops_per_s.get("bf16") or device.peak_ops_per_s.get("fp16")
    return (
        device.id,
        device.name,
        str(device.device_class),
        format_bytes(device.memory_bytes, binary=True, digits=0),
        format_rate(device.bandwidth_bytes_per_s),
        format_ops(peak) if peak else "",
        f"{device.tdp_w:.0f} W" if device.tdp_w else "",
        str(device.confidence),
    )


def _format(fmt: Format) -> Row:
    return fmt.id, fmt.name, fmt.family, f"{fmt.bits_per_weight:g}", fmt.compute_precision


def _engine(engine: Engine) -> Row:
    found = {backend: None for rule in engine.supports for backend in rule.backends}
    attention = ", ".join(str(kind) for kind in engine.attention_kinds)
    return engine.id, engine.version, engine.batching, ", ".join(found), attention


def _host(host: Host) -> Row:
    memory = format_bytes(host.memory_bytes, binary=True, digits=0) if host.memory_bytes else ""
    return host.id, host.name, str(host.cores), memory, format_rate(host.memory_bandwidth_bytes_per_s)


def _server(server: Server) -> Row:
    power = f"{server.max_power_w / 1000:.1f} kW" if server.max_power_w else ""
    return server.id, server.name, f"{server.n_devices} x {server.device_id}", power


def _price(price: Price) -> Row:
    return price.device_id, price.kind, f"{price.usd:,.2f}", price.provider, str(price.date or "")


_LISTINGS: Mapping[str, _Listing] = {
    "models": _Listing(
        lambda catalog: catalog.variants.values(),
        ("id", "role", "family", "parameters", "format", "attention", "context"),
        _model,
        lambda variant: variant.role is Role.REFERENCE,
    ),
    "devices": _Listing(
        lambda catalog: catalog.devices.values(),
        ("id", "name", "class", "memory", "bandwidth", "16-bit dense", "power", "confidence"),
        _device,
        lambda device: device.reference,
    ),
    "formats": _Listing(
        lambda catalog: catalog.formats.values(),
        ("id", "name", "family", "bits", "compute"),
        _format,
        lambda fmt: not fmt.offered,
    ),
    "engines": _Listing(
        lambda catalog: catalog.engines.values(),
        ("id", "version", "batching", "back ends", "attention"),
        _engine,
        lambda engine: engine.reference,
    ),
    "hosts": _Listing(
        lambda catalog: catalog.hosts.values(),
        ("id", "name", "cores", "memory", "bandwidth"),
        _host,
        lambda host: host.reference,
    ),
    "servers": _Listing(lambda catalog: catalog.servers.values(), ("id", "name", "devices", "power"), _server),
    "prices": _Listing(lambda catalog: catalog.prices, ("device", "kind", "USD", "provider", "date"), _price),
}
