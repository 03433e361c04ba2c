"""`advisor simulate --measured`: a stored sustained run beside the simulation of the same requests."""

from __future__ import annotations

import json
import sys
from typing import Any

from advisor.catalog.quantity import Quantity
from advisor.catalog.text import translate
from advisor.commands.probe_output import language
from advisor.jobs.answers import SustainedFigure, SustainedReport, Window
from advisor.jobs.sustained_work import sustained_report
from advisor.report.numbers import change_text, duration_text, interval_text, value_text

__all__ = ["run_measured"]

_WINDOW = (
    "end_s", "arrived", "measured_finished", "simulated_finished", "measured_tok_s", "simulated_tok_s",
    "measured_tpot_ms", "simulated_tpot_ms",
)  # fmt: skip


def run_measured(result_id: str, *, as_json: bool) -> int:
    """Raises InputError for anything but a sustained run of this machine."""
    report = sustained_report(result_id, lambda *_: None)
    text = json.dumps(_json(report), indent=1) if as_json else "\n".join(_lines(report))
    sys.stdout.write(text + "\n")
    return 0


def _json(report: SustainedReport) -> dict[str, Any]:
    measured, simulated = report.unfinished
    return {
        "measurement": report.result_id,
        "title": report.title,
        "requests": report.requests,
        "requests_per_s": report.rate_per_s,
        "duration_s": report.duration_s,
        "basis": str(report.basis),
        "unfinished": {"measured": measured, "simulated": simulated},
        "figures": {figure.name: _figure_json(figure) for figure in report.figures},
        "derating": [{"at_s": at, "step_factor": factor} for at, factor in report.derating],
        "windows": [_window_json(window) for window in report.windows],
    }


def _figure_json(figure: SustainedFigure) -> dict[str, Any]:
    seen, ours = figure.measured.value, figure.simulated.value
    return {
        "measured": _quantity(figure.measured),
        "simulated": _quantity(figure.simulated),
        "simulated_over_measured": ours / seen if seen else None,
        "inside_interval": figure.is_inside,
    }


def _window_json(window: Window) -> dict[str, float | None]:
    low, high = window.simulated_range
    return {name: getattr(window, name) for name in _WINDOW} | {"simulated_low": low, "simulated_high": high}


def _quantity(quantity: Quantity) -> dict[str, float | str]:
    return {"value": quantity.value, "low": quantity.low, "high": quantity.high, "basis": str(quantity.basis)}


def _lines(report: SustainedReport) -> list[str]:
    figures, row = report.figures, "{:36}{:>14}{:>14}{:>20}{:>26}".format
    names = (_word("figure"), _word("measured"), _word("simulated"), translate(language(), "ui.sources.interval"))
    lines = [f"{report.title} · {report.result_id}", row(*names, _word("error"))]
    lines += [
        row(
            _word(f"name_{figure.name}"),
            value_text(figure.measured, figure.unit),
            value_text(figure.simulated, figure.unit),
            interval_text(figure.simulated, figure.unit),
            change_text(figure.simulated.value, figure.measured.value),
        )
        for figure in figures
    ]
    lines.append(_word("verdict", inside=sum(f.is_inside for f in figures), of=len(figures)))
    if any(report.unfinished):
        measured, simulated = report.unfinished
        values = {"measured": measured, "simulated": simulated, "time": duration_text(report.given_up_s)}
        lines.append(_word("unfinished", requests=report.requests, **values))
    return [*lines, _word("method", requests=report.requests, basis=_word(f"by_{report.basis}"))]


def _word(key: str, **values: object) -> str:
    return translate(language(), f"load.sustained.{key}", **values)
