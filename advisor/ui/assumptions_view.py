"""The economic assumptions of this session: edited in a table, uploaded or downloaded as one YAML file."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
import yaml

from advisor.catalog.errors import DataError, FathomError
from advisor.catalog.quantity import Quantity
from advisor.serving.assumptions import Assumptions, load_assumptions
from advisor.ui.load_text import word
from advisor.ui.widgets import problem_state

__all__ = ["assumptions_from_text", "assumptions_text", "edit_assumptions"]

_TEXT = "economics.yaml"
_PROBLEM = "economics.problem"
_FILE = "economics.yaml"
_NUMBERS = ("value", "low", "high")


def assumptions_from_text(text: str, name: str = _FILE) -> Assumptions:
    """Entries of a YAML file over the built-in ones. Raises DataError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _FILE
        path.write_text(text, encoding="utf-8")
        try:
            return load_assumptions(path.parent)
        except DataError as problem:
            raise DataError(name, problem.record, problem.field, problem.expected, problem.got) from problem


def assumptions_text(assumptions: Assumptions) -> str:
    """The same as YAML, in the layout of data/economics.yaml."""
    entries = {item.name: _entry(getattr(assumptions, item.name)) for item in fields(Assumptions)}
    return str(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True))


def _entry(quantity: Quantity) -> dict[str, Any]:
    source, _, date = quantity.source.rpartition(" (")
    return {
        "value": quantity.value,
        "low": quantity.low,
        "high": quantity.high,
        "date": date.rstrip(")"),
        "source": source,
    }


def edit_assumptions() -> Assumptions:
    """The table with upload and download. A broken edit or file is explained, and the last good values stay."""
    base = _base()
    st.caption(word("assumptions.lead"))
    problem = st.session_state.pop(_PROBLEM, None)
    if problem is not None:
        problem_state(problem)
    edited = _table(base)
    found = base
    try:
        found = assumptions_from_text(_merged(base, edited), word("assumptions.table"))
    except FathomError as broken:
        problem_state(broken)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.download_button(
            word("assumptions.download"),
            assumptions_text(found),
            _FILE,
            "application/yaml",
            key="economics.download",
            icon=":material/download:",
            on_click="ignore",
        )
        st.button(word("assumptions.reset"), key="economics.reset", icon=":material/undo:", on_click=_reset)
    st.file_uploader(
        word("assumptions.upload"), ["yaml", "yml"], key="economics.upload", max_upload_size=1, on_change=_take_upload
    )
    return found


def _base() -> Assumptions:
    text = st.session_state.get(_TEXT)
    return load_assumptions() if text is None else assumptions_from_text(str(text))


def _table(base: Assumptions) -> pd.DataFrame:
    names = [item.name for item in fields(Assumptions)]
    rows = [getattr(base, name) for name in names]
    frame = pd.DataFrame(
        {
            "name": [word(f"assumption.{name}") for name in names],
            **{column: [float(getattr(row, column)) for row in rows] for column in _NUMBERS},
            "source": [row.source for row in rows],
        },
        index=names,
    )
    column = st.column_config
    digest = hashlib.sha256(assumptions_text(base).encode()).hexdigest()[:12]
    edited: pd.DataFrame = st.data_editor(
        frame,
        key=f"economics.table.{digest}",
        hide_index=True,
        disabled=["name", "source"],
        column_config={
            "name": column.TextColumn(word("assumptions.name"), pinned=True, width="large"),
            **{
                name: column.NumberColumn(word(f"assumptions.{name}"), format="%g", required=True, width="small")
                for name in _NUMBERS
            },
            "source": column.TextColumn(word("assumptions.source"), width="large"),
        },
        alt=word("assumptions.alt"),
    )
    return edited


def _merged(base: Assumptions, edited: pd.DataFrame) -> str:
    """An edited row is the user's own: its source says so."""
    content: dict[str, Mapping[str, Any]] = {}
    for item in fields(Assumptions):
        entry = _entry(getattr(base, item.name))
        numbers = {name: float(edited[name].to_dict()[item.name]) for name in _NUMBERS}
        if any(numbers[name] != entry[name] for name in _NUMBERS):
            entry |= {**numbers, "source": word("assumptions.own"), "date": ""}
        content[item.name] = entry
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _take_upload() -> None:
    """Callback: a broken file leaves the assumptions as they were."""
    upload = st.session_state.get("economics.upload")
    if upload is None:
        return
    try:
        text = upload.getvalue().decode("utf-8-sig")
        found = assumptions_from_text(text, upload.name)
    except UnicodeDecodeError:
        st.session_state[_PROBLEM] = DataError(upload.name, "", "", "text in UTF-8")
    except FathomError as problem:
        st.session_state[_PROBLEM] = problem
    else:
        st.session_state[_TEXT] = assumptions_text(found)


def _reset() -> None:
    st.session_state.pop(_TEXT, None)
