"""`advisor matrix`: what each model needs in each format and context, and the smallest device that holds it."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields

import yaml

from advisor.catalog import load_catalog
from advisor.catalog.errors import InputError
from advisor.catalog.text import LANGUAGES, translate
from advisor.catalog.units import format_bytes
from advisor.sizing.matrix import MatrixRow, matrix

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Hardware-requirement matrix: model x format x context."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", action="append", default=[], metavar="M", help="only these (may repeat)")
    parser.add_argument("--format", action="append", default=[], metavar="F", help="only these (may repeat)")
    parser.add_argument("--context", action="append", type=int, default=[], metavar="N", help="tokens (may repeat)")
    parser.add_argument("--lang", choices=LANGUAGES, default="en")
    group = parser.add_mutually_exclusive_group()
    for name in ("yaml", "json", "csv"):
        group.add_argument(f"--{name}", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    catalog = load_catalog()
    if any(not 0 < n <= 10**8 for n in arguments.context):
        raise InputError("context", "tokens from 1 to 100,000,000", arguments.context)
    rows = matrix(
        catalog,
        variants=[catalog.variant(m) for m in arguments.model] or None,
        formats=[catalog.format(f) for f in arguments.format] or None,
        contexts=arguments.context or None,
    )
    sys.stdout.write(_render(rows, arguments))
    return 0


def _render(rows: Sequence[MatrixRow], arguments: argparse.Namespace) -> str:
    if arguments.json:
        return json.dumps([asdict(row) for row in rows], indent=2) + "\n"
    if arguments.yaml:
        return yaml.safe_dump([asdict(row) for row in rows], sort_keys=False, allow_unicode=True)
    if arguments.csv:
        return _csv(rows)
    return _table(rows, arguments.lang)


def _csv(rows: Sequence[MatrixRow]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, [f.name for f in fields(MatrixRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return out.getvalue()


def _table(rows: Sequence[MatrixRow], language: str) -> str:
    def t(key: str) -> str:
        return translate(language, f"sizing.matrix.{key}")

    columns = ("variant", "format", "context", "weights", "kv", "memory", "ram", "disk", "device", "count")
    lines = [[t(c) for c in columns]]
    for r in rows:
        sizes = [
            format_bytes(v) for v in (r.weights_bytes, r.kv_cache_bytes, r.memory_bytes, r.ram_bytes, r.disk_bytes)
        ]
        device = [r.device_id or "-", str(r.device_count or "-")]
        lines.append([r.variant_id, r.format_id, f"{r.context_tokens:,}", *sizes, *device])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines) + "\n"
