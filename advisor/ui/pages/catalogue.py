"""Catalogue: models, devices, formats, engines, prices with their sources; a model of the user's own."""

from __future__ import annotations

import streamlit as st

from advisor.ui import backend
from advisor.ui.catalogue_view import devices, engines, formats, models, prices
from advisor.ui.own_model_view import own_model
from advisor.ui.text import t
from advisor.ui.widgets import page_header

page_header("catalogue")
catalog = backend.catalog()
parts = {"models": models, "devices": devices, "formats": formats, "engines": engines, "prices": prices}
tabs = st.tabs([t(f"catalogue.{name}") for name in (*parts, "own")], key="catalogue.tabs", on_change="rerun")
for tab, show in zip(tabs, parts.values(), strict=False):
    if tab.open:
        with tab:
            show(catalog)
if tabs[-1].open:
    with tabs[-1]:
        own_model(catalog)
