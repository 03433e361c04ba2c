"""Capacity, mixed fleets and economics: each page in each language, searches to their end, and hostile input."""

from __future__ import annotations

import ast
import fnmatch
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from advisor.catalog.errors import DataError
from advisor.catalog.text import texts, translate
from advisor.serving.assumptions import load_assumptions
from advisor.ui.assumptions_view import assumptions_from_text, assumptions_text

OpenPage = Callable[..., AppTest]
ROOT = Path(__file__).resolve().parents[2]
SCENARIO = "financial-sentiment"
RATE = f"load.{SCENARIO}.rate"


def _texts(app: AppTest) -> str:
    kinds = ("title", "markdown", "caption", "metric", "error", "warning")
    parts = [str(getattr(element, "value", "")) for kind in kinds for element in getattr(app, kind)]
    return "\n".join([*parts, *(metric.label for metric in app.metric)])


def _until_answered(app: AppTest, within_s: float = 120.0) -> None:
    pause, end = threading.Event(), time.monotonic() + within_s
    while not app.metric and not app.error and time.monotonic() < end:
        pause.wait(0.1)
        app.run()
    assert not app.exception


def _word(language: str, key: str) -> str:
    return translate(language, f"load.{key}")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_capacity_search_runs_to_its_end(open_page: OpenPage, language: str) -> None:
    app = open_page("capacity", language, scenario=SCENARIO)
    app.number_input(key="load.cv").set_value({"en": 1.1, "zh": 1.2}[language]).run()  # not answered before
    assert _word(language, "capacity.ready") in _texts(app)
    app.button(key="capacity.go").click().run()
    _until_answered(app)
    labels = {metric.label for metric in app.metric}
    assert {_word(language, f"capacity.{name}") for name in ("replicas", "safe", "devices", "load")} <= labels
    assert int(app.metric[0].value.replace(",", "")) <= int(app.metric[1].value.replace(",", ""))
    assert app.get("plotly_chart")
    assert app.button(key="capacity.go").disabled


def test_scheduler_rules_are_checked_and_reach_the_search(open_page: OpenPage) -> None:
    app = open_page("capacity", scenario=SCENARIO)
    app.number_input(key="load.engine.drafts").set_value(1.0).run()
    app.number_input(key="load.engine.gained").set_value(2.5).run()
    assert _word("en", "engine.gained") in _texts(app)
    assert "1..2" in _texts(app)
    app.number_input(key="load.engine.gained").set_value(1.9).run()
    app.button(key="capacity.go").click().run()
    _until_answered(app)
    assert app.metric


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_cheapest_plan_is_found_by_simulation(open_page: OpenPage, language: str) -> None:
    app = open_page("capacity", language, scenario=SCENARIO)
    app.button_group(key="capacity.question").set_value("cheapest").run()
    app.button_group(key="cheapest.count").set_value(4).run()
    if not app.button(key="cheapest.go").disabled:  # answered for another session
        app.button(key="cheapest.go").click().run()
    _until_answered(app)
    labels = {metric.label for metric in app.metric}
    assert {_word(language, f"cheapest.metric_{name}") for name in ("cost", "replicas", "latency", "slower")} == labels
    assert app.metric[0].value.startswith("$")
    assert app.get("plotly_chart")


def test_a_running_search_never_holds_up_the_page(open_page: OpenPage) -> None:
    app = open_page("capacity", scenario=SCENARIO)
    app.number_input(key="load.cv").set_value(1.37).run()
    app.button(key="capacity.go").click().run()
    runs = []
    while not app.metric and len(runs) < 30:
        started = time.thread_time()
        app.run()
        runs.append(time.thread_time() - started)
    assert min(runs) < 0.1
    _until_answered(app)


