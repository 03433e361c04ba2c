"""Autoscaling: what scaling with the traffic saves, and how many requests then miss their limits."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from advisor.jobs.answers import CapacityReport, PolicyReport
from advisor.jobs.messages import CapacityRequest, PolicyRequest
from advisor.report.numbers import duration_text, latency_text, number
from advisor.serving.autoscale import Metric
from advisor.serving.library import load_workloads
from advisor.serving.workload import ArrivalKind
from advisor.ui.charts.load import policy_points, replica_lines
from advisor.ui.load_jobs import start_button, watched
from advisor.ui.load_text import word
from advisor.ui.widgets import chart, empty_state

__all__ = ["policies"]

_DAY = "chat-day"  # the built-in day whose shape traffic without one is given
_PERIOD_S = 7200.0  # a day in two hours: loading a model then weighs twelve times as much
_OF_RUNNING = (0.5, 0.7, 0.85, 1.0)  # targets in flight, as shares of the sequences that a replica runs at capacity
_WAITING = (0.25, 1.0, 4.0, 16.0)  # targets of the queue: requests per replica


def policies(report: CapacityReport, search: CapacityRequest) -> None:
    workload = search.workload
    if not report.feasible or workload.arrivals.kind in (ArrivalKind.CLOSED_LOOP, ArrivalKind.BURST):
        empty_state(word("policy.none_title"), word("policy.none_text"), icon="autorenew")
        return
    if report.replicas < 2:
        empty_state(word("policy.one_title"), word("policy.one_text"), icon="autorenew")
        return
    st.caption(word("policy.lead"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = _metric()
        startup = st.number_input(
            word("policy.startup"),
            min_value=0.0,
            max_value=7200.0,
            value=120.0,
            format="%g",
            key="policy.startup",
            help=word("policy.startup_help"),
            persist_state="session",
            width=240,
        )
        request = _request(report, search, float(startup), metric)
        start_button(request, word("policy.go"), key="policy.go")
    job = watched(request, key="policy")
    if job is not None:
        _charts(job.answer)


def _metric() -> Metric:
    names = {str(metric): word(f"policy.metric_{metric}") for metric in Metric}
    picked = st.segmented_control(
        word("policy.metric"),
        list(names),
        default=str(Metric.IN_FLIGHT),
        format_func=names.__getitem__,
        key="policy.metric",
        help=word("policy.metric_help"),
        required=True,
        persist_state="session",
    )
    return Metric(picked)


def _request(report: CapacityReport, search: CapacityRequest, startup: float, metric: Metric) -> PolicyRequest:
    """The same plan and limits, with the peak of the search as the peak of a day in two hours."""
    workload = search.workload
    shape = workload.arrivals.shape or load_workloads()[_DAY].arrivals.shape
    mean = workload.arrivals.peak_rate_per_s * sum(shape) / len(shape) / max(shape)
    arrivals = replace(workload.arrivals, shape=shape, period_s=_PERIOD_S, rate_per_s=mean)
    in_flight = tuple(max(0.5, round(share * report.mean_running, 1)) for share in _OF_RUNNING)
    return PolicyRequest(
        costs=search.costs,
        workload=replace(workload, arrivals=arrivals),
        slo=search.slo,
        replicas=report.safe_replicas,
        targets=in_flight if metric is Metric.IN_FLIGHT else _WAITING,
        startup_s=startup,
        options=search.options,
        router=search.router,
        metric=metric,
    )


def _charts(report: PolicyReport) -> None:
    names = [
        word("policy.static") if row.target is None else word("policy.hpa", target=number(row.target))
        for row in report.rows
    ]
    keys = ("title", "hint", "alt", "x", "y")
    left, right = st.columns(2)
    with left:
        chart(policy_points(report, names, {k: word(f"policy.cost.{k}") for k in keys}), key="policy.cost", height=340)
    with right:
        texts = {k: word(f"policy.over_time.{k}") for k in ("title", "hint", "alt", "y")}
        texts["x"] = word("policy.over_time.x", unit="{unit}")
        chart(replica_lines(report, names, texts), key="policy.replicas", height=340)
    rows = {
        word("policy.column.policy"): names,
        word("policy.column.hours"): [number(row.replica_hours) for row in report.rows],
        word("policy.column.paid"): [f"{100 * row.paid_share:.0f} %" for row in report.rows],
        word("policy.column.in_slo"): [f"{100 * row.in_slo_share:.2f} %" for row in report.rows],
        word("policy.column.ttft"): [latency_text(row.ttft_p99_ms) for row in report.rows],
    }
    st.table(rows, border="horizontal", hide_index=True, alt=word("policy.alt"))
    st.caption(_method(report))


def _method(report: PolicyReport) -> str:
    """How much of the fleet was simulated, and for how long."""
    whole = report.replicas == report.fleet
    values = {"replicas": f"{report.replicas:,}", "fleet": f"{report.fleet:,}", "requests": f"{report.requests:,}"}
    sentences = [word("policy.whole" if whole else "policy.cell", **values, time=duration_text(3600 * report.hours))]
    if report.shortened < 1:
        sentences.append(word("policy.shortened", time=duration_text(report.shortened * _PERIOD_S)))
    return " ".join(sentences)
