"""Economics: what a plan costs to buy, rent and run, per token and over the years, against an API."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.serving.economics import compare_with_api, economics
from advisor.ui import answers, backend, state
from advisor.ui.assumptions_view import edit_assumptions
from advisor.ui.economics_view import api_verdict, choose_api, choose_rates, choose_use, details, headline, years
from advisor.ui.load_plan import choose_candidate, one_replica
from advisor.ui.load_text import word
from advisor.ui.rejected_view import nothing_fits
from advisor.ui.widgets import page_header, problem_state

page_header("economics")
found = answers.recommendation(state.token())
if found.nothing_fits:
    nothing_fits(found)
    st.stop()

with st.container(border=True):
    candidate = choose_candidate(found, key="economics.plan")
    try:
        use = choose_use(found.scenario, candidate)
        rates = choose_rates(found.scenario)
        price = choose_api()
    except FathomError as problem:
        problem_state(problem)
        st.stop()

summary = st.container()
with st.expander(word("assumptions.title"), icon=":material/tune:", key="economics.assumptions"):
    assumptions = edit_assumptions()

with summary:
    answer = economics(one_replica(candidate), use, backend.catalog(), rates, assumptions)
    compared = None
    if price is not None:
        compared = compare_with_api(
            answer, use, input_usd_per_million=price.input_usd, output_usd_per_million=price.output_usd
        )
    headline(answer)
    if compared is not None:
        api_verdict(compared)
    years(answer, compared)
    details(answer, rates)
