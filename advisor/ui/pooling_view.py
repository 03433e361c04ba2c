"""Measurements out of the store and into it, so that a team can pool them."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.errors import FathomError
from advisor.ui.text import t
from advisor.ui.widgets import problem_state
from probes.store import Store

__all__ = ["export_button", "import_upload"]

_MOST_MEGABYTES = 50


def export_button(store: Store) -> None:
    """Everything, with fingerprints and versions."""
    st.download_button(
        t("history.export"),
        store.export_json,
        "fathom-measurements.json",
        "application/json",
        key="history.export",
        icon=":material/download:",
        on_click="ignore",
    )


def import_upload(store: Store) -> None:
    """Known results are recognised by their id; one absurd figure refuses the whole file, by name."""
    text = t("history.import_help")
    upload = st.file_uploader(
        t("history.import"), "json", key="history.import", max_upload_size=_MOST_MEGABYTES, help=text
    )
    if upload is None:
        return
    try:
        found = store.import_json(upload.getvalue().decode("utf-8", errors="replace"))
    except FathomError as problem:
        problem_state(problem)
        return
    st.success(t("history.imported", count=found.added, known=found.known), icon=":material/check:")
