"""Parts of the Capacity page: what does not fit, the answer in numbers, and its charts."""

from __future__ import annotations

import math

import streamlit as st

from advisor.catalog.text import name_in, translate
from advisor.jobs.answers import CapacityReport
from advisor.jobs.background import Job
from advisor.report.numbers import gib_text, latency_text, number, percent_text
from advisor.report.plan_figures import memory_bars
from advisor.serving.limits import Limit
from advisor.serving.result import Latency
from advisor.serving.workload import Slo
from advisor.sizing.suggestion_text import suggestion_text
from advisor.ui import backend
from advisor.ui.charts.load import METRICS, latency_lines, queue_lines
from advisor.ui.load_costs import Prepared
from advisor.ui.load_text import word
from advisor.ui.own_note import own_note
from advisor.ui.text import language, plain
from advisor.ui.widgets import basis_badges, chart, empty_state

__all__ = ["answer", "curve", "does_not_fit", "first_estimate", "over_time", "percentiles", "step_times"]

_COLUMNS = ("mean", "p50", "p90", "p95", "p99")


def does_not_fit(prepared: Prepared, *, key: str = "capacity.memory") -> None:
    """Which memory is too small, by how much, and what would help."""
    sizing = prepared.sizing
    where = sizing.plan.device.name if sizing.plan.device else word("fit.host")
    text = word(
        "fit.text",
        needed=gib_text(sizing.per_device.total_bytes),
        usable=gib_text(sizing.per_device.usable_bytes),
        where=where,
        shortfall=gib_text(sizing.shortfall_bytes),
    )
    with empty_state(word("fit.title"), plain(text), icon="memory_alt"):
        for suggestion in sizing.suggestions[:4]:
            st.markdown(f"- :material/lightbulb: {plain(suggestion_text(suggestion, language(), backend.catalog()))}")
        chart(memory_bars(sizing, language()), key=key)


def first_estimate(prepared: Prepared, found: float) -> None:
    """Before the search: what the closed form says, at once (replicas)."""
    if math.isfinite(found):
        replicas = round(found)
        text = word("capacity.estimate", count=f"{replicas:,}", devices=f"{replicas * _devices(prepared):,}")
    else:
        text = word("capacity.no_estimate" if math.isinf(found) else "capacity.unknown_estimate")
    empty_state(word("capacity.ready"), text, icon="speed")


def answer(job: Job, prepared: Prepared, slo: Slo, ranked: int | None) -> None:
    """The headline: fewest replicas, safe replicas, devices, load, and what holds them back.

    `ranked`: replicas that the recommendation counted for this plan and traffic.
    """
    report: CapacityReport = job.answer
    if not report.feasible:
        _infeasible(report, slo)
        return
    factors = [count for _, count in report.at_step_factor if count]
    span = f"{min(factors):,}–{max(factors):,}" if factors and min(factors) != max(factors) else ""
    with st.grid(4, min_column_width=190):
        st.metric(
            word("capacity.replicas"),
            f"{report.replicas:,}",
            word("capacity.span", span=span) if span else word("capacity.no_span"),
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
            icon=":material/dns:",
        )
        st.metric(
            word("capacity.safe"),
            f"{report.safe_replicas:,}",
            word("capacity.safe_note", extra=report.safe_replicas - report.replicas),
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
            icon=":material/verified_user:",
        )
        st.metric(
            word("capacity.devices"),
            f"{report.replicas * _devices(prepared):,}",
            _device_name(prepared),
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
            icon=":material/memory:",
        )
        st.metric(
            word("capacity.load"),
            percent_text(report.load),
            word("capacity.keeps_up", rate=number(report.keeps_up_req_s)),
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
            icon=":material/speed:",
        )
    _sentences(report, ranked)
    st.caption(
        word(
            "capacity.method",
            runs=report.runs,
            requests=f"{report.simulated_requests:,}",
            cell=f"{report.simulated_replicas:,}",
            seconds=number(job.seconds, 2),
        )
    )
    basis_badges([prepared.sizing.decode_tok_s])
    own_note(prepared.plan)


def _sentences(report: CapacityReport, ranked: int | None) -> None:
    held = word("capacity.bound", limit=_limit(report.binding))
    behind = word("capacity.behind", limit=_limit(report.next_binding)) if report.next_binding else ""
    st.markdown(f":material/front_hand: {held} {behind}")
    closed = report.closed_form_replicas
    if closed > 0:
        said = word("capacity.agrees" if report.agrees else "capacity.disagrees", count=f"{closed:,.0f}")
        st.markdown(f":material/compare_arrows: {said}")
    if ranked is not None and abs(ranked - report.replicas) > max(1.0, 0.25 * report.replicas):
        st.markdown(f":material/format_list_numbered: {word('capacity.ranked', count=f'{ranked:,}')}")
    if not report.ttft_is_quotable:
        st.markdown(f":material/block: {word('capacity.no_ttft', load=percent_text(report.load))}")


