"""Calls into the product, cached per process. Pages ask here and nowhere else.

Recommendations are kept by scenario token: frozen objects, shared by all sessions, never copied.
"""

from __future__ import annotations

import streamlit as st

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import FathomError

__all__ = ["catalog", "catalog_date"]


@st.cache_resource(show_spinner=False)
def catalog() -> Catalog:
    """Built-in data and the overlay that FATHOM_DATA names. Raises DataError for a broken overlay."""
    return load_catalog()


def catalog_date() -> str:
    """The day the facts were gathered; a dash while the catalogue cannot be read."""
    try:
        as_of = catalog().as_of
    except FathomError:
        return "–"
    return as_of.isoformat() if as_of else "–"
