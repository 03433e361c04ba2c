"""Texts in the language of this session."""

from __future__ import annotations

import re

import streamlit as st

from advisor.catalog.text import LANGUAGES, translate

__all__ = ["LANGUAGE_KEY", "language", "plain", "t"]

LANGUAGE_KEY = "language"
_MARKDOWN = re.compile(r"([\\`*_\[\]()#<>!|~$:{}])")


def language() -> str:
    """Either en or zh; anything else that a browser sent counts as English."""
    chosen = st.session_state.get(LANGUAGE_KEY)
    return chosen if chosen in LANGUAGES else LANGUAGES[0]


def t(key: str, /, **values: object) -> str:
    """The text `ui.<key>` in the language of this session."""
    return translate(language(), f"ui.{key}", **values)


def plain(text: object) -> str:
    """Text from data or users for use inside Markdown: shown as it is, never as a link, image or formula."""
    return _MARKDOWN.sub(r"\\\1", str(text))
