"""Entry of the app: page config, navigation, language. Run with `make app`."""

from __future__ import annotations

import streamlit as st

from advisor.ui.nav import ICON, navigation, run_page
from advisor.ui.process import freeze_once
from advisor.ui.sidebar import sidebar
from advisor.ui.state import begin

st.set_page_config(page_title="Fathom", page_icon=str(ICON), layout="wide")
freeze_once()
begin()
page = navigation()
sidebar()
run_page(page)
