"""Parts of the Plans page above the detail card: inputs as chips, picks, filters, table, mixed fleets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from advisor.catalog.text import translate
from advisor.decision.explain import sentence
from advisor.decision.result import Candidate, Counts, FinalistCheck, Mix, Recommendation
from advisor.decision.scenario import Scenario
from advisor.report.numbers import bytes_text, interval_text, money_text, number, value_text
from advisor.report.plan_figures import axis_name
from advisor.report.rows import device_text, format_text, plan_row, plan_title
from advisor.report.scenario_text import scenario_chips_text
from advisor.ui import state
from advisor.ui.checks_view import check_badge
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import chips, empty_state

__all__ = ["filters", "mixes", "pick_cards", "plan_table", "scenario_chips"]

MAX_ROWS = 500
_SHOWN = (
    "variant",
    "format",
    "hardware",
    "quality",
    "monthly_usd",
    "ttft_ms",
    "e2e_ms",
    "output_tok_s",
    "memory_share",
    "score",
)
_TIMES = ("ttft_ms", "e2e_ms")
_SORTS = ("score", "monthly_usd", "e2e_ms", "quality", "power_w")
_PICKS = (
    ("best", "star", "score"),
    ("cheapest", "savings", "monthly_usd"),
    ("fastest", "bolt", "e2e_ms"),
    ("smallest", "compress", "devices"),
)


def scenario_chips(scenario: Scenario) -> None:
    st.markdown(f"#### {plain(scenario.name.get(language()))}")
    chips(scenario_chips_text(scenario, language()))


def pick_cards(answer: Recommendation, checks: Mapping[str, FinalistCheck]) -> None:
    """Best, cheapest, fastest and smallest: one number, what runs where, and a button that shows it below."""
    with st.grid(4, min_column_width=210):
        for name, icon, measure in _PICKS:
            candidate = getattr(answer.picks, name)
            if candidate is not None:
                _pick_card(name, icon, measure, candidate, checks.get(candidate.plan.id))


def _pick_card(name: str, icon: str, measure: str, candidate: Candidate, check: FinalistCheck | None) -> None:
    with st.container(border=True, height="stretch"):
        st.metric(
            t(f"pick.{name}"), _headline(measure, candidate), icon=f":material/{icon}:", help=t(f"pick.help.{name}")
        )
        st.caption(plain(plan_title(candidate.plan, language())))
        check_badge(check)
        st.space("stretch")
        st.button(
            t("plans.show"),
            key=f"plans.pick.{name}",
            on_click=state.choose_plan,
            args=(candidate.plan.id,),
            width="stretch",
            type="primary" if state.chosen_plan() == candidate.plan.id else "secondary",
        )


def _headline(measure: str, candidate: Candidate) -> str:
    if measure == "monthly_usd":
        return (
            "–" if candidate.monthly_usd is None else t("pick.per_month", value=money_text(candidate.monthly_usd.value))
        )
    if measure == "e2e_ms":
        return value_text(candidate.e2e_ms, "ms")
    if measure == "devices":
        return bytes_text(candidate.sizing.per_device.total_bytes * max(1, candidate.plan.n_devices))
    return t("pick.score", value=number(100 * candidate.score, 2))


def filters(answer: Recommendation) -> list[Candidate]:
    """Sort and filter row; returns at most MAX_ROWS candidates."""
    found = list(answer.candidates)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sort = st.selectbox(
            t("plans.sort"), _SORTS, format_func=lambda s: axis_name(s, language()), key="plans.sort", width=180
        )
        variants = sorted({c.plan.variant.name for c in found})
        models = st.multiselect(
            t("plans.models"), variants, key="plans.models", placeholder=t("form.choose"), width=300
        )
        classes = sorted({_device_class(c) for c in found})
        kinds = st.pills(
            t("plans.device_class"),
            classes,
            selection_mode="multi",
            format_func=lambda name: t(f"device_class.{name}"),
            key="plans.classes",
        )
        front = st.toggle(t("plans.front_only"), key="plans.front")
    found = [c for c in found if not models or c.plan.variant.name in models]
    found = [c for c in found if not kinds or _device_class(c) in kinds]
    found = [c for c in found if c.on_pareto_front or not front]
    return sorted(found, key=lambda c: _sort_value(c, sort))[:MAX_ROWS]


def _device_class(candidate: Candidate) -> str:
    return str(candidate.plan.device.device_class) if candidate.plan.device else "cpu"


def _sort_value(candidate: Candidate, name: str) -> float:
    """Unknown values last."""
    value = plan_row(candidate)[name]
    if not isinstance(value, int | float):
        return float("inf")
    return -value if name in ("score", "quality") else float(value)


def plan_table(shown: Sequence[Candidate], *, total: Counts) -> None:
    """The ranked table; a click on a row shows that plan in detail."""
    if not shown:
        empty_state(t("plans.none_title"), t("plans.none_text"), icon="filter_alt_off")
        return
    ids = [c.plan.id for c in shown]
    # Row selection is by position: a key that changes with the rows never selects another plan by accident.
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]
    event = st.dataframe(
        _frame(shown),
        key=f"plans.table.{digest}",
        hide_index=True,
        height=min(380, 38 + 35 * len(shown)),
        column_config=_columns(),
        on_select="rerun",
        selection_mode="single-row",
        lazy=False,
        placeholder="–",
        alt=t("plans.table_alt", count=len(shown)),
    )
    st.caption(t("plans.count", shown=len(shown), accepted=f"{total.accepted:,}", looked=f"{total.enumerated:,}"))
    rows = event.selection.rows
    if rows:
        state.choose_plan(ids[rows[0]])


def _frame(shown: Sequence[Candidate]) -> pd.DataFrame:
    rows = [plan_row(c) | _seconds(c) | _names(c) | {"monthly_usd": _dollars(c)} for c in shown]
    return pd.DataFrame([{name: row[name] for name in _SHOWN} for row in rows], columns=list(_SHOWN))


def _names(candidate: Candidate) -> dict[str, str]:
    plan = candidate.plan
    return {"format": format_text(plan, language()), "hardware": device_text(plan, language())}


def _seconds(candidate: Candidate) -> dict[str, float]:
    """A column that can be sorted needs one unit."""
    return {name: getattr(candidate, name).value / 1e3 for name in _TIMES}


def _dollars(candidate: Candidate) -> float | None:
    """Cents only below ten dollars."""
    value = candidate.monthly_usd.value if candidate.monthly_usd else None
    return value if value is None else round(value, 2 if value < 10 else 0)


def _columns() -> dict[str, Any]:
    column = st.column_config
    texts = {name: column.TextColumn(t(f"column.{name}")) for name in ("format", "hardware")}
    times = {name: column.NumberColumn(t(f"seconds.{name}"), format="%.3g") for name in _TIMES}
    return {
        "variant": column.TextColumn(t("column.variant"), pinned=True),
        **texts,
        **times,
        "output_tok_s": column.NumberColumn(t("column.output_tok_s"), format="compact"),
        "quality": column.NumberColumn(t("column.quality"), format="%.1f"),
        "monthly_usd": column.NumberColumn(t("column.monthly_usd"), format="localized"),
        "memory_share": column.ProgressColumn(t("column.memory_share"), min_value=0, max_value=1, format="percent"),
        "score": column.NumberColumn(t("column.score"), format="%.3f"),
    }


def mixes(answer: Recommendation) -> None:
    """Fleets of several models, where the tree or the scenario asks for one."""
    if not answer.mixes:
        empty_state(t("plans.no_mix_title"), t("plans.no_mix_text"), icon="device_hub")
    for index, mix in enumerate(answer.mixes):
        with st.container(border=True):
            _mix(mix, index)


def _mix(mix: Mix, index: int) -> None:
    st.markdown(f"**{t(f'mix.{mix.kind}')}**")
    for reason in mix.reasons:
        st.markdown(f"- {plain(sentence(language(), reason))}")
    rows = {
        t("mix.role"): [translate(language(), f"decision.pool.{pool.role}") for pool in mix.pools],
        t("mix.share"): [f"{100 * pool.share:.0f} %" for pool in mix.pools],
        t("mix.plan"): [plain(plan_title(pool.candidate.plan, language())) for pool in mix.pools],
    }
    st.table(rows, border="horizontal", hide_index=True, alt=t("mix.alt", number=index + 1))
    facts = [(t("column.quality"), mix.quality, ""), (t("column.monthly_usd"), mix.monthly_usd, "USD")]
    known = [
        f"{label}: {interval_text(q, unit)}"
        for label, q, unit in (*facts, (t("column.power_w"), mix.power_w, "W"))
        if q
    ]
    chips(known)
