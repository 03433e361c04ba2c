"""How right are we? Predicted against measured on public data, coverage of the intervals, the worst groups by name."""

from __future__ import annotations

import streamlit as st

from advisor.ui.accuracy_memory import memory
from advisor.ui.accuracy_speed import held_out_cards, speed
from advisor.ui.text import t
from advisor.ui.widgets import page_header

page_header("accuracy")
scheme = held_out_cards()
speed_tab, memory_tab = st.tabs([t("accuracy.speed"), t("accuracy.memory")], key="accuracy.tabs", on_change="rerun")
if speed_tab.open:
    with speed_tab:
        speed(scheme)
if memory_tab.open:
    with memory_tab:
        memory()
