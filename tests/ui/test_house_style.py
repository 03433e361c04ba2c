"""Rules of the pages that a reader of one file would not see broken."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "advisor" / "ui").rglob("*.py"))
NEED_ALT = {"plotly_chart", "echarts_chart", "dataframe", "table", "image", "data_editor", "iframe"}


def _calls() -> list[tuple[str, ast.Call, str]]:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                found.append((path.name, node, node.func.attr))
    return found


def test_every_chart_and_table_has_a_name_for_readers_who_do_not_see_it() -> None:
    calls = [(name, call) for name, call, attribute in _calls() if attribute in NEED_ALT]
    assert len(calls) >= 8
    assert [(name, call.lineno) for name, call in calls if "alt" not in {k.arg for k in call.keywords}] == []


def test_plotly_charts_use_the_house_style_not_streamlits() -> None:
    calls = [call for _, call, attribute in _calls() if attribute == "plotly_chart"]
    themes = [next((k.value for k in call.keywords if k.arg == "theme"), None) for call in calls]
    assert all(isinstance(theme, ast.Constant) and theme.value is None for theme in themes)
    assert themes


def test_no_page_writes_raw_html_or_styles() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    assert "unsafe_allow" not in text
    assert "st.html" not in text
    assert "<style" not in text


def test_headings_have_no_anchor_links_and_keep_their_order() -> None:
    """h1 then h2: a subheader under a title would skip a level."""
    attributes = [attribute for _, _, attribute in _calls()]
    assert "subheader" not in attributes
    for name, call, attribute in _calls():
        if attribute in ("title", "header"):
            assert "anchor" in {k.arg for k in call.keywords}, (name, call.lineno)


def test_pages_are_thin() -> None:
    for path in (ROOT / "advisor/ui/pages").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 150, path.name


def test_widgets_have_keys() -> None:
    """Without a key, changed data remounts a chart or table and forgets what the user did."""
    needing = {"plotly_chart", "echarts_chart", "dataframe", "button", "download_button", "selectbox", "pills", "tabs"}
    missing = [
        (name, call.lineno)
        for name, call, attribute in _calls()
        if attribute in needing and "key" not in {k.arg for k in call.keywords}
    ]
    assert missing == []
