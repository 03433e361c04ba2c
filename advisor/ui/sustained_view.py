"""A sustained measurement beside the simulation of the same requests: on one chart."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.jobs.answers import SustainedReport
from advisor.jobs.messages import SustainedRequest
from advisor.report.numbers import latency_text, number
from advisor.ui import probing
from advisor.ui.charts.load import sustained_lines
from advisor.ui.load_jobs import start_button, watched
from advisor.ui.load_text import word
from advisor.ui.widgets import chart
from probes.result import ProbeResult
from probes.spec import Kind

__all__ = ["stored_runs", "sustained"]

_MOST = 20
_FAR = 3.0  # beyond it a factor reads better than percent


def stored_runs() -> Sequence[ProbeResult]:
    """Valid sustained runs of this machine with the built-in engine, newest first."""
    try:
        found = probing.registry().store.history(fingerprint=probing.machine().fingerprint, valid_only=True)
    except FathomError:
        return ()
    return [r for r in found if r.spec.kind is Kind.SUSTAINED and r.spec.endpoint is None][:_MOST]


def sustained(result: ProbeResult) -> None:
    """The button that simulates the run of a stored measurement, and both on one chart."""
    request = SustainedRequest(result.id)
    start_button(request, word("sustained.go"), key=f"sustained.go.{result.id}")
    job = watched(request, key=f"sustained.{result.id}")
    if job is None:
        return
    report: SustainedReport = job.answer
    keys = ("title", "hint", "alt", "y", "measured", "simulated")
    texts = {name: word(f"sustained.rate_{name}") for name in keys} | {"x": word("queue.x", unit="{unit}")}
    chart(sustained_lines(report, texts), key=f"sustained.rate.{result.id}", height=320)
    rows = {
        word("sustained.figure"): [word(f"sustained.name_{name}") for name, _, _ in report.figures],
        word("sustained.rate_measured"): [_value(name, seen) for name, seen, _ in report.figures],
        word("sustained.rate_simulated"): [_value(name, ours) for name, _, ours in report.figures],
        word("sustained.error"): [_error(seen, ours) for _, seen, ours in report.figures],
    }
    st.table(rows, border="horizontal", hide_index=True, alt=word("sustained.table_alt"))
    basis = word("sustained.calibrated" if report.calibrated else "sustained.public")
    st.caption(word("sustained.method", requests=f"{report.requests:,}", basis=basis))


def _value(name: str, value: float) -> str:
    return latency_text(value) if name.endswith("_ms") else number(value)


def _error(seen: float, ours: float) -> str:
    if not seen:
        return "–"
    return f"{100 * (ours / seen - 1):+.0f} %" if ours < _FAR * seen else f"× {number(ours / seen)}"
