"""A broken folder of the user's own: one message per page that says where, and the pages without it still answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st

from tests.ui.conftest import OpenPage

BROKEN = "devices:\n- id: x\n  name: [unclosed\n"
SCENARIO = """
scenarios:
- id: mine
  name: Mine
  context_tokens: 2048
  input_tokens: 100
  output_tokens: 10
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An overlay in force, seen by pages that cached nothing before."""
    monkeypatch.setenv("FATHOM_DATA", str(tmp_path))
    st.cache_resource.clear()
    yield tmp_path
    st.cache_resource.clear()


def _write(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", ["advise", "plans", "machine", "matrix", "catalogue", "report"])
def test_broken_yaml_is_said_once(folder: Path, open_page: OpenPage, page: str) -> None:
    _write(folder, "devices/mine.yaml", BROKEN)
    app = open_page(page)
    assert not app.exception
    assert len(app.error) == 1
    assert "devices/mine.yaml" in app.error[0].value.replace("\\", "")


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("  requests_per_s: -3\n", "field 'requests_per_s': expected greater than 0, got -3"),
        ("  users: 3\n  devices: [rtx-4009]\n", "field 'devices': expected a device of the catalogue"),
    ],
)
def test_a_broken_scenario_names_file_record_and_field(
    folder: Path, open_page: OpenPage, extra: str, said: str
) -> None:
    _write(folder, "scenarios/mine.yaml", SCENARIO + extra)
    app = open_page("plans")
    assert not app.exception
    assert len(app.error) == 1
    message = app.error[0].value.replace("\\", "")
    assert "scenarios/mine.yaml, record 'mine'" in message
    assert said in message
    assert not open_page("catalogue").error


def test_a_link_is_not_blamed_for_broken_data(folder: Path, open_page: OpenPage) -> None:
    _write(folder, "scenarios/mine.yaml", SCENARIO + "  requests_per_s: -3\n")
    app = open_page("plans", scenario="mine")
    assert len(app.error) == 1
    assert not app.warning
