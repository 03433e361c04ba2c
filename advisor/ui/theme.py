"""The mode in which the browser shows the page, and its palette."""

from __future__ import annotations

import streamlit as st

from advisor.report.palette import DARK, LIGHT, Palette

__all__ = ["PALETTES", "mode", "palette"]

PALETTES = {"light": LIGHT, "dark": DARK}


def mode() -> str:
    return "dark" if st.context.theme.type == "dark" else "light"


def palette() -> Palette:
    return PALETTES[mode()]
