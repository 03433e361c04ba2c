"""This machine: what it is, what fits and how fast, load a model and measure it, history of measurements."""

from __future__ import annotations

import streamlit as st

from advisor.ui import backend, probing
from advisor.ui.fit_view import fit_table
from advisor.ui.history_view import history
from advisor.ui.machine_rates import last_benchmark
from advisor.ui.machine_view import machine_cards
from advisor.ui.probe_view import probe_form, watch_probe
from advisor.ui.text import t
from advisor.ui.widgets import page_header

page_header("machine")
machine = probing.machine()
machine_cards(machine)
last_benchmark(machine)
backend.catalog()  # one message where its data are broken, and nothing below

st.header(t("machine.measure"), anchor=False)
st.caption(t("machine.measure_lead"))
registry = probing.registry()
watch_probe(registry)
probe_form(registry, machine)

st.header(t("machine.fit"), anchor=False)
st.caption(t("machine.fit_lead"))
fit_table(machine)

st.header(t("machine.history"), anchor=False)
history(registry.store, machine)