def test_a_cancelled_search_says_so_and_can_start_again(open_page: OpenPage) -> None:
    app = open_page("capacity", scenario=SCENARIO)
    app.number_input(key=RATE).set_value(90_000.0).run()
    app.button(key="capacity.go").click().run()
    app.button(key="capacity.cancel").click().run()
    assert _word("en", "job.cancelled_title") in _texts(app)
    assert not app.button(key="capacity.go").disabled


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("rate", [0.0, -3.0, 1e15])
def test_senseless_rates_get_one_clear_message(open_page: OpenPage, language: str, rate: float) -> None:
    app = open_page("capacity", language, scenario=SCENARIO)
    app.number_input(key=RATE).set_value(rate).run()
    assert not app.exception
    assert len(app.error) == 1
    assert _word(language, "traffic.rate") in app.error[0].value


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_ramp_has_a_start_and_an_end(open_page: OpenPage, language: str) -> None:
    app = open_page("capacity", language, scenario=SCENARIO)
    app.button_group(key="load.pattern").set_value("ramp").run()
    app.number_input(key=f"{RATE}.start").set_value(10.0).run()
    app.number_input(key=f"{RATE}.end").set_value(30.0).run()
    assert not app.exception
    assert _word(language, "capacity.ready") in _texts(app)
    app.number_input(key=f"{RATE}.start").set_value(-1.0).run()
    assert [_word(language, "traffic.ramp_start") in error.value for error in app.error] == [True]


def test_senseless_burstiness_and_limits_get_a_clear_message(open_page: OpenPage) -> None:
    app = open_page("capacity", scenario=SCENARIO)
    app.number_input(key="load.cv").set_value(1e9).run()
    assert "cv" in app.error[0].value
    app.number_input(key="load.cv").set_value(1.0).run()
    app.number_input(key=f"load.{SCENARIO}.e2e_ms").set_value(0.0).run()
    assert len(app.error) == 1
    assert _word("en", "slo.e2e_ms") in app.error[0].value.replace("\\", "")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "columns"),
        (b"a,b\n1,2\n", "columns"),
        (b"arrival_s,input_tokens,output_tokens\n0,10,-5\n", "output_tokens"),
        (b"arrival_s,input_tokens,output_tokens\n0,10,nan\n", "finite"),
        (b"\xff\xfe\x00\x01", "UTF-8"),
        (b"arrival_s,input_tokens,output_tokens\n1,10,5\n", "two requests"),
    ],
)
def test_a_broken_trace_names_what_is_wrong(open_page: OpenPage, content: bytes, said: str) -> None:
    app = open_page("capacity", scenario=SCENARIO)
    app.button_group(key="load.traffic").set_value("trace").run()
    assert _word("en", "traffic.no_trace_title") in _texts(app)
    app.file_uploader(key="load.trace").upload("mine.csv", content, "text/csv").run()
    assert not app.exception
    assert len(app.error) == 1
    assert said in app.error[0].value.replace("\\", "")
    assert "mine" in app.error[0].value


def test_a_trace_becomes_the_traffic(open_page: OpenPage) -> None:
    rows = "".join(f"{i * 0.5},{100 + i},{20 + i % 7}\n" for i in range(200))
    app = open_page("capacity", scenario=SCENARIO)
    app.button_group(key="load.traffic").set_value("trace").run()
    content = f"arrival_s,input_tokens,output_tokens\n{rows}".encode()
    app.file_uploader(key="load.trace").upload("mine.csv", content, "text/csv").run()
    assert not app.exception
    assert not app.error
    assert "200 requests" in _texts(app)
    assert "2 req/s" in _texts(app)


