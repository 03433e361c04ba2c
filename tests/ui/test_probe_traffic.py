"""The traffic that the form describes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from advisor.catalog.text import translate


def _chosen() -> None:
    import streamlit as st

    from advisor.ui.probe_traffic import choose_traffic

    chosen = choose_traffic()
    load = chosen.load
    figures = (chosen.prompt_tokens, chosen.output_tokens, load.requests_per_s, load.duration_s, load.slots)
    st.text(" ".join(map(str, (*figures, load.ttft_limit_ms, load.tpot_limit_ms, load.patience_s))))


def test_each_field_reaches_the_probe() -> None:
    app = AppTest.from_function(_chosen).run(timeout=30)
    assert app.text[0].value == "128 32 10.0 60.0 8 2000.0 200.0 420.0"
    wanted = {"load_prompt": 2048, "load_output": 512, "rate": 0.05, "duration": 300.0, "slots": 4}
    for name, value in {**wanted, "ttft_limit": 9000.0, "tpot_limit": 300.0}.items():
        app.number_input(key=f"probe.{name}").set_value(value)
    app.run()
    assert not app.exception
    assert app.text[0].value == "2048 512 0.05 300.0 4 9000.0 300.0 900.0"


@pytest.mark.parametrize(("language", "label"), [("en", "Prompt (tokens)"), ("zh", "提示词（词元）")])
def test_longer_requests_need_more_memory(open_page: Callable[..., AppTest], language: str, label: str) -> None:
    app = open_page("machine", language)
    app.segmented_control(key="probe.kind").set_value(translate(language, "probes.kind.sustained")).run()
    short = _peak_gib(app)
    field = app.number_input(key="probe.load_prompt")
    assert field.label == label
    field.set_value(65_536).run()
    assert not app.exception
    assert _peak_gib(app) > 1.5 * short  # 28 KB a token: 14 GiB more for eight such requests


def _peak_gib(app: AppTest) -> float:
    """The first figure that is foreseen: what decides whether to start."""
    value, unit = str(app.metric[0].value).split()
    assert unit == "GiB"
    return float(value)
