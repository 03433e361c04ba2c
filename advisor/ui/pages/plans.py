"""Plans: the answer to the scenario. Picks, all plans that meet the limits, one in detail, and what was ruled out."""

from __future__ import annotations

import streamlit as st

from advisor.report.plan_figures import axis_name, known_axes, pareto, usual_axis
from advisor.ui import answers, state
from advisor.ui.checks_view import known_checks
from advisor.ui.nav import page_path
from advisor.ui.plan_detail import plan_detail
from advisor.ui.plans_view import filters, mixes, pick_cards, plan_table, scenario_chips
from advisor.ui.rejected_view import nothing_fits, rejections
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import chart, page_header


def _axis(name: str) -> str:
    return axis_name(name, language())


left, right = st.columns([4, 1], vertical_alignment="bottom")
with left:
    page_header("plans")
with right:
    st.page_link(page_path("advise"), label=t("plans.edit"), icon=":material/edit:")

answer = answers.recommendation(state.token())
scenario_chips(answer.scenario)

if answer.nothing_fits:
    nothing_fits(answer)
    rejections(answer)
    st.stop()

st.markdown(f"**{plain(answer.leaf.name.get(language()))}** · {plain(answer.leaf.reason.get(language()))}")
checks = known_checks(answer)
pick_cards(answer, checks)

shown = filters(answer)
plan_table(shown, total=answer.counts)
chosen = state.chosen_plan()
candidate = next((c for c in answer.candidates if c.plan.id == chosen), shown[0] if shown else answer.candidates[0])
plan_detail(candidate, answer, checks)

names = [t("plans.tab.compare"), t("plans.tab.mixes"), t("plans.tab.rejected")]
compare, mixed, rejected = st.tabs(names, key="plans.tabs", on_change="rerun")
with compare:
    if compare.open:
        axes = known_axes(answer)
        across, up = axes.index(usual_axis(answer)), axes.index("e2e_ms")
        with st.container(horizontal=True):
            x = st.selectbox(t("plans.x"), axes, across, format_func=_axis, key="plans.x")
            y = st.selectbox(t("plans.y"), axes, up, format_func=_axis, key="plans.y")
        figure = pareto(answer, language(), x=x, y=y, chosen=candidate.plan.id)
        event = chart(figure, key=f"plans.pareto.{x}.{y}", selectable=True)
        picked = [point.get("customdata") for point in event.selection.points]
        if picked and picked[0] and picked[0] != candidate.plan.id:
            state.choose_plan(str(picked[0]))
            st.rerun()
with mixed:
    if mixed.open:
        mixes(answer)
with rejected:
    if rejected.open:
        rejections(answer)
        unrated = t("decision.separator").join(variant.name for variant in answer.unrated_variants)
        if unrated:
            st.caption(t("plans.unrated", name=plain(unrated)))
