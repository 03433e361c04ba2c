"""The cheapest plan over variants, machines and engines: start, progress, answer."""

from __future__ import annotations

import math

import streamlit as st

from advisor.catalog.quantity import Quantity
from advisor.catalog.text import translate
from advisor.evidence.in_force import store_revision
from advisor.jobs.answers import CheapestReport, CheapestRow
from advisor.jobs.background import Job
from advisor.jobs.messages import CheapestRequest
from advisor.report.figures import Bars
from advisor.report.numbers import latency_text, money_text, number
from advisor.serving.limits import Limit
from advisor.ui import state
from advisor.ui.charts.money import cost_bars
from advisor.ui.load_jobs import start_button, watched
from advisor.ui.load_text import word
from advisor.ui.text import language, plain
from advisor.ui.widgets import basis_badges, chart, empty_state

__all__ = ["cheapest"]

_COUNTS = (4, 8, 16, 32)
_SHOWN = 12  # bars


def cheapest() -> None:
    """The whole of it: how many plans to simulate, the search, the table."""
    st.caption(word("cheapest.lead"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        count = st.segmented_control(
            word("cheapest.count"),
            _COUNTS,
            default=8,
            key="cheapest.count",
            required=True,
            persist_state="session",
            help=word("cheapest.count_help"),
        )
        request = CheapestRequest(state.token(), int(count), store_revision())
        start_button(request, word("cheapest.go"), key="cheapest.go")
    job = watched(request, key="cheapest")
    if job is not None:
        _answer(job)


def _answer(job: Job) -> None:
    report: CheapestReport = job.answer
    good = [row for row in report.rows if row.feasible]
    if not good:
        text = word("cheapest.none_text" if report.rows else "cheapest.no_price_text")
        empty_state(word("cheapest.none_title"), text, icon="search_off")
    else:
        _headline(good[0], report.percentile)
        if any(row.monthly_usd for row in good):
            chart(_bars(good), key="cheapest.bars")
    if report.rows:
        _table(report)
        st.caption(word("cheapest.method", count=len(report.rows), seconds=number(job.seconds, 2)))
        basis_badges([row.tpot_basis for row in good])


def _headline(best: CheapestRow, percentile: float) -> None:
    st.markdown(f"#### :material/savings: {plain(best.title)}")
    with st.grid(4, min_column_width=190):
        _metric("cost", _money(best.monthly_usd), _range(best.monthly_usd))
        extra = word("cheapest.extra", extra=best.safe_replicas - best.replicas, devices=f"{best.devices:,}")
        _metric("replicas", f"{best.safe_replicas:,}", extra)
        latency = "–" if math.isnan(best.e2e_ms) else latency_text(best.e2e_ms)
        _metric("latency", latency, word("cheapest.percentile", percentile=f"{percentile:g}"))
        slower = f"{best.if_slower:,}" if best.if_slower else word("steps.none")
        _metric("slower", slower, word("cheapest.slower_note"))
    held = word("capacity.bound", limit=_limit(best.binding))
    behind = word("capacity.behind", limit=_limit(best.next_binding)) if best.next_binding else ""
    st.markdown(f":material/front_hand: {held} {behind}")
    said = word("cheapest.agrees" if best.agrees else "cheapest.disagrees", count=f"{best.ranked_replicas:,}")
    st.markdown(f":material/compare_arrows: {said}")


def _metric(name: str, value: str, note: str) -> None:
    st.metric(
        word(f"cheapest.metric_{name}"),
        value,
        note,
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
    )


def _bars(rows: list[CheapestRow]) -> Bars:
    cheapest_of: dict[str, Quantity] = {}  # bars of one name would be stacked
    for row in rows:
        if row.monthly_usd is not None:
            cheapest_of.setdefault(row.title, row.monthly_usd)
    priced = list(cheapest_of.items())[:_SHOWN]
    texts = {name: word(f"cheapest.bars_{name}") for name in ("title", "hint", "monthly")}
    texts["alt"] = word("cheapest.bars_alt", plan=priced[0][0], count=len(priced))
    return cost_bars(priced, texts)


def _table(report: CheapestReport) -> None:
    rows = report.rows
    columns = {
        word("cheapest.column_plan"): [plain(row.title) for row in rows],
        word("cheapest.column_cost"): [_range(row.monthly_usd) for row in rows],
        word("cheapest.column_replicas"): [_replicas(row) for row in rows],
        word("cheapest.column_ranked"): [f"{row.ranked_replicas:,}" for row in rows],
        word("cheapest.column_devices"): [f"{row.devices:,}" if row.feasible else "–" for row in rows],
        word("cheapest.column_ttft"): ["–" if row.ttft_ms is None else latency_text(row.ttft_ms) for row in rows],
        word("cheapest.column_tpot"): ["–" if math.isnan(row.tpot_ms) else latency_text(row.tpot_ms) for row in rows],
        word("cheapest.column_e2e"): ["–" if math.isnan(row.e2e_ms) else latency_text(row.e2e_ms) for row in rows],
        word("cheapest.column_quality"): ["–" if row.quality is None else f"{row.quality.value:.0f}" for row in rows],
        word("cheapest.column_limit"): [_limit(row.binding) for row in rows],
    }
    st.table(columns, border="horizontal", hide_index=True, alt=word("cheapest.table_alt"))


def _replicas(row: CheapestRow) -> str:
    if not row.feasible:
        return word("cheapest.fails")
    extra = row.safe_replicas - row.replicas
    return f"{row.replicas:,} + {extra}" if extra else f"{row.replicas:,}"


def _limit(limit: Limit) -> str:
    return translate(language(), f"serving.limit.{limit}")


def _money(quantity: Quantity | None) -> str:
    return "–" if quantity is None else money_text(float(f"{quantity.value:.2g}"))


def _range(quantity: Quantity | None) -> str:
    if quantity is None:
        return "–"
    low, high = (money_text(float(f"{end:.2g}")) for end in (quantity.low, quantity.high))
    return plain(f"{low} – {high}")
