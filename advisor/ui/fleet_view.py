"""Parts of the mixed-fleet page: the map of the fleet, and results by class and by pool."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st

from advisor.catalog.quantity import Quantity
from advisor.jobs.answers import FleetReport, FleetRow
from advisor.jobs.background import Job
from advisor.jobs.messages import FleetMode, FleetRequest
from advisor.report.numbers import latency_text, number
from advisor.report.rows import plan_title
from advisor.serving.workload import Slo
from advisor.ui.charts.fleet import MOST_ROWS, Placed, fleet_grid, place
from advisor.ui.fleet_form import PoolChoice, devices_per_server
from advisor.ui.load_costs import Prepared
from advisor.ui.load_plan import one_replica
from advisor.ui.load_text import class_name, word
from advisor.ui.text import language, plain
from advisor.ui.widgets import basis_badges, chart, wide_table

__all__ = ["fleet_map", "results"]


def fleet_map(pools: Sequence[PoolChoice], prepared: Sequence[Prepared], lost: Sequence[int]) -> None:
    """Which replica sits where; and what each pool is, in words."""
    placed = [_placed(pool, found, gone) for pool, found, gone in zip(pools, prepared, lost, strict=True)]
    servers = sum(len(place(pool)) for pool in placed)
    texts = {name: word(f"map.{name}") for name in ("title", "hint", "lost", "value")}
    texts["alt"] = word("map.alt", replicas=sum(pool.replicas for pool in pools), servers=servers)
    texts["row"] = word("map.row", pool="{pool}", number="{number}")
    texts["column"] = word("map.column", number="{number}")
    chart(fleet_grid(placed, texts), key="fleet.map")
    if servers > MOST_ROWS:
        st.caption(word("map.more", shown=MOST_ROWS, servers=f"{servers:,}"))
    for pool in pools:
        st.caption(plain(f"{pool.name}: {pool.replicas:,} × {plan_title(one_replica(pool.candidate), language())}"))


def _placed(pool: PoolChoice, prepared: Prepared, lost: int) -> Placed:
    device = prepared.sizing.host or prepared.sizing.per_device
    if pool.candidate.plan.device is not None:
        device = prepared.sizing.per_device
    devices = max(1, pool.candidate.plan.layout.devices)
    used = device.total_bytes / device.usable_bytes
    return Placed(pool.name, pool.replicas, devices, devices_per_server(pool.candidate), used, lost)


def results(job: Job, slo: Slo, decode: Sequence[Quantity]) -> None:
    """Headline, classes, pools; with and without the replicas that were lost."""
    assert isinstance(job.request, FleetRequest)
    report: FleetReport = job.answer
    lost = report.lost
    with st.grid(4, min_column_width=180):
        _metric("in_slo", _share(report.in_slo_share), None if lost is None else _share(lost.in_slo_share))
        for name in ("ttft", "e2e"):
            after = None if lost is None else _p95(lost, name)
            _metric(name, _p95(report, name), after)
        unserved = None if lost is None else f"{lost.unserved:,}"
        _metric("unserved", f"{report.unserved:,}", unserved)
    if report.stranded:
        st.error(
            word("fleet.stranded", classes=plain(", ".join(report.stranded))),
            title=word("fleet.stranded_title"),
            icon=":material/heart_broken:",
        )
    else:
        _verdict(report, slo, job.request.mode)
    _table("classes", report.classes, lost.classes if lost else ())
    _table("pools", report.pools, lost.pools if lost else ())
    st.caption(word("fleet.method", requests=f"{report.requests:,}", seconds=number(job.seconds, 2)))
    basis_badges(list(decode))


def _verdict(report: FleetReport, slo: Slo, mode: FleetMode) -> None:
    """Does the fleet hold, and does it still hold after the loss?"""
    wanted, lost = slo.percentile / 100, report.lost
    if report.in_slo_share < wanted:
        text = word("fleet.misses", share=_share(report.in_slo_share), wanted=_share(wanted))
        why = word("fleet.misses_cascade") if mode is FleetMode.CASCADE else ""
        st.markdown(f":material/warning: {text} {why}")
    elif lost is None:
        st.markdown(f":material/check_circle: {word('fleet.holds', share=_share(report.in_slo_share))}")
    else:
        holds = lost.in_slo_share >= wanted
        said = word("fleet.survives" if holds else "fleet.suffers", share=_share(lost.in_slo_share))
        st.markdown(f":material/health_and_safety: {said}")


def _metric(name: str, value: str, after: str | None) -> None:
    st.metric(
        word(f"fleet.metric_{name}"),
        value,
        word("fleet.after", value=after) if after is not None else word("fleet.no_loss"),
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
    )


def _table(kind: str, rows: Sequence[FleetRow], lost: Sequence[FleetRow]) -> None:
    """One line per class or pool; P95 after the loss in the last column."""
    after = {row.name: row for row in lost}
    st.markdown(f"**{word(f'fleet.table_{kind}')}**")
    columns = {
        word("fleet.column_name"): [plain(class_name(row.name)) for row in rows],
        word("fleet.column_share"): [f"{100 * row.share:.0f} %" for row in rows],
        word("fleet.column_ttft"): [_latency(row, "ttft") for row in rows],
        word("fleet.column_e2e"): [_latency(row, "e2e") for row in rows],
        word("fleet.column_rate"): [number(row.output_tok_s) for row in rows],
    }
    if kind == "classes":
        columns[word("fleet.column_in_slo")] = [_share(row.in_slo_share) for row in rows]
    else:
        columns[word("fleet.column_in_flight")] = [
            number(row.in_flight / row.replicas) if row.replicas else "–" for row in rows
        ]
    if lost:
        columns[word("fleet.column_after")] = [
            _latency(after[row.name], "e2e") if row.name in after else "–" for row in rows
        ]
    wide_table(columns, alt=word(f"fleet.{kind}_alt"))


def _latency(row: FleetRow, name: str) -> str:
    return latency_text(dict(row.latencies)[name].p95)


def _p95(report: FleetReport, name: str) -> str:
    return latency_text(dict(report.latencies)[name].p95)


def _share(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.2f} %" if share < 0.99995 else "100 %"
