"""Catalogue and exact sizing, cached per process. Pages ask here and not the catalogue itself."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import FathomError, UnknownIdError
from advisor.catalog.records import Variant
from advisor.decision.scenario import Scenario
from advisor.decision.scenarios import load_scenarios
from advisor.decision.tree import Tree, load_tree
from advisor.evidence.in_force import Known, known, store_revision
from advisor.sizing.profile import ModelProfile, profile
from probes.store_place import default_path

__all__ = [
    "catalog",
    "catalog_date",
    "default_scenario",
    "find",
    "knowledge",
    "model_profile",
    "profile_of",
    "revision",
    "scenarios",
    "tree",
]

_DEFAULT_SCENARIO = "customer-service"


def catalog() -> Catalog:
    """Built-in data, the overlay that FATHOM_DATA names, own measurements. Raises DataError for a broken overlay."""
    return knowledge().catalog


def knowledge() -> Known:
    """The catalogue in force; measurements that arrive later are seen within seconds."""
    return _known(revision())


def revision() -> str:
    """Changes with the stored measurements; part of the key of every cached answer."""
    return _revision(str(default_path()))


@st.cache_data(ttl=3, show_spinner=False)
def _revision(place: str) -> str:
    return f"{place}|{store_revision()}"


@st.cache_resource(max_entries=2, show_spinner=False)
def _known(revision: str) -> Known:  # noqa: ARG001
    return known(load_catalog())


def catalog_date() -> str:
    """The day the facts were gathered; a dash while the catalogue cannot be read."""
    try:
        as_of = catalog().as_of
    except FathomError:
        return "–"
    return as_of.isoformat() if as_of else "–"


@st.cache_resource(show_spinner=False)
def scenarios() -> Mapping[str, Scenario]:
    """Built-in scenarios and those of the overlay, by id."""
    return load_scenarios(catalog())


def default_scenario() -> Scenario:
    """What a new session starts from, so that every page has something real to show."""
    known = scenarios()
    return known.get(_DEFAULT_SCENARIO) or next(iter(known.values()))


def find(scenario_id: str) -> Scenario:
    """A known scenario by id, never a file. Raises UnknownIdError."""
    known = scenarios()
    if scenario_id not in known:
        raise UnknownIdError("scenario", scenario_id, known)
    return known[scenario_id]


def tree() -> Tree:
    return load_tree(catalog())


def profile_of(variant: Variant, format_id: str) -> ModelProfile:
    return profile(variant.architecture, catalog().format(format_id))


@st.cache_resource(show_spinner=False)
def model_profile(variant_id: str) -> ModelProfile:
    """Of a catalogue model in the format its publisher stores it in."""
    variant = catalog().variant(variant_id)
    return profile_of(variant, variant.native_format)
