"""What a session has simulated: the Economics page counts these replicas instead of the closed form's."""

from __future__ import annotations

import streamlit as st

from advisor.jobs.answers import CapacityReport

__all__ = ["remember", "remembered"]

_KEY = "load.simulated"


def remember(plan_id: str, report: CapacityReport) -> None:
    """Safe replicas and the load on them, for this plan under the scenario's traffic."""
    found = dict(st.session_state.get(_KEY, {}))
    found[plan_id] = (report.safe_replicas, report.load * report.replicas / report.safe_replicas)
    st.session_state[_KEY] = found


def remembered(plan_id: str) -> tuple[int, float] | None:
    """(replicas, load at the peak) of the last search for this plan; None if there was none."""
    found = st.session_state.get(_KEY, {}).get(plan_id)
    return None if found is None else (int(found[0]), float(found[1]))
