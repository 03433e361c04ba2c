"""Report: the recommendation as a document, and downloads in every format."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

import streamlit as st

from advisor.report.render import MIME, Kind
from advisor.ui import answers, state
from advisor.ui.plans_view import scenario_chips
from advisor.ui.text import language, t
from advisor.ui.widgets import page_header

page_header("report")
token = state.token()
answer = answers.recommendation(token)
scenario_chips(answer.scenario)

with st.container(horizontal=True):
    for kind in Kind:
        missing = kind is Kind.PDF and not answers.pdf_available()
        st.download_button(
            t(f"report.kind.{kind}"),
            partial(answers.report_bytes, token, kind, language()),
            f"fathom-{answer.scenario.id}-{language()}.{kind}",
            MIME[kind],
            key=f"report.{kind}",
            icon=":material/download:",
            type="primary" if kind is Kind.HTML else "secondary",
            on_click="ignore",
            disabled=missing,
            help=t("report.no_pdf") if missing else None,
        )
with st.popover(t("report.link"), icon=":material/link:", type="tertiary"):
    st.caption(t("report.link_lead"))
    st.code("?" + urlencode(state.link_parameters()), language=None, wrap_lines=True)

st.header(t("report.preview"), anchor=False)
st.iframe(answers.report_bytes(token, Kind.HTML, language()).decode(), height=900, alt=t("report.preview_alt"))
