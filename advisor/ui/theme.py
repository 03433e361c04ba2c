"""The palette of the mode in which the browser shows the page."""

from __future__ import annotations

import streamlit as st

from advisor.report.palette import DARK, LIGHT, Palette

__all__ = ["palette"]


def palette() -> Palette:
    return DARK if st.context.theme.type == "dark" else LIGHT
