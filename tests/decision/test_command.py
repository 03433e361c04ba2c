"""`advisor recommend`: text, JSON, exit codes, careless arguments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from advisor.cli import main


def test_text_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--scenario", "private-assistant", "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert "Private assistant on one consumer GPU" in out
    assert "Best:" in out
    assert "plans looked at" in out


def test_chinese_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--scenario", "mobile-question-answering", "--lang", "zh"]) == 0
    out = capsys.readouterr().out
    assert "手机端问答" in out
    assert "最佳" in out


def test_json_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--scenario", "farm-advisory", "--json", "--top", "2"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["nothing_fits"] is False
    assert 1 <= len(content["candidates"]) <= 2
    assert content["candidates"][0]["plan"]["device"]


def test_the_picks_are_simulated_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--scenario", "private-assistant", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {item["plan"] for item in content["simulated"]} == set(content["picks"].values())
    assert main(["recommend", "--scenario", "private-assistant"]) == 0
    assert "by simulation" in capsys.readouterr().out
    assert main(["recommend", "--scenario", "private-assistant", "--no-simulation"]) == 0
    assert "by simulation" not in capsys.readouterr().out


def test_nothing_fits_is_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{id: mine, name: Mine, concurrency: 1, owned: {jetson-nano-4: 1}, quality_floor: 90}", "utf-8")
    assert main(["recommend", "--scenario", str(path)]) == 3
    out = capsys.readouterr().out
    assert "Nothing meets every limit." in out
    assert "Nearest misses" in out


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--list"]) == 0
    assert "customer-service" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{id: mine, name: Mine, requests_per_s: -4}", "field 'requests_per_s'"),
        (
            "{id: mine, name: Mine, users: 2, owned: {h100-sxn: 1}}",
            "field 'owned': expected a device of the catalogue such as h100-sxm",
        ),
        ("{id: mine, name: Mine, users: 2, input_tokens: 0}", "field 'input_tokens'"),
        ("id: [", "valid YAML"),
        ("- 1\n- 2\n", "a mapping of scenario fields"),
    ],
)
def test_bad_files_get_one_line_and_code_2(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["recommend", "--scenario", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert expected in captured.err
    assert captured.err.count("\n") == 1


def test_unknown_scenario_is_refused_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--scenario", "custmer-service"]) == 2
    assert "customer-service" in capsys.readouterr().err
