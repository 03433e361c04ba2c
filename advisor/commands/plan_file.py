"""A plan written down: YAML or JSON with the words of `advisor size`, or the answer of `recommend --json`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from advisor.catalog import Catalog
from advisor.catalog.errors import DataError
from advisor.catalog.files import DataFile, parse_yaml, read_text
from advisor.commands.plan_arguments import add_plan_arguments, plan_from
from advisor.sizing.plan import Plan

__all__ = ["plan_from_file", "plan_from_mapping"]

_ALIASES = {
    "variant": "model",
    "variant_id": "model",
    "model_id": "model",
    "format_id": "format",
    "device_id": "device",
    "host_id": "host",
    "server_id": "server",
    "engine_id": "engine",
    "n_devices": "count",
}
_PLACE = ("device", "host", "server", "ram", "count")
_LAYOUT = ("tp", "pp", "ep", "dp_attention", "offload", "gpu_expert_layers", "gpu_layers")
_WORDS = ("format", *_PLACE, *_LAYOUT, "engine", "backend", "kv_format")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def plan_from_file(path: Path, catalog: Catalog) -> Plan:
    """Raises DataError for a broken file, UnknownIdError or UnsupportedError for a plan that cannot be."""
    content = parse_yaml(read_text(DataFile(path, path.name, False)), path.name)
    return plan_from_mapping(content, catalog, path.name)


def plan_from_mapping(content: object, catalog: Catalog, file: str = "plan") -> Plan:
    """`count` is accelerators of all replicas; with `replicas` and no count, tp x pp x replicas."""
    if not isinstance(content, Mapping):
        raise DataError(file, "", "", "a mapping with model, format, device, …", content)
    chosen = _inner(content)
    values = {_ALIASES.get(str(key), str(key)): value for key, value in chosen.items() if value is not None}
    layout = values.get("layout")
    if isinstance(layout, Mapping):
        values |= {str(key): value for key, value in layout.items() if key in _LAYOUT}
    if "model" not in values:
        raise DataError(file, "", "model", "the id of a model", None)
    _complete_count(values, file)
    parser = _Parser(add_help=False)
    add_plan_arguments(parser)
    words = [str(values["model"])]
    for name in _WORDS:
        if name in values:
            words += [f"--{name.replace('_', '-')}", str(values[name])]
    try:
        arguments = parser.parse_args(words)
    except ValueError as problem:
        raise DataError(file, "", "", "the words of `advisor size`", problem) from problem
    return plan_from(arguments, catalog)


def _inner(content: Mapping[str, object]) -> Mapping[str, object]:
    """The plan itself: of the first candidate of a recommendation, or under `plan`."""
    candidates = content.get("candidates")
    if isinstance(candidates, list) and candidates and isinstance(candidates[0], Mapping):
        content = candidates[0]
    plan = content.get("plan")
    return plan if isinstance(plan, Mapping) else content


def _complete_count(values: dict[str, object], file: str) -> None:
    replicas = values.get("replicas", 1)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 1:
        raise DataError(file, "", "replicas", "a whole number >= 1", replicas)
    if "count" not in values and "device" in values and replicas > 1:
        tp, pp = values.get("tp", 1), values.get("pp", 1)
        if isinstance(tp, int) and isinstance(pp, int):
            values |= {"count": tp * pp * replicas, "tp": tp, "pp": pp}
