"""Rendered reports equal the kept ones, stand alone, and say the same in both languages.

After a wanted change: `python tests/report/regenerate.py`, look at the files, commit them.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import UnsupportedError
from advisor.decision.recommend import recommend
from advisor.decision.scenario_form import scenario_from_mapping
from advisor.decision.scenarios import load_scenarios
from advisor.report import render as render_module
from advisor.report.plan_figures import known_axes, pareto, usual_axis
from advisor.report.render import Kind, render
from tests.report.report_example import example_answer, nothing_answer

GOLDEN = Path(__file__).parent / "golden"
CASES = [(kind, language) for kind in (Kind.HTML, Kind.MD) for language in ("en", "zh")]


@pytest.mark.parametrize(("kind", "language"), CASES)
def test_report_equals_the_kept_one(kind: Kind, language: str) -> None:
    kept = (GOLDEN / f"report-{language}.{kind}").read_text(encoding="utf-8")
    assert render(example_answer(), kind, language).decode() == kept


def test_html_stands_alone_and_escapes_texts_of_users() -> None:
    html = render(example_answer(), Kind.HTML, "en").decode()
    assert re.findall(r"""(?:src|href)=["'](?!#)""", html) == []
    assert "<script" not in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "Example &lt;b&gt;need&lt;/b&gt;" in html
    assert "<b>need" not in html


def test_html_shows_value_interval_and_basis_of_each_number() -> None:
    html = render(example_answer(), Kind.HTML, "en").decode()
    assert "7.2–11 s" in html
    assert "9 s" in html
    assert "extrapolated" in html
    assert "Memory of the fullest" not in html  # hints of the page are not captions of the report


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_fits_is_an_answer(language: str) -> None:
    html = render(nothing_answer(), Kind.HTML, language).decode()
    assert {"en": "Nothing fits", "zh": "没有方案可行"}[language] in html
    assert {"en": "Nearest misses", "zh": "最接近的方案"}[language] in html


def test_json_restores_the_scenario_and_has_an_interval_for_each_number() -> None:
    answer = example_answer()
    content = json.loads(render(answer, Kind.JSON, "en"))
    assert scenario_from_mapping(content["scenario"]) == answer.scenario
    assert content["candidates"][0]["e2e_ms"] == {"value": 9000.0, "low": 7200.0, "high": 11250.0, "basis": "estimated"}
    assert content["candidates"][0]["plan"]["variant"] == "deepseek-r1-distill-qwen-7b"
    assert content["rejected"][0]["constraint"] == "monthly"


def test_csv_has_a_row_per_plan_with_intervals() -> None:
    rows = list(csv.DictReader(io.StringIO(render(example_answer(), Kind.CSV, "zh").decode("utf-8-sig"))))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert rows[1]["monthly_usd"] == "1460.0"
    assert rows[1]["monthly_usd_low"] == "1168.0"
    assert rows[0]["power_w_basis"] == "extrapolated"


def test_csv_of_no_plans_still_has_a_header() -> None:
    assert render(nothing_answer(), Kind.CSV, "en").decode("utf-8-sig").strip() == "rank,plan_id"


def test_no_cell_can_become_a_formula() -> None:
    assert render_module._cell("=1+1") == "'=1+1"
    assert render_module._cell(-1.5) == -1.5


@pytest.mark.parametrize("language", ["en", "zh"])
def test_workbook_has_four_sheets_and_numbers_as_numbers(language: str) -> None:
    book = zipfile.ZipFile(io.BytesIO(render(example_answer(), Kind.XLSX, language)))
    names = re.findall(r'sheet name="([^"]+)"', book.read("xl/workbook.xml").decode())
    assert (
        names == {"en": ["Inputs", "Plans", "Ruled out", "Reading"], "zh": ["输入", "方案", "被排除", "解读"]}[language]
    )
    assert "<v>1460</v>" in book.read("xl/worksheets/sheet2.xml").decode()


def test_pdf_where_weasyprint_is_installed() -> None:
    pytest.importorskip("weasyprint", reason="the optional package WeasyPrint or its libraries are missing")
    assert render(example_answer(), Kind.PDF, "zh")[:5] == b"%PDF-"


def test_pdf_without_weasyprint_is_a_clear_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "weasyprint", None)
    with pytest.raises(UnsupportedError, match="WeasyPrint"):
        render(example_answer(), Kind.PDF, "en")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_times_of_a_second_and_more_are_drawn_in_seconds(language: str) -> None:
    """Points, front, limits and the label change together."""
    answer = example_answer()
    whole, first = (pareto(answer, language, x="monthly_usd", y=axis) for axis in ("e2e_ms", "ttft_ms"))
    slowest = max(candidate.e2e_ms.value for candidate in answer.candidates)
    assert slowest >= 1e3 > max(candidate.ttft_ms.value for candidate in answer.candidates)
    assert max(point.y for point in whole.points) == pytest.approx(slowest / 1e3)
    assert max(y for _, y in whole.front) <= slowest / 1e3
    assert whole.y_label == {"en": "Whole answer (s)", "zh": "完整回答（秒）"}[language]
    assert first.y_label == {"en": "First token (ms)", "zh": "首词元（毫秒）"}[language]


def test_a_phone_without_a_price_is_drawn_by_quality() -> None:
    catalog = load_catalog()
    answer = recommend(load_scenarios(catalog)["mobile-question-answering"], catalog)
    assert usual_axis(answer) == "quality"
    assert not {"monthly_usd", "capital_usd"} & set(known_axes(answer))
    drawn = pareto(answer, "en", x=usual_axis(answer))
    assert len(drawn.points) == len(answer.candidates)
    assert drawn.front
