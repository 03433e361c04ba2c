"""What a failure, an update or falling clocks do to the fleet that was found."""

from __future__ import annotations

import math
from dataclasses import replace

import streamlit as st

from advisor.catalog.errors import FathomError, InputError
from advisor.jobs.answers import CapacityReport, EventReport
from advisor.jobs.messages import EVENT_CELL, CapacityRequest, EventKind, EventRequest
from advisor.report.numbers import latency_text, number
from advisor.serving.workload import ArrivalKind
from advisor.ui.charts.load import METRICS, event_lines
from advisor.ui.load_jobs import start_button, watched
from advisor.ui.load_text import word
from advisor.ui.sustained_view import request_of, stored_runs
from advisor.ui.widgets import chart, empty_state, problem_state
from probes.result import ProbeResult

__all__ = ["events"]

_MANUAL = "manual"
_TESTED_S = 1800.0
_FEW = 30  # requests: a percentile of fewer says little


def events(report: CapacityReport, search: CapacityRequest) -> None:
    """The form and its answer, in a tab of the Capacity page."""
    if not report.feasible or search.workload.arrivals.kind is ArrivalKind.BURST:
        empty_state(word("event.none_title"), word("event.none_text"), icon="heart_broken")
        return
    names = {str(kind): word(f"event.kind_{kind}") for kind in EventKind}
    picked = st.segmented_control(
        word("event.kind"),
        list(names),
        default=str(EventKind.FAILURE),
        format_func=names.__getitem__,
        key="event.kind",
        required=True,
        persist_state="session",
    )
    st.caption(word(f"event.help_{picked}"))
    try:
        request = _request(report, search, EventKind(picked))
    except FathomError as problem:
        problem_state(problem)
        return
    if request is None:
        return
    if request.replicas > EVENT_CELL:
        st.caption(f":material/info: {_cell_note(request)}")
    start_button(request, word("event.go"), key="event.go")
    job = watched(request, key="event")
    if job is not None:
        _answer(job.answer, request)


def _request(report: CapacityReport, search: CapacityRequest, kind: EventKind) -> EventRequest | None:
    """None: a sustained run has still to be compared with its simulation."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        replicas = int(_number("replicas", float(report.safe_replicas), step=1.0))
        if not 1 <= replicas <= 100_000:
            raise InputError(word("event.replicas"), "1..100,000", replicas)
        if kind is EventKind.DERATING:
            found = _derating()
            if found is None:
                return None
            return _of(search, replicas, kind, derating=found)
        count = int(_number(f"count_{kind}", 1.0, step=1.0))
        recovery = _number(f"recovery_{kind}", 120.0)
        drain = _number("drain", 30.0) if kind is EventKind.UPDATE else 0.0
    if recovery < 1 or drain < 0:
        raise InputError(word(f"event.recovery_{kind}"), word("event.expected_seconds"), min(recovery, drain))
    return replace(_of(search, replicas, kind), count=count, recovery_s=recovery, drain_s=drain)


def _cell_note(request: EventRequest) -> str:
    """What the simulated part of a larger fleet stands for."""
    fleet = f"{request.replicas:,}"
    if request.kind is EventKind.DERATING:
        return word("event.cell_all", cell=EVENT_CELL, fleet=fleet)
    stands_for = f"{round(request.count * request.replicas / EVENT_CELL):,}"
    return word("event.cell", cell=EVENT_CELL, fleet=fleet, count=f"{request.count:,}", stands_for=stands_for)


def _of(
    search: CapacityRequest, replicas: int, kind: EventKind, derating: tuple[tuple[float, float], ...] = ()
) -> EventRequest:
    parts = (search.costs, search.workload, search.slo, replicas, kind)
    return EventRequest(*parts, derating=derating, options=search.options, router=search.router)


def _derating() -> tuple[tuple[float, float], ...] | None:
    """As a stored sustained run measured it, or one fall by hand."""
    runs = stored_runs()
    names = {_MANUAL: word("event.derating_manual")} | {r.id: _label(r) for r in runs}
    picked = st.selectbox(
        word("event.derating_source"),
        list(names),
        format_func=names.__getitem__,
        key="event.derating_source",
        persist_state="session",
        width=330,
    )
    if picked == _MANUAL:
        slower = _number("slower", 15.0)
        if not -90 < slower <= 900:
            raise InputError(word("event.slower"), "-90..900", slower)
        return ((0.0, 1 + slower / 100), (_TESTED_S, 1.0))
    request = request_of(str(picked))
    start_button(request, word("event.compare"), key="event.compare")
    job = watched(request, key="event.sustained")
    if job is None:
        return None
    if not job.answer.derating:
        empty_state(word("event.short_title"), word("event.short_text"), icon="timer_off")
        return None
    return tuple(job.answer.derating)


def _label(run: ProbeResult) -> str:
    return f"{run.started_at[:16]} · {run.spec.variant_id} · {run.spec.format_id}"


def _number(name: str, value: float, step: float | None = None) -> float:
    found = st.number_input(
        word(f"event.{name}"),
        value=value,
        step=step,
        format="%g",
        key=f"event.{name}.{value:g}",
        persist_state="session",
        width=230,
    )
    return float(found)


def _answer(report: EventReport, request: EventRequest) -> None:
    wanted = request.slo.percentile / 100
    during, without = report.during.in_slo_share, report.without.in_slo_share
    if request.slo.is_empty:
        said = word("event.no_limits")
    else:
        said = word("event.holds" if during >= wanted else "event.suffers", share=_share(during), calm=_share(without))
    icon = "health_and_safety" if request.slo.is_empty or during >= wanted else "warning"
    st.markdown(f":material/{icon}: {said}")
    if report.during.requests < _FEW:
        st.markdown(f":material/info: {word('event.few', count=report.during.requests)}")
    if report.retried:
        st.markdown(f":material/replay: {word('event.retried', count=f'{report.retried:,}')}")
    if report.recovered_s is None:
        st.markdown(f":material/hourglass_disabled: {word('event.not_recovered')}")
    elif report.recovered_s > 0:
        st.markdown(f":material/hourglass_bottom: {word('event.recovered', seconds=number(report.recovered_s))}")
    if report.series is not None and report.calm is not None:
        keys = ("title", "hint", "alt", "y", "waiting", "calm", "running", "begin", "end")
        texts = {name: word(f"event.chart_{name}") for name in keys} | {"x": word("queue.x", unit="{unit}")}
        chart(event_lines(report, texts), key="event.chart", height=340)
    _table(report)
    st.caption(word("event.method", replicas=report.replicas, requests=f"{report.requests:,}"))


def _table(report: EventReport) -> None:
    sides = (report.without, report.during)
    rows: dict[str, list[str]] = {word("event.column"): [word("event.calm"), word("event.during")]}
    rows[word("event.within")] = [_share(side.in_slo_share) for side in sides]
    for name in METRICS:
        for percentile in ("p50", "p95", "p99"):
            if name == "tpot" and percentile == "p50":
                continue
            label = word("event.latency", percentile=percentile.upper(), metric=word(f"metric.{name}"))
            rows[label] = [latency_text(getattr(dict(side.latencies)[name], percentile)) for side in sides]
    rows[word("event.most_waiting")] = [number(side.most_waiting) for side in sides]
    labels, values = list(rows), list(rows.values())
    turned = {labels[0]: labels[1:], values[0][0]: [v[0] for v in values[1:]], values[0][1]: [v[1] for v in values[1:]]}
    st.table(turned, border="horizontal", hide_index=True, alt=word("event.table_alt"))


def _share(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.2f} %" if share < 0.99995 else "100 %"
