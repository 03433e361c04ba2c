"""Reads the catalogue: built-in data, then the user's overlay, once per process and overlay."""

from __future__ import annotations

from pathlib import Path

from advisor.catalog.catalog import Catalog

__all__ = ["load_catalog"]


def load_catalog(overlay: Path | None = None) -> Catalog:
    """The catalogue, cached per overlay folder. Default overlay: the folder named by FATHOM_DATA, if set.

    Raises DataError for a broken file: file, record, field and expected value.
    """
    raise NotImplementedError(overlay)  # being written: see the next commit
