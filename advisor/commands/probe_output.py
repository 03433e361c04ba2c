"""How `advisor probe` shows progress and results."""

from __future__ import annotations

import os
import sys

from advisor.catalog.errors import FathomError
from advisor.catalog.quantity import Quantity
from advisor.catalog.text import texts, translate
from advisor.catalog.units import format_bytes
from advisor.evidence.surprises import PointCheck, point_checks, surprises
from advisor.report.failure_text import failure_text
from advisor.report.numbers import latency_text
from advisor.report.pace_text import at_pace_text
from advisor.report.surprise_text import surprise_texts
from advisor.report.sweep_text import sweep_texts
from probes.codec import encode
from probes.foresee import Foresight
from probes.pace import foreseen_at_pace
from probes.result import Event, EventKind, Measured, ProbeResult
from probes.store import Store

__all__ = ["as_json", "keep", "language", "print_result", "show_progress"]

_FIGURES = {"decode": ("decode_tok_s", "output_tok_s", "mbu"), "prefill": ("prefill_tok_s", "ttft_ms")}


def language() -> str:
    """Chinese when the terminal's locale says so."""
    return "zh" if os.environ.get("LC_ALL", os.environ.get("LANG", "")).lower().startswith("zh") else "en"


def as_json(result: ProbeResult, foresight: Foresight, remark: str) -> dict[str, object]:
    """Measured figures are numbers (their ranges under `spread`), predicted ones {value, low, high, basis}."""
    measured = result.measured()
    names = ("load_s", "peak_bytes", "prefill_tok_s", "ttft_ms", "decode_tok_s", "mbu", "bandwidth_bytes_per_s")
    return {
        "id": result.id,
        "state": str(result.state),
        "error": result.error,
        "variant_id": result.spec.variant_id,
        "format_id": result.spec.format_id,
        "engine": str(result.spec.engine),
        "device": result.spec.device,
        "kind": str(result.spec.kind),
        **{name: measured[name].value if name in measured else None for name in names},
        "tensor_bytes": result.tensor_bytes,
        "read_bytes_per_token": result.read_bytes_per_token,
        "spread": {name: encode(figure) for name, figure in measured.items()},
        "figures": encode(result.figures),
        "points": encode(result.points),
        "conditions": encode(result.conditions),
        "foreseen_points": [_checked(check) for check in point_checks(result)],
        "sweep_end": encode(result.sweep_end),
        "left_out": encode(result.spec.left_out),
        "flags": list(result.flags),
        "versions": dict(result.versions),
        "fingerprint": result.fingerprint,
        "started_at": result.started_at,
        "duration_s": result.duration_s,
        "predicted": {name: quantity.as_json() for name, quantity in result.predicted.items().items()},
        "at_pace": _at_pace(result),
        "outside": [encode(surprise) for surprise in surprises(result)],
        "prediction_missing": foresight.unknown,
        "remark": remark,
    }


def _at_pace(result: ProbeResult) -> dict[str, object] | None:
    """Rates that had been foreseen for the pace that the machine had during the run."""
    found = foreseen_at_pace(result)
    if found is None:
        return None
    rates = {"decode_tok_s": found.decode_tok_s, "prefill_tok_s": found.prefill_tok_s}
    return {
        "memory_bytes_per_s": found.memory_bytes_per_s,
        "product_ops_per_s": found.product_ops_per_s,
        **{name: said.as_json() for name, said in rates.items() if said is not None},
    }


def keep(store: Store, result: ProbeResult) -> None:
    """Store it; one that cannot be stored is still shown, with one line on why."""
    try:
        store.add(result)
    except FathomError as problem:
        sys.stderr.write(translate(language(), "probes.command.not_stored", reason=problem) + "\n")


def _checked(check: PointCheck) -> dict[str, object]:
    """A point of a sweep: each figure measured beside foreseen."""
    outside = {found.name for found in check.surprises}
    figures = {
        name: {"measured": seen.value, "predicted": said.as_json(), "inside": said.holds(seen.value)}
        for name, (seen, said) in check.pairs.items()
    }
    reasons = {found.name: list(found.reasons) for found in check.surprises}
    return {
        "name": check.point.name, "at": dict(check.point.at), "label": check.point.label, "figures": figures,
        "inside": not outside, "reasons": reasons,
    }  # fmt: skip


def show_progress(event: Event, elapsed_s: float) -> None:
    """One line per phase on a terminal; silent in a pipe."""
    if not sys.stderr.isatty() or event.kind is not EventKind.PHASE:
        return
    count = f" {event.done + 1}/{event.total}" if event.total else ""
    sys.stderr.write(f"{elapsed_s:6.1f} s  {translate(language(), f'probes.phase.{event.phase}')}{count}\n")


