"""`advisor size`: bytes, speed and limits of one plan."""

from __future__ import annotations

import argparse
import json
import sys
from math import floor, isfinite, log10
from typing import Any

from advisor.catalog import Catalog
from advisor.catalog.quantity import Quantity
from advisor.catalog.text import LANGUAGES, name_in, translate
from advisor.catalog.units import format_bytes, format_count
from advisor.commands.changes import changes_text, cost_json
from advisor.commands.derivations import derivations_json, derivations_text
from advisor.commands.plan_arguments import add_plan_arguments, load_from, plan_from
from advisor.decision.explain import sentence
from advisor.decision.kernel_reasons import kernel_reasons
from advisor.decision.own_reasons import own_reasons
from advisor.evidence.in_force import known_catalog
from advisor.report.numbers import latency_text
from advisor.sizing.derivation_speed import derive_all
from advisor.sizing.own_measurements import calibration_of
from advisor.sizing.plan import DeviceFootprint, Load, Plan, Sizing
from advisor.sizing.profile import profile
from advisor.sizing.sensitivity import Variation, variations
from advisor.sizing.size import size
from advisor.sizing.suggestion_text import suggestion_text

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Bytes, speed and limits of a model on given hardware."
NOTHING_FITS = 3
_SPEEDS = ("prefill_tok_s", "decode_tok_s", "output_tok_s", "ttft_ms", "tpot_ms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_plan_arguments(parser)
    parser.add_argument("--explain", action="store_true", help="the formula behind each number, with the values put in")
    parser.add_argument("--sensitivity", action="store_true", help="what a change of devices, format or load would do")
    parser.add_argument("--lang", choices=LANGUAGES, default="en")
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    catalog = known_catalog()
    plan, load = plan_from(arguments, catalog), load_from(arguments)
    sizing = size(plan, load, catalog)
    changes = variations(plan, load, catalog) if arguments.sensitivity else ()
    if arguments.json:
        more: dict[str, Any] = {"own_measurements": _own_json(plan, catalog), **cost_json(sizing, catalog)}
        if arguments.sensitivity:
            more["sensitivity"] = [_change_json(c, catalog) for c in changes]
        if arguments.explain:
            more["derivations"] = derivations_json(derive_all(plan, load, catalog), arguments.lang)
        sys.stdout.write(json.dumps({**as_json(sizing), **more}, indent=2) + "\n")
    else:
        sys.stdout.write(as_text(sizing, catalog, arguments.lang))
        if changes:
            sys.stdout.write("\n" + changes_text(changes, sizing, catalog, arguments.lang))
        if arguments.explain:
            sys.stdout.write("\n" + derivations_text(derive_all(plan, load, catalog), arguments.lang))
    return 0 if sizing.fits else NOTHING_FITS


def as_json(sizing: Sizing) -> dict[str, Any]:
    """The contract of `advisor size --json`; predicted numbers are {value, low, high, basis}."""
    plan, load = sizing.plan, sizing.load
    p = profile(plan.variant.architecture, plan.format)
    return {
        "plan": plan.id,
        "model_id": plan.variant.id,
        "format_id": plan.format.id,
        "kv_format": plan.kv_format,
        "engine_id": plan.engine.id,
        "backend": plan.backend,
        "device_id": plan.device.id if plan.device else None,
        "n_devices": plan.n_devices,
        "replicas": plan.replicas,
        "layout": plan.layout.label(),
        "load": {name: getattr(load, name) for name in Load.__slots__},
        "fits": sizing.fits,
        "binding": str(sizing.binding),
        "shortfall_bytes": sizing.shortfall_bytes,
        "per_device": _bytes_json(sizing.per_device),
        "host": _bytes_json(sizing.host) if sizing.host else None,
        "model": {
            "total_params": p.total_params,
            "active_params": p.active_params,
            "file_bytes": p.file_bytes,
        },
        "kv_bytes_per_token": sizing.kv_bytes_per_token,
        "max_concurrency": sizing.max_concurrency,
        "max_context_tokens": sizing.max_context_tokens,
        **{name: getattr(sizing, name).as_json() for name in _SPEEDS},
        "shares": {str(k): v for k, v in sizing.shares.items()},
        "suggestions": [{"kind": s.kind, **s.values} for s in sizing.suggestions],
    }


def _own_json(plan: Plan, catalog: Catalog) -> dict[str, Any] | None:
    """What the figures rest on beside the public calibration; rates measured over foreseen before the first run."""
    found = calibration_of(plan, catalog.calibrations)
    names = ("runs", "machines", "newest", "measured", "first_decode_off", "first_ttft_off")
    return None if found is None else {name: getattr(found, name) for name in names}


def as_text(sizing: Sizing, catalog: Catalog, language: str) -> str:
    """For people: what it takes, whether it fits, how fast it should be, what would help."""

    def t(key: str, **values: object) -> str:
        return translate(language, f"sizing.{key}", **values)

    plan, load = sizing.plan, sizing.load
    p = profile(plan.variant.architecture, plan.format)
    where = name_in(language, plan.device.name if plan.device else (plan.host.name if plan.host else ""))
    fmt = name_in(language, plan.format.name)
    count = f"{plan.n_devices} x " if plan.device else ""
    lines = [
        t("head", model=plan.variant.name, format=fmt, where=f"{count}{where}", engine=plan.engine.name),
        t("layout_line", layout=plan.layout.label(), context=f"{load.context_tokens:,}", n=load.concurrency),
        t("params", total=format_count(p.total_params, 2), active=format_count(p.active_params, 2)),
        t("file", size=format_bytes(p.file_bytes, digits=2), gib=format_bytes(p.file_bytes, binary=True)),
        t("kv_token", bytes=f"{sizing.kv_bytes_per_token:,.0f}", format=plan.kv_format),
        "",
        *_rows(t("per_device"), sizing.per_device, t),
        *(_rows(t("host", name=plan.host.name if plan.host else ""), sizing.host, t) if sizing.host else []),
        "",
        _verdict(sizing, t),
        t("limits", n=sizing.max_concurrency, context=f"{sizing.max_context_tokens:,}"),
    ]
    if sizing.fits:
        reasons = (*kernel_reasons(plan), *own_reasons(plan, catalog))
        lines += [sentence(language, reason) for reason in reasons]
        lines += [t(name, **_range(name, getattr(sizing, name), t)) for name in _SPEEDS]
    if sizing.suggestions:
        lines += ["", t("suggestions"), *(f"  - {suggestion_text(s, language, catalog)}" for s in sizing.suggestions)]
    return "\n".join(lines) + "\n"


def _verdict(sizing: Sizing, t: Any) -> str:
    if sizing.fits:
        return str(t("fits", binding=t(f"binding.{sizing.binding}")))
    in_host = sizing.host is not None and sizing.per_device.free_bytes >= 0
    d = sizing.host if in_host and sizing.host is not None else sizing.per_device
    values = {
        "needs": format_bytes(d.total_bytes, binary=True),
        "has": format_bytes(d.usable_bytes, binary=True),
        "short": format_bytes(sizing.shortfall_bytes, binary=True),
    }
    return str(t("does_not_fit_host" if in_host else "does_not_fit", **values))


def _rows(title: str, d: DeviceFootprint, t: Any) -> list[str]:
    names = ("weights", "kv_cache", "activation", "overhead", "total", "usable")
    return [title] + [f"  {t(n):<22}{format_bytes(getattr(d, f'{n}_bytes'), binary=True):>14}" for n in names]


def _bytes_json(d: DeviceFootprint) -> dict[str, int]:
    names = ("weights", "kv_cache", "activation", "overhead", "total", "usable", "free")
    return {f"{n}_bytes": int(getattr(d, f"{n}_bytes")) for n in names}


def _range(name: str, q: Quantity, t: Any) -> dict[str, object]:
    text = latency_text if name.endswith("_ms") else _short
    numbers = {name: text(getattr(q, name)) for name in ("value", "low", "high")}
    return {**numbers, "basis": t(f"basis.{q.basis}")}


def _short(value: float) -> str:
    """Three or four digits without powers of ten: 15,610 or 9.43."""
    if not isfinite(value) or value == 0:
        return f"{value:g}"
    digits = 3 - floor(log10(abs(value)))
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def _change_json(v: Variation, catalog: Catalog) -> dict[str, Any]:
    answer = {k: x for k, x in as_json(v.sizing).items() if k != "suggestions"}
    return {"change": str(v.change), **answer, **cost_json(v.sizing, catalog)}
