"""Advise: pick an example or fill in the form, see what it means, find configurations."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.decision.scenario import Scenario
from advisor.decision.scenario_form import scenario_to_yaml
from advisor.ui import backend, state
from advisor.ui.advise_view import demand, open_example, open_file, start_form
from advisor.ui.form import form, read_form
from advisor.ui.form_model import scenario_from_form
from advisor.ui.nav import page_path
from advisor.ui.text import language, plain, t
from advisor.ui.widgets import page_header, problem_state

page_header("advise")
start_form()
examples = backend.scenarios()
st.pills(
    t("advise.examples"),
    list(examples),
    format_func=lambda name: examples[name].name.get(language()),
    key="advise.example",
    help=t("advise.examples_help"),
    on_change=open_example,
    persist_state="session",
)

values, base = read_form()
scenario: Scenario | None = None
problem: FathomError | None = None
try:
    scenario = scenario_from_form(values, base)
except FathomError as raised:
    problem = raised

with st.container(border=True):
    st.markdown(f"#### {plain((scenario or base).name.get(language()))}")
    st.markdown(plain((scenario or base).description.get(language())))
    if problem is not None:
        problem_state(problem)
    if scenario is not None:
        demand(scenario)
    with st.container(horizontal=True, vertical_alignment="center"):
        go = st.button(
            t("advise.go"), type="primary", icon=":material/search:", key="advise.go", disabled=scenario is None
        )
        if scenario is not None:
            st.download_button(
                t("advise.download"),
                scenario_to_yaml(scenario),
                f"{scenario.id}.yaml",
                "application/yaml",
                icon=":material/download:",
                on_click="ignore",
                key="advise.download",
            )
        with st.popover(t("advise.file"), icon=":material/upload_file:"):
            st.file_uploader(
                t("advise.upload"),
                ["yaml", "yml", "json"],
                key="advise.upload",
                max_upload_size=1,
                help=t("advise.upload_help"),
                on_change=open_file,
            )

st.header(t("advise.requirements"), anchor=False)
form()

if go and scenario is not None:
    state.set_scenario(scenario)
    st.switch_page(page_path("plans"), query_params=state.link_parameters())