def print_result(result: ProbeResult, foresight: Foresight, remark: str) -> None:
    """A table of measured beside predicted, then what to know about it."""
    lang, spec = language(), result.spec
    state = translate(lang, f"probes.state.{result.state}")
    ids = {"variant": spec.variant_id, "format": spec.format_id, "device": spec.device, "engine": spec.engine}
    lines = [translate(lang, "probes.command.title", state=state, **ids)]
    lines += [failure_text(result, lang)] if result.error else []
    lines += _table(result, lang)
    lines += [f"  {_figure_name(name, lang)}: {_number(name, figure)}" for name, figure in result.figures.items()]
    lines += _points(result, lang)
    lines += [f"- {text}" for text in sweep_texts(result, lang)]
    lines += [f"- {translate(lang, f'probes.flag.{flag}')}" for flag in result.flags]
    lines += [f"- {translate(lang, f'probes.warning.{warning}')}" for warning in result.conditions.warnings]
    lines += [f"- {text}" for text in (*surprise_texts(result, lang), at_pace_text(result, lang)) if text]
    lines += (
        [f"- {translate(lang, 'probes.command.seconds_unknown', reason=foresight.unknown)}"]
        if foresight.unknown
        else []
    )
    lines += [_energy(result, lang), remark]
    sys.stdout.write("\n".join(line for line in lines if line) + "\n")


def _table(result: ProbeResult, lang: str) -> list[str]:
    measured, predicted = result.measured(), result.predicted.items()
    heads = [translate(lang, f"probes.command.column_{name}") for name in ("figure", "measured", "predicted")]
    rows = [f"  {heads[0]:28} {heads[1]:>26} {heads[2]:>34}"] if measured or predicted else []
    for name in dict.fromkeys((*measured, *predicted)):
        label = translate(lang, f"probes.figure.{name}")
        seen = _number(name, measured[name]) if name in measured else ""
        foreseen = _number(name, predicted[name]) if name in predicted else ""
        rows.append(f"  {label:28} {seen:>26} {foreseen:>34}")
    return rows


def _figure_name(name: str, lang: str) -> str:
    """As on the page; a server's own counters keep their names."""
    return texts(lang).get(f"ui.probe.summary.{name}", name)


def _points(result: ProbeResult, lang: str) -> list[str]:
    """What a sweep measured, one line per position; a slow kernel is named as such."""
    if result.spec.sweep_axis is None:
        return []
    checks = {id(check.point): check for check in point_checks(result)}
    lines = []
    for point in result.points:
        if point.name not in _FIGURES:
            continue
        where = ", ".join(f"{name}={value:g}" for name, value in point.at.items())
        seen = [n for n in _FIGURES[point.name] if n in point.values]
        figures = ", ".join(f"{name} {_text(name, point.values[name].value)}" for name in seen)
        verdict = _verdict(checks[id(point)], lang) if id(point) in checks else ""
        remark = translate(lang, "probes.flag.slow_decode_kernel") if "slow_kernel" in point.values else ""
        line = f"  {point.label or result.spec.format_id} {where}: {figures}"
        lines.append("; ".join(text for text in (line, verdict, remark) if text))
    return lines


def _verdict(check: PointCheck, lang: str) -> str:
    """Of the rate: what was foreseen, and whether it lies inside."""
    name, (_, said) = next(iter(check.pairs.items()))
    word = "outside" if any(found.name == name for found in check.surprises) else "inside"
    return translate(lang, f"probes.command.point_{word}", said=_number(name, said))


def _number(name: str, figure: Measured | Quantity) -> str:
    value, low, high = (_text(name, x) for x in (figure.value, figure.low, figure.high))
    return value if low == high else f"{value} ({low} to {high})"


def _text(name: str, value: float) -> str:
    if name.endswith("bytes_per_s"):
        return format_bytes(value) + "/s"
    if name.endswith("bytes_per_hour"):
        return f"{'-' if value < 0 else ''}{format_bytes(abs(value))}/h"
    if name.endswith("_per_s"):
        return f"{value:.3g}/s"
    if name.endswith("bytes"):
        return format_bytes(value)
    if name.endswith("_ms"):
        return latency_text(value)
    unit = next((u for end, u in (("_tok_s", " tok/s"), ("_s", " s")) if name.endswith(end)), "")
    return f"{value:,.0f}{unit}" if abs(value) >= 1000 else f"{value:.3g}{unit}"


def _energy(result: ProbeResult, lang: str) -> str:
    conditions = result.conditions
    if conditions.energy_joules is None:
        return translate(lang, "probes.command.energy_unknown")
    joules = f"{conditions.energy_joules:,.0f}"
    return translate(lang, "probes.command.energy", joules=joules, source=conditions.energy_source)
