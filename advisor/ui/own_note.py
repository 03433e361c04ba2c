"""One caption under figures that own measurements stand behind."""

from __future__ import annotations

import streamlit as st

from advisor.decision.explain import sentence
from advisor.decision.own_reasons import own_reasons
from advisor.sizing.plan import Plan
from advisor.ui import backend
from advisor.ui.text import language, plain

__all__ = ["own_note"]


def own_note(plan: Plan) -> None:
    """Says how many runs, of when, and how far the first prediction was off; nothing where there are none."""
    found = own_reasons(plan, backend.catalog())
    if found:
        st.caption(":material/speed: " + " ".join(plain(sentence(language(), reason)) for reason in found))
