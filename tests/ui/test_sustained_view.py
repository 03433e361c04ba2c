"""A stored sustained run beside its simulation, as the history shows it, in each language."""

from __future__ import annotations

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from advisor.catalog.text import texts, translate
from advisor.jobs.background import Job, JobState
from advisor.jobs.sustained_work import sustained_report
from advisor.ui import sustained_view
from tests.jobs.test_sustained_work import TARGET, kept, served


def _page() -> None:
    from advisor.ui.sustained_view import sustained
    from probes.store import Store

    sustained(Store().get("run1"))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("rate", "charts", "is_overloaded"), [(1.0, 2, False), (40.0, 2, True), (0.05, 1, False)])
def test_figures_and_charts(tmp_path, monkeypatch, language, rate, charts, is_overloaded) -> None:
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    target = replace(TARGET, requests_per_s=rate, duration_s=120.0 if rate > 0.1 else 200.0)
    kept(served(target), target)
    report = sustained_report("run1", lambda *_: None)
    done = Job(sustained_view.request_of("run1"), JobState.DONE, answer=report)
    monkeypatch.setattr(sustained_view, "watched", lambda *_, **__: done)
    app = AppTest.from_function(_page, default_timeout=60)
    app.session_state["language"] = language
    app.run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == charts
    table = app.table[0].value
    assert list(table.iloc[:, 0])[1] == translate(language, "load.sustained.name_p95_ttft_ms")
    assert len(table) == len(report.figures)
    shown = "\n".join(element.value for element in (*app.markdown, *app.caption))
    inside = sum(figure.is_inside for figure in report.figures)
    assert translate(language, "load.sustained.verdict", inside=inside, of=len(report.figures)) in shown
    opening = texts(language)["load.sustained.unfinished"].partition("{requests}")[0]
    assert (opening in shown) is is_overloaded
    assert translate(language, f"load.sustained.by_{report.basis}") in shown
