"""Every page in each language: no failure, its own title, its key content."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from advisor.catalog.text import translate
from advisor.jobs.messages import ChecksRequest
from advisor.ui import answers, backend
from advisor.ui.load_jobs import jobs
from advisor.ui.nav import PAGES

NAMES = [name for entries in PAGES.values() for name, _ in entries]
OpenPage = Callable[..., AppTest]


def _texts(app: AppTest) -> str:
    kinds = ("title", "header", "markdown", "caption", "metric", "error", "warning", "success")
    parts = [str(getattr(element, "value", "")) for kind in kinds for element in getattr(app, kind)]
    return "\n".join([*parts, *(metric.label for metric in app.metric)])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_page_works_in_each_language_and_mode(open_page: OpenPage, name: str, language: str, theme: str) -> None:
    app = open_page(name, language, theme)
    assert not app.exception
    assert not app.error
    assert app.title[0].value == translate(language, f"ui.{name}.title")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_plans_shows_picks_reasons_memory_and_basis(open_page: OpenPage, language: str) -> None:
    app = open_page("plans", language, scenario="private-assistant")
    labels = {metric.label for metric in app.metric}
    assert {translate(language, f"ui.pick.{name}") for name in ("best", "cheapest", "fastest", "smallest")} <= labels
    text = _texts(app)
    assert translate(language, "report.memory.title") in text
    assert translate(language, "ui.detail.why") in text
    assert len(app.dataframe[0].value) <= 500
    assert app.get("plotly_chart")


def test_a_pick_is_shown_in_detail(open_page: OpenPage) -> None:
    app = open_page("plans", scenario="private-assistant")
    before = [m.value for m in app.markdown if m.value.startswith("### ")]
    app.button(key="plans.pick.smallest").click().run()
    after = [m.value for m in app.markdown if m.value.startswith("### ")]
    assert not app.exception
    assert len(before) == len(after) == 1
    assert before != after


def test_filters_that_hide_everything_show_a_designed_message(open_page: OpenPage) -> None:
    app = open_page("plans", scenario="private-assistant")
    names = set(app.dataframe[0].value["variant"])
    app.multiselect(key="plans.models").set_value([sorted(names)[0]]).run()
    assert not app.exception
    assert set(app.dataframe[0].value["variant"]) == {sorted(names)[0]}


def test_nothing_fits_is_an_answer_with_near_misses(open_page: OpenPage) -> None:
    app = open_page("advise", scenario="private-assistant")
    app.number_input(key="req.power_limit_w").set_value(0.5).run()
    app.button(key="advise.go").click().run()
    app.switch_page("advisor/ui/pages/plans.py").run()
    text = _texts(app)
    assert not app.exception
    assert translate("en", "ui.plans.nothing_title") in text
    assert ":material/lightbulb:" in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_zero_tokens_get_one_clear_message_and_keep_the_form(open_page: OpenPage, language: str) -> None:
    app = open_page("advise", language)
    app.number_input(key="req.input_tokens").set_value(0).run()
    assert not app.exception
    assert len(app.error) == 1
    wanted = {"en": "greater than or equal to 1", "zh": "大于或等于 1"}[language]
    assert wanted in app.error[0].value
    assert app.button(key="advise.go").disabled
    assert app.number_input(key="req.output_tokens").value == 150


def test_too_little_context_names_the_sum(open_page: OpenPage) -> None:
    app = open_page("advise")
    app.number_input(key="req.context_tokens").set_value(500).run()
    assert "1050" in app.error[0].value.replace(",", "")


@pytest.mark.parametrize("link", ["x", "eNqrVkrOz0", "../../etc/passwd", "A" * 5000])
def test_a_damaged_link_is_said_once_and_nothing_is_lost(open_page: OpenPage, link: str) -> None:
    app = open_page("advise", s=link)
    assert not app.exception
    assert len(app.warning) == 1
    assert app.number_input(key="req.input_tokens").value == 900
    app.run()
    assert not app.warning


def test_an_unknown_scenario_in_a_link_names_near_ones(open_page: OpenPage) -> None:
    app = open_page("advise", scenario="private-asistant")
    assert "private-assistant" in app.warning[0].value


def test_an_uploaded_scenario_fills_the_form(open_page: OpenPage) -> None:
    app = open_page("advise")
    content = {"id": "mine", "name": "Mine", "users": 7, "input_tokens": 321, "context_tokens": 2048}
    app.file_uploader(key="advise.upload").upload("mine.json", json.dumps(content).encode()).run()
    assert not app.exception
    assert app.number_input(key="req.input_tokens").value == 321
    assert app.number_input(key="req.traffic_value").value == 7


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b"id: [",
        b"users: 3",
        b"[1, 2]",
        b"id: a\nname: b\nusers: -1",
        b"id: a\nname: b\nusers: 3\ndevices: [nvidia-foo]",
    ],
)
def test_a_broken_scenario_file_gets_one_message_and_keeps_the_form(open_page: OpenPage, content: bytes) -> None:
    app = open_page("advise")
    app.file_uploader(key="advise.upload").upload("broken.yaml", content).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "broken.yaml" in app.error[0].value.replace("\\", "")
    assert app.number_input(key="req.input_tokens").value == 900


def test_a_shared_link_opens_the_same_plans(open_page: OpenPage) -> None:
    app = open_page("advise")
    app.number_input(key="req.output_tokens").set_value(222).run()
    app.button(key="advise.go").click().run()
    token = app.session_state["scenario_token"]
    other = open_page("plans", s=token)
    assert "222" in _texts(other)


def test_the_language_switch_keeps_what_was_typed(open_page: OpenPage) -> None:
    app = open_page("advise")
    app.number_input(key="req.output_tokens").set_value(222).run()
    app.get("segmented_control")
    app.session_state["language"] = "zh"
    app.run()
    assert app.title[0].value == translate("zh", "ui.advise.title")
    assert app.number_input(key="req.output_tokens").value == 222


def test_changing_one_widget_on_the_plans_page_searches_nothing_again(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the search nor the curve of the chosen plan; benchmarks/plans_page.py has the time."""
    app = open_page("plans", scenario="customer-service")
    jobs().cancel(ChecksRequest(backend.find("customer-service"), revision=backend.revision()))
    calls: list[str] = []
    for name in ("recommend", "size"):
        monkeypatch.setattr(answers, name, lambda *_, called=name: calls.append(called))
    for turn in range(2):
        app.toggle(key="plans.front").set_value(turn % 2 == 0).run()
    assert not app.exception
    assert calls == []