def _infeasible(report: CapacityReport, slo: Slo) -> None:
    """No number of replicas is enough: the limit lies below what an idle replica takes, or nothing can run."""
    if report.binding is Limit.CACHE:
        empty_state(word("capacity.infeasible"), word("capacity.nothing_runs"), icon="block")
        return
    if report.binding is not Limit.FLOOR or report.floor_metric not in METRICS:
        empty_state(word("capacity.infeasible"), word("capacity.too_many"), icon="block")
        return
    takes = report.floor_ms[METRICS.index(report.floor_metric)]
    wanted = getattr(slo, f"{report.floor_metric}_ms")
    text = word(
        "capacity.floor",
        metric=word(f"metric.{report.floor_metric}"),
        takes=latency_text(takes),
        wanted="–" if wanted is None else latency_text(wanted),
        percentile=number(slo.percentile),
        excess=percent_text(report.floor_worst - 1),
    )
    empty_state(word("capacity.infeasible"), text, icon="block")


def percentiles(report: CapacityReport, slo: Slo) -> None:
    """TTFT, TPOT and E2E at the fewest replicas; no waiting-time percentile above the load where it means nothing."""
    if not report.latencies:
        st.caption(word("capacity.nothing_simulated"))
        return
    rows: dict[str, list[str]] = {word("table.latency"): [word(f"metric.{name}") for name, _ in report.latencies]}
    for column in _COLUMNS:
        rows[word(f"table.{column}")] = [_cell(name, found, column, report) for name, found in report.latencies]
    rows[word("table.limit")] = [
        "–" if limit is None else f"P{slo.percentile:g} ≤ {latency_text(limit)}"
        for limit in (getattr(slo, f"{name}_ms") for name, _ in report.latencies)
    ]
    st.table(rows, border="horizontal", hide_index=True, alt=word("table.alt"))
    facts = word(
        "capacity.facts",
        in_slo=f"{100 * report.in_slo_share:.2f} %",
        running=number(report.mean_running),
        cache=percent_text(report.peak_cache_use),
        preemptions=f"{report.preemptions:,}",
    )
    st.caption(facts)


def _cell(name: str, found: Latency, column: str, report: CapacityReport) -> str:
    if name != "tpot" and column != "mean" and not report.ttft_is_quotable:
        return "–"
    return latency_text(getattr(found, column))


def curve(report: CapacityReport, slo: Slo) -> None:
    """Latency against load for this fleet, with the limit, the knee and where the traffic is."""
    if not report.curve:
        st.caption(word("capacity.no_curve"))
        return
    limits = {name: getattr(slo, f"{name}_ms") for name in METRICS}
    first = next((name for name in METRICS if limits[name] is not None), METRICS[0])
    names = {name: word(f"metric.{name}") for name in METRICS}
    metric = st.segmented_control(
        word("curve.metric"),
        METRICS,
        default=first,
        format_func=names.__getitem__,
        key=f"capacity.metric.{first}",
        required=True,
    )
    limit = limits[metric]
    name, percentile = word(f"metric.{metric}"), f"P{slo.percentile:g}"
    texts = {
        "title": word("curve.title", metric=name),
        "hint": word("curve.hint_quoted" if metric != "tpot" else "curve.hint"),
        "alt": word("curve.alt", metric=name, replicas=f"{max(1, report.replicas):,}"),
        "x": word("curve.x", replicas=f"{max(1, report.replicas):,}"),
        "y": word("curve.y", metric=name, percentile=percentile, unit="{unit}"),
        "curve": f"{percentile} {name}",
        "knee": word("curve.knee"),
        "here": word("curve.here"),
        "limit": "" if limit is None else word("curve.limit", value=latency_text(limit)),
    }
    chart(latency_lines(report, metric, limit, texts), key=f"capacity.curve.{metric}", height=360)


def over_time(report: CapacityReport) -> None:
    if report.series is None:
        st.caption(word("capacity.nothing_simulated"))
        return
    texts = {name: word(f"queue.{name}") for name in ("title", "hint", "alt", "y", "running", "waiting")}
    chart(queue_lines(report.series, {**texts, "x": word("queue.x", unit="{unit}")}), key="capacity.queue", height=340)


def step_times(report: CapacityReport) -> None:
    """Capacity if every step took 10 % less or more: the step model's error, carried to the answer."""
    st.caption(word("steps.lead"))
    rows = {
        word("steps.factor"): [f"× {factor:g}" for factor, _ in report.at_step_factor],
        word("steps.replicas"): [f"{count:,}" if count else word("steps.none") for _, count in report.at_step_factor],
    }
    st.table(rows, border="horizontal", hide_index=True, width="content", alt=word("steps.alt"))


def _limit(limit: Limit) -> str:
    return translate(language(), f"serving.limit.{limit}")


def _devices(prepared: Prepared) -> int:
    return max(1, prepared.plan.layout.devices)


def _device_name(prepared: Prepared) -> str:
    plan = prepared.plan
    if plan.device is not None:
        return plan.device.name
    return name_in(language(), plan.host.name) if plan.host else "CPU"
