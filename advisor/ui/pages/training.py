"""Training: memory and time of fine-tuning, adapting or distilling a model."""

from __future__ import annotations

import streamlit as st

from advisor.ui import backend
from advisor.ui.text import t
from advisor.ui.training_form import training_form
from advisor.ui.training_view import checks, result
from advisor.ui.widgets import page_header

page_header("training")
plan, tokens = training_form(backend.catalog())
result(plan, tokens)
with st.expander(t("training.checks"), icon=":material/fact_check:", key="training.checks", on_change="rerun") as more:
    if more.open:
        checks()
