"""Capacity: a plan under traffic. Fewest replicas that meet the limits, by simulation, and what holds them back."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.jobs.messages import CapacityRequest
from advisor.serving.estimate import replicas_by_closed_form
from advisor.ui import answers, state
from advisor.ui.capacity_view import answer, curve, does_not_fit, first_estimate, over_time, percentiles, step_times
from advisor.ui.cheapest_view import cheapest
from advisor.ui.event_view import events
from advisor.ui.load_costs import larger_than_cache, prepare
from advisor.ui.load_engine import choose_options
from advisor.ui.load_jobs import jobs, start_button, watched
from advisor.ui.load_memory import remember
from advisor.ui.load_plan import choose_plan, choose_question
from advisor.ui.load_text import word
from advisor.ui.load_traffic import choose_router, choose_slo, choose_traffic
from advisor.ui.policy_view import policies
from advisor.ui.widgets import page_header, problem_state

page_header("capacity")
jobs()  # its process loads while this page does
found = answers.recommendation(state.token())
scenario = found.scenario
if choose_question() == "cheapest":
    cheapest()
    st.stop()

with st.container(border=True):
    chosen = choose_plan(found)
with st.container(border=True):
    try:
        workload = choose_traffic(scenario, chosen.candidate if chosen else None)
        slo = choose_slo(scenario)
    except FathomError as problem:
        problem_state(problem)
        st.stop()
    router = choose_router()
if chosen is None or workload is None:
    st.stop()

prepared = prepare(chosen.plan, workload)
if prepared.costs is None:
    does_not_fit(prepared)
    st.stop()
try:
    options = choose_options(prepared.options)
except FathomError as problem:
    problem_state(problem)
    st.stop()
too_large = larger_than_cache(workload, prepared.costs)
if too_large > 0:
    st.warning(word("fit.too_large", share=f"{100 * too_large:.2g} %"), icon=":material/straighten:")

request = CapacityRequest(prepared.costs, workload, slo, options, router, prepared.shares)
start_button(request, word("capacity.go"), key="capacity.go")
job = watched(request, key="capacity")
if job is None:
    first_estimate(prepared, replicas_by_closed_form(prepared.costs, workload, slo, options))
    st.stop()

report = job.answer
of_scenario = chosen.candidate is not None and workload.id == scenario.id
answer(job, prepared, slo, chosen.candidate.replicas if chosen.candidate and of_scenario else None)
if chosen.candidate and of_scenario and report.feasible:
    remember(chosen.candidate.plan.id, report)
names = ("curve", "percentiles", "queue", "steps", "policy", "event")
tabs = st.tabs([word(f"tab.{name}") for name in names], key="capacity.tabs", on_change="rerun")
if tabs[0].open:
    with tabs[0]:
        curve(report, slo)
if tabs[1].open:
    with tabs[1]:
        percentiles(report, slo)
if tabs[2].open:
    with tabs[2]:
        over_time(report)
if tabs[3].open:
    with tabs[3]:
        step_times(report)
if tabs[4].open:
    with tabs[4]:
        policies(report, request)
if tabs[5].open:
    with tabs[5]:
        events(report, request)
