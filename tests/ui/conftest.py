"""The app in this process, with a store of measurements of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]
OpenPage = Callable[..., AppTest]


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's measurements."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FATHOM_STORE", str(tmp_path_factory.mktemp("store") / "probes.sqlite"))
    patch.delenv("FATHOM_DATA", raising=False)
    st.cache_resource.clear()
    yield
    patch.undo()
    st.cache_resource.clear()


@pytest.fixture
def open_page() -> OpenPage:
    def opened(page: str = "advise", language: str = "en", theme: str = "light", **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        app.context = {"locale": {"en": "en-US", "zh": "zh-CN"}[language], "theme": theme}
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        if page != "advise":
            app.switch_page(f"advisor/ui/pages/{page}.py").run()
        return app

    return opened
