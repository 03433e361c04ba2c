"""The few things that a session remembers: language, scenario (as its link token), chosen plan. All keys are here."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.catalog.text import LANGUAGES
from advisor.decision.scenario import Scenario
from advisor.decision.scenario_form import resolve_ids, scenario_from_token, scenario_to_token
from advisor.report.problems import problem_text
from advisor.ui import backend
from advisor.ui.backend import default_scenario, find, scenarios
from advisor.ui.text import LANGUAGE_KEY, language

__all__ = [
    "begin",
    "choose_plan",
    "chosen_plan",
    "link_parameters",
    "scenario",
    "set_scenario",
    "take_link_problem",
    "token",
]

_TOKEN = "scenario_token"  # noqa: S105
_PLAN = "plan_id"
_LINK_SEEN = "link_seen"
_LINK_PROBLEM = "link_problem"


def begin() -> None:
    """Defaults of a new session, and the scenario of a shared link if the address carries one."""
    if LANGUAGE_KEY not in st.session_state:
        st.session_state[LANGUAGE_KEY] = _first_language()
    named, coded = st.query_params.get("scenario"), st.query_params.get("s")
    if (named or coded) and (named, coded) != st.session_state.get(_LINK_SEEN):
        st.session_state[_LINK_SEEN] = (named, coded)
        _open_link(named, coded)


def token() -> str:
    """Key of all caches and of shareable links; of the default scenario until one is chosen."""
    if _TOKEN not in st.session_state:
        set_scenario(default_scenario())
    return str(st.session_state[_TOKEN])


def scenario() -> Scenario:
    return scenario_from_token(token())


def set_scenario(wanted: Scenario) -> None:
    """Make it the scenario of this session; the chosen plan belongs to the old one and is forgotten."""
    st.session_state[_TOKEN] = scenario_to_token(wanted)
    st.session_state.pop(_PLAN, None)


def link_parameters() -> dict[str, str]:
    """What the address needs to share the scenario: its id where it is a known one, else all of it."""
    current = scenario()
    return {"scenario": current.id} if scenarios().get(current.id) == current else {"s": token()}


def chosen_plan() -> str | None:
    found = st.session_state.get(_PLAN)
    return None if found is None else str(found)


def choose_plan(plan_id: str) -> None:
    st.session_state[_PLAN] = plan_id


def take_link_problem() -> str | None:
    """The message about a damaged link, once."""
    found = st.session_state.pop(_LINK_PROBLEM, None)
    return None if found is None else str(found)


def _open_link(named: str | None, coded: str | None) -> None:
    """A damaged or unknown link leaves the session as it was; broken data are the page's to tell."""
    try:
        catalog, _ = backend.catalog(), backend.scenarios()
    except FathomError:
        return
    try:
        found = resolve_ids(scenario_from_token(coded), catalog, source="link") if coded else find(named or "")
        set_scenario(found)
    except FathomError as problem:
        st.session_state[_LINK_PROBLEM] = problem_text(problem, language())


def _first_language() -> str:
    wanted = st.query_params.get("lang") or (st.context.locale or "")
    return "zh" if wanted.lower().startswith("zh") else LANGUAGES[0]
