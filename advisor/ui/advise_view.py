"""Parts of the Advise page: filling the form from an example, a file or the session, and the demand in numbers."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.errors import DataError, FathomError
from advisor.decision.scenario import Scenario
from advisor.decision.scenario_form import resolve_ids, scenario_from_text
from advisor.report.numbers import number
from advisor.ui import backend, state
from advisor.ui.form import has_form, write_form
from advisor.ui.text import t
from advisor.ui.widgets import problem_state

__all__ = ["demand", "open_example", "open_file", "start_form"]

_FORM_TOKEN = "advise.form_token"  # noqa: S105
_FILE_PROBLEM = "advise.file_problem"


def start_form() -> None:
    """Fill the form on the first visit and whenever the session's scenario came from elsewhere (a link)."""
    if not has_form() or st.session_state.get(_FORM_TOKEN) != state.token():
        write_form(state.scenario())
        st.session_state[_FORM_TOKEN] = state.token()
    problem = st.session_state.pop(_FILE_PROBLEM, None)
    if problem is not None:
        problem_state(problem)


def open_example() -> None:
    """Callback: put the picked example into the form."""
    picked = st.session_state.get("advise.example")
    if picked:
        write_form(backend.scenarios()[picked])


def open_file() -> None:
    """Callback: put an uploaded scenario into the form; a broken file leaves the form as it was."""
    upload = st.session_state.get("advise.upload")
    if upload is None:
        return
    try:
        scenario = scenario_from_text(_decoded(upload.getvalue(), upload.name), source=upload.name)
        write_form(resolve_ids(scenario, backend.catalog(), source=upload.name))
    except FathomError as problem:
        st.session_state[_FILE_PROBLEM] = problem


def demand(scenario: Scenario) -> None:
    """What the form amounts to."""
    arrivals, users = scenario.arrivals_per_s, scenario.closed_loop_users
    with st.grid(4, min_column_width=175):
        if arrivals is not None:
            st.metric(t("advise.peak"), t("advise.per_s", value=number(arrivals)), border=True)
            rate = arrivals * scenario.total_output_tokens
            st.metric(t("advise.generated"), t("advise.tok_s", value=number(rate)), border=True)
        else:
            st.metric(t("advise.in_flight"), number(users or 0), border=True)
            st.metric(t("advise.generated"), t("advise.closed"), border=True)
        st.metric(t("advise.request"), number(scenario.request_tokens), border=True)
        st.metric(t("advise.context"), t("advise.tokens", value=number(scenario.context_tokens)), border=True)


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(name, "", "", "text in UTF-8") from None