def test_a_plan_built_here_that_does_not_fit_says_what_is_short(open_page: OpenPage) -> None:
    app = open_page("capacity", scenario=SCENARIO)
    app.selectbox(key="load.plan").set_value("build").run()
    app.selectbox(key="load.variant").set_value("deepseek-r1-distill-llama-70b").run()
    app.selectbox(key="load.device").set_value("rtx-4090").run()
    app.selectbox(key="load.engine").set_value("vllm").run()
    app.selectbox(key="load.format").set_value("bf16").run()
    assert not app.exception
    text = _texts(app)
    assert _word("en", "fit.title") in text
    assert "GiB" in text
    assert not [b for b in app.button if b.key == "capacity.go"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_mixed_fleet_shows_classes_pools_and_the_map(open_page: OpenPage, language: str) -> None:
    app = open_page("fleet", language, scenario=SCENARIO)
    assert _word(language, "map.title") in _texts(app)
    app.button(key="fleet.go").click().run()
    _until_answered(app)
    assert len(app.metric) == 4
    assert _word(language, "fleet.table_classes") in _texts(app)
    frames = [grid for grid in app.get("grid") if grid.table]
    assert len(frames) == len(app.table) == 2
    # wider than a phone, so that they scroll there and no column squeezes
    assert all(grid.min_column_width > 390 and not grid.wrap for grid in frames)


@pytest.mark.parametrize("mode", ["by_class", "cascade", "edge", "disaggregated"])
def test_each_way_to_share_the_work_can_be_simulated(open_page: OpenPage, mode: str) -> None:
    app = open_page("fleet", scenario=SCENARIO)
    app.button_group(key="fleet.mode").set_value(mode).run()
    app.button(key="fleet.go").click().run()
    _until_answered(app)
    assert len(app.metric) == 4
    assert not app.error


def test_a_link_without_bandwidth_is_refused(open_page: OpenPage) -> None:
    app = open_page("fleet", scenario=SCENARIO)
    app.button_group(key="fleet.mode").set_value("disaggregated").run()
    app.number_input(key="fleet.link_gb").set_value(0.0).run()
    assert not app.exception
    assert len(app.error) == 1
    assert _word("en", "fleet.link_gb") in app.error[0].value.replace("\\", "")


def test_a_fleet_without_replicas_or_with_too_many_is_refused(open_page: OpenPage) -> None:
    app = open_page("fleet", scenario=SCENARIO)
    field = next(item for item in app.number_input if item.key and item.key.startswith(f"fleet.{SCENARIO}.replicas.0"))
    for wrong in (0, 10**9):
        app.number_input(key=field.key).set_value(wrong).run()
        assert not app.exception
        assert len(app.error) == 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_money_has_ranges_and_an_api_can_be_compared(open_page: OpenPage, language: str) -> None:
    app = open_page("economics", language, scenario=SCENARIO)
    assert not app.exception
    assert len(app.metric) == 4
    assert app.metric[0].value.startswith("$")
    app.number_input(key="economics.api.input").set_value(0.5).run()
    app.number_input(key="economics.api.output").set_value(2.0).run()
    assert not app.exception
    assert "api" in " ".join(m.value for m in app.markdown)


def test_senseless_money_is_refused(open_page: OpenPage) -> None:
    app = open_page("economics", scenario=SCENARIO)
    app.number_input(key="economics.api.input").set_value(-1.0).run()
    assert len(app.error) == 1
    app.number_input(key="economics.api.input").set_value(None).run()
    app.number_input(key=f"economics.{SCENARIO}.tariff").set_value(1e9).run()
    assert not app.exception
    assert len(app.error) == 1


def test_own_assumptions_are_used_and_broken_ones_explained(open_page: OpenPage) -> None:
    app = open_page("economics", scenario=SCENARIO)
    before = app.metric[0].value
    own = b"server_share: {value: 5, low: 5, high: 5, source: quotation}\n"
    app.file_uploader(key="economics.upload").upload("mine.yaml", own, "application/yaml").run()
    assert not app.error
    assert app.metric[0].value != before
    broken = b"server_share: {value: 1, low: 2, high: 3, source: x}\n"
    app.file_uploader(key="economics.upload").set_value(("bad.yaml", broken, "application/yaml")).run()
    assert not app.exception
    assert "bad.yaml" in app.error[0].value.replace("\\", "")


def test_assumptions_survive_the_way_through_their_file() -> None:
    built_in = load_assumptions()
    assert assumptions_from_text(assumptions_text(built_in)) == built_in
    with pytest.raises(DataError, match="a mapping"):
        assumptions_from_text("- 1\n", "mine.yaml")


def _keys(language: str) -> set[str]:
    return {key for key in texts(language) if key.startswith("load.")}


def test_every_text_of_these_pages_exists_and_is_used() -> None:
    exact, patterns = set(), set()
    for path in (ROOT / "advisor/ui").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "word":
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.JoinedStr):
                        found = (str(v.value) if isinstance(v, ast.Constant) else "*" for v in part.values)
                        patterns.add("load." + "".join(found))
                    elif isinstance(part, ast.Constant) and "." in str(part.value):
                        exact.add(f"load.{part.value}")
    known = _keys("en")
    assert len(exact) > 80
    assert sorted(e for e in exact if e not in known and not any(p.startswith(e) for p in patterns)) == []
    assert sorted(p for p in patterns if not fnmatch.filter(known, p)) == []
    assert sorted(k for k in known if k not in exact and not any(fnmatch.fnmatch(k, p) for p in patterns)) == []


def test_the_assumptions_have_a_name_in_each_language() -> None:
    names = yaml.safe_load((ROOT / "data/economics.yaml").read_text(encoding="utf-8"))
    for language in ("en", "zh"):
        assert {f"load.assumption.{name}" for name in names} <= _keys(language)
