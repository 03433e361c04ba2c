"""A measured sustained run beside the simulation of the same requests: on the same charts, and figure by figure."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.evidence.in_force import store_revision
from advisor.jobs.answers import SustainedFigure, SustainedReport
from advisor.jobs.messages import SustainedRequest
from advisor.report.numbers import change_text, duration_text, interval_text, value_text
from advisor.ui import probing
from advisor.ui.charts.load import flow_lines, sustained_lines
from advisor.ui.load_jobs import start_button, watched
from advisor.ui.load_text import word
from advisor.ui.text import plain, t
from advisor.ui.widgets import basis_badges, chart
from probes.result import ProbeResult
from probes.spec import Kind

__all__ = ["request_of", "stored_runs", "sustained"]

_MOST = 20
_FEWEST_STRETCHES = 6  # fewer show no course


def stored_runs() -> Sequence[ProbeResult]:
    """Valid sustained runs of this machine with the built-in engine, newest first."""
    try:
        found = probing.registry().store.history(fingerprint=probing.machine().fingerprint, valid_only=True)
    except FathomError:
        return ()
    return [r for r in found if r.spec.kind is Kind.SUSTAINED and r.spec.endpoint is None][:_MOST]


def request_of(result_id: str) -> SustainedRequest:
    """The question to ask for a stored run; another one after each new measurement."""
    return SustainedRequest(result_id, store_revision())


def sustained(result: ProbeResult) -> None:
    """The button that simulates the run of a stored measurement, and both on the same charts."""
    request = request_of(result.id)
    start_button(request, word("sustained.go"), key=f"sustained.go.{result.id}")
    job = watched(request, key=f"sustained.{result.id}")
    if job is None:
        return
    report: SustainedReport = job.answer
    st.markdown(f"**{word('sustained.title')}**")
    basis_badges([figure.simulated for figure in report.figures])
    _verdict(report)
    chart(flow_lines(report, _texts("flow")), key=f"sustained.flow.{result.id}", height=320)
    rates = sustained_lines(report, _texts("rate"))
    if len(rates.lines[0].x) >= _FEWEST_STRETCHES:
        chart(rates, key=f"sustained.rate.{result.id}", height=260)
    _table(report.figures)
    st.caption(word("sustained.method", requests=f"{report.requests:,}", basis=word(f"sustained.by_{report.basis}")))


def _verdict(report: SustainedReport) -> None:
    inside = sum(figure.is_inside for figure in report.figures)
    st.markdown(word("sustained.verdict", inside=inside, of=len(report.figures)))
    if any(report.unfinished):
        measured, simulated = (f"{count:,}" for count in report.unfinished)
        values = {"measured": measured, "simulated": simulated, "time": duration_text(report.given_up_s)}
        st.markdown(word("sustained.unfinished", requests=f"{report.requests:,}", **values))


def _texts(name: str) -> dict[str, str]:
    own = {key: word(f"sustained.{name}_{key}") for key in ("title", "hint", "alt", "y")}
    sides = {key: word(f"sustained.{key}") for key in ("arrived", "measured", "simulated")}
    if name == "flow":
        sides |= {key: word(f"sustained.finished_{key}") for key in ("measured", "simulated")}
    return own | sides | {"x": word("queue.x", unit="{unit}")}


def _table(figures: Sequence[SustainedFigure]) -> None:
    st.table(
        {
            word("sustained.figure"): [word(f"sustained.name_{f.name}") for f in figures],
            word("sustained.measured"): [plain(value_text(f.measured, f.unit)) for f in figures],
            word("sustained.simulated"): [plain(value_text(f.simulated, f.unit)) for f in figures],
            t("sources.interval"): [plain(interval_text(f.simulated, f.unit)) for f in figures],
            word("sustained.error"): [change_text(f.simulated.value, f.measured.value) for f in figures],
        },
        border="horizontal",
        hide_index=True,
        alt=word("sustained.table_alt"),
    )
