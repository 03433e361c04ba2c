"""Numbers of bytes unfolded: formula, values put in, source of each."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.text import translate
from advisor.report.numbers import bytes_text
from advisor.sizing.derivation import derive
from advisor.sizing.plan import Load, Plan
from advisor.ui.text import language, plain, t

__all__ = ["derivation"]


def derivation(plan: Plan, load: Load, *, key: str) -> None:
    """A popover; the steps are computed only while it is open."""
    popover = st.popover(t("derivation.label"), icon=":material/function:", type="tertiary", key=key, on_change="rerun")
    if not popover.open:
        return
    with popover:
        st.caption(t("derivation.lead"))
        for item in derive(plan, load):
            title = translate(language(), f"sizing.derivation.{item.key}.title")
            st.markdown(f"**{plain(title)}: {plain(bytes_text(item.value))}**")
            for step in item.steps:
                st.markdown(f"- {plain(translate(language(), f'sizing.derivation.{step.key}', **step.values))}")
            if item.source:
                st.caption(plain(item.source))
