"""Start a probe, watch it, cancel it. The probe lives in the registry of the process: a reload finds it again."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.catalog.text import translate
from advisor.jobs.registry import ProbeRegistry, Snapshot
from advisor.report.failure_text import failure_text
from advisor.report.numbers import gib_text
from advisor.report.problems import problem_text
from advisor.report.sweep_text import left_out_texts
from advisor.ui import probing
from advisor.ui.machine_rates import benchmark_table, rates_table
from advisor.ui.probe_figures import point_lines
from advisor.ui.probe_form import probe_spec
from advisor.ui.probe_names import spec_title
from advisor.ui.probe_numbers import comparison_table, live_table, prediction_table
from advisor.ui.probe_progress import progress_share, progress_text
from advisor.ui.probe_summary import formats_table, summary_table
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import chart, problem_state, still
from probes.machine_records import Machine
from probes.result import State
from probes.spec import Kind, ProbeSpec

__all__ = ["begin_probe", "probe_form", "watch_probe"]

_LAST = "probe.last"
_PROBLEM = "probe.problem"
_POLL_S, _CHARTS_S = 1.0, 2.0
_CALM_S = (3.0, 10.0)  # least and most: every look takes processor time from what is measured
_LOOKS = 6  # at a run of the length foreseen
_COLOURS = {State.DONE: "green", State.RUNNING: "blue", State.QUEUED: "blue", State.CANCELLED: "gray"}


def watch_probe(registry: ProbeRegistry) -> None:
    """The running probe, whoever started it; else the last one of this session."""
    running = registry.running()
    live = running[0] if running else None
    if live is not None:
        st.session_state[_LAST] = live.id
    probe_id = st.session_state.get(_LAST)
    known = registry.snapshot(probe_id) if probe_id else None
    if probe_id is None or known is None:
        return
    is_open = known.result is None

    @st.fragment(run_every=_look_s(known) if is_open else None)
    def head() -> None:
        snapshot = registry.snapshot(probe_id)
        if snapshot is None:
            return
        _head(registry, snapshot)
        if is_open and snapshot.result is not None:
            st.rerun()  # buttons and history follow
        if _is_calm(known):
            _body(snapshot)

    @st.fragment(run_every=_CHARTS_S if is_open else None)
    def body() -> None:  # apart, so that cancelling never waits for charts
        snapshot = registry.snapshot(probe_id)
        if snapshot is not None:
            _body(snapshot)

    with st.container(border=True, key="probe-card"):
        head()
        if not _is_calm(known):
            body()


def _is_calm(snapshot: Snapshot) -> bool:
    """The processor of this machine is what is measured: whoever watches must not take it."""
    return snapshot.spec.device == "cpu"


def _look_s(snapshot: Snapshot) -> float:
    """Seconds between two looks; one look costs the same whether it is at the text alone or at everything."""
    if not _is_calm(snapshot):
        return _POLL_S
    foreseen = snapshot.predicted.duration_s
    least, most = _CALM_S
    return most if foreseen is None else min(most, max(least, foreseen.value / _LOOKS))


def _head(registry: ProbeRegistry, snapshot: Snapshot) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(spec_title(snapshot.spec))}**", width="content")
        state = translate(language(), f"probes.state.{snapshot.state}")
        st.badge(state, color=_COLOURS.get(snapshot.state, "red"))  # type: ignore[arg-type]
    if not snapshot.state.is_final:
        _progress(registry, snapshot)


def _body(snapshot: Snapshot) -> None:
    result, problem = snapshot.result, snapshot.problem
    if result is not None and result.error:
        st.error(plain(failure_text(result, language())), icon=":material/error:")
    if problem is not None:
        st.error(plain(problem_text(problem, language())), title=t("probe.not_stored"), icon=":material/error:")
    if snapshot.spec.kind is Kind.MACHINE:
        _rates(snapshot)
    elif snapshot.result is not None and not (snapshot.result.is_valid or snapshot.result.measured()):
        st.caption(t("probe.cut_short"))
        live_table(snapshot.spec, snapshot.points, snapshot.predicted)
        if snapshot.result.figures:
            summary_table(snapshot.result)
    elif snapshot.result is not None:
        comparison_table(snapshot.result)
        summary_table(snapshot.result)
    else:
        live_table(snapshot.spec, snapshot.points, snapshot.predicted)
        formats_table(snapshot.spec, snapshot.points)
    is_still = _is_calm(snapshot) and snapshot.result is None
    for figure in point_lines(snapshot.points, language()):
        if is_still:
            still(figure)
        else:
            chart(figure, key=f"probe.points.{figure.title}", height=220)


def _rates(snapshot: Snapshot) -> None:
    if snapshot.result is not None:
        benchmark_table(snapshot.result)
        return
    rates_table(snapshot.points)


def _progress(registry: ProbeRegistry, snapshot: Snapshot) -> None:
    st.progress(progress_share(snapshot), progress_text(snapshot))
    st.button(
        t("probe.cancel"),
        key="probe.cancel",
        icon=":material/cancel:",
        on_click=registry.cancel,
        args=(snapshot.id,),
    )


def probe_form(registry: ProbeRegistry, machine: Machine) -> None:
    """What to measure; the prediction is shown before the run, and what cannot fit is refused with the reason."""
    with st.container(border=True):
        try:
            spec = probe_spec(machine)
            if spec is not None:
                _start(registry, spec, busy=bool(registry.running()))
        except FathomError as problem:
            problem_state(problem)


def _start(registry: ProbeRegistry, spec: ProbeSpec, *, busy: bool) -> None:
    problem = st.session_state.pop(_PROBLEM, None)
    if problem is not None:
        problem_state(problem)
    foreseen = probing.expect(spec)
    if foreseen.refused:
        needed, allowed = (gib_text(size) for size in foreseen.refused)
        hint = "" if spec.kind is Kind.SLICE else t("probe.refused_hint")
        text = t("probe.refused_text", needed=needed, allowed=allowed, hint=hint)
        st.warning(text, icon=":material/block:", title=t("probe.refused"))
    elif foreseen.runs is not None:
        for text in left_out_texts(foreseen.runs, language(), gib_text):
            st.caption(f":material/content_cut: {plain(text)}")
    prediction_table(foreseen.prediction)
    st.button(
        t("probe.start_measure" if spec.kind is Kind.MACHINE or spec.endpoint else "probe.start"),
        type="primary",
        icon=":material/play_arrow:",
        key="probe.start",
        disabled=busy or foreseen.refused is not None,
        help=t("probe.busy") if busy else None,
        on_click=begin_probe,
        args=(registry, spec),
    )


def begin_probe(registry: ProbeRegistry, spec: ProbeSpec) -> None:
    """Starts it and shows it; a problem is shown beside the form."""
    try:
        foreseen = probing.expect(spec)
        st.session_state[_LAST] = registry.start(
            foreseen.patient(foreseen.runs or spec), foreseen.prediction, foreseen.place
        )
    except FathomError as problem:
        st.session_state[_PROBLEM] = problem
