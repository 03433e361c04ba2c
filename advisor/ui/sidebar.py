"""Below the navigation: language, date of the catalogue, running probes. Nothing else."""

from __future__ import annotations

import streamlit as st

from advisor.catalog.text import LANGUAGES
from advisor.ui.backend import catalog_date
from advisor.ui.nav import ICON, LOGO
from advisor.ui.text import LANGUAGE_KEY, t

__all__ = ["sidebar"]

_NAMES = {"en": "English", "zh": "中文"}


def sidebar() -> None:
    st.logo(str(LOGO), size="large", icon_image=str(ICON))
    with st.sidebar:
        st.segmented_control(
            t("sidebar.language"),
            LANGUAGES,
            format_func=_NAMES.__getitem__,
            key=LANGUAGE_KEY,
            required=True,
            persist_state="session",
        )
        st.caption(t("sidebar.offline", date=catalog_date()))
