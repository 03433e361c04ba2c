"""Pages in their groups, and how one is run."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page

from advisor.catalog.errors import FathomError
from advisor.ui.text import t
from advisor.ui.widgets import problem_state

__all__ = ["ICON", "LOGO", "PAGES", "navigation", "page_path", "run_page"]

_HERE = Path(__file__).parent
_DEFAULT = "advise"
_ROOT = "start"  # never shown: Streamlit only needs it to differ from the other pages' addresses
ICON = _HERE / "assets" / "icon.png"
LOGO = _HERE / "assets" / "logo.png"

PAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "plan": (
        ("advise", "tune"),
        ("plans", "view_list"),
        ("decision", "account_tree"),
        ("training", "model_training"),
        ("report", "description"),
    ),
    "load": (("capacity", "speed"), ("fleet", "dns"), ("economics", "payments")),
    "machine": (("machine", "computer"), ("accuracy", "target")),
    "lookup": (("matrix", "grid_on"), ("catalogue", "menu_book")),
}


def page_path(name: str) -> Path:
    return _HERE / "pages" / f"{name}.py"


def navigation() -> Page:
    """The page that the address names; titles are in the language of the session, addresses are not."""
    groups = {t(f"nav.group.{group}"): [_page(*entry) for entry in entries] for group, entries in PAGES.items()}
    groups[t("nav.group.plan")].append(_typed_address())
    return st.navigation(groups)


def run_page(page: Page) -> None:
    """Run it; an expected failure becomes one clear message on the page."""
    try:
        page.run()
    except FathomError as problem:
        problem_state(problem)


def _page(name: str, icon: str) -> Page:
    return st.Page(
        page_path(name),
        title=t(f"nav.{name}"),
        icon=f":material/{icon}:",
        url_path=_ROOT if name == _DEFAULT else name,
        help=t(f"nav.help.{name}"),
        default=name == _DEFAULT,
    )


def _typed_address() -> Page:
    """The first page answers at the root of the address only; who types its name too must not read "not found"."""
    return st.Page(page_path(_DEFAULT), title=t(f"nav.{_DEFAULT}"), url_path=_DEFAULT, visibility="hidden")
