"""`advisor report`: from a scenario or a recommendation's JSON to a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from advisor.cli import main


def _report(plan: str, out: Path, *more: str) -> int:
    return main(["report", "--plan", plan, "--format", out.suffix[1:], "--out", str(out), *more])


def test_a_recommendation_in_json_gives_the_same_report_as_its_scenario(tmp_path: Path) -> None:
    assert _report("private-assistant", tmp_path / "first.json") == 0
    assert _report("private-assistant", tmp_path / "a.html", "--language", "zh") == 0
    assert _report(str(tmp_path / "first.json"), tmp_path / "b.html", "--language", "zh") == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_nothing_fits_is_written_and_has_its_own_exit_code(tmp_path: Path) -> None:
    need = {"id": "tiny", "name": "Tiny", "users": 1, "power_limit_w": 0.1}
    (tmp_path / "tiny.json").write_text(json.dumps(need), encoding="utf-8")
    assert _report(str(tmp_path / "tiny.json"), tmp_path / "tiny.md") == 3
    assert "Nothing fits" in (tmp_path / "tiny.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "valid JSON"),
        ('{"scenario": {"id": "x"}}', "name"),
        ('{"scenario": {"id": "x", "name": "x", "users": -1}}', "users"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    (tmp_path / "bad.json").write_text(content, encoding="utf-8")
    assert _report(str(tmp_path / "bad.json"), tmp_path / "out.html") == 2
    message = capsys.readouterr().err.strip()
    assert said in message
    assert "\n" not in message
    assert not (tmp_path / "out.html").exists()


def test_a_folder_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _report("private-assistant", tmp_path / "no" / "out.md") == 2
    assert "--out" in capsys.readouterr().err
