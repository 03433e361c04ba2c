"""Weights are scored by how they are known, and every row beyond the target has its reason in both languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.paths import DATA_DIR
from advisor.cli import main
from advisor.evidence.memory_truth import MemoryPrediction, predict_memory_rows
from advisor.evidence.weight_scores import TARGET_MEDIAN, TARGET_P95, missed_rows, weight_scores

TRUTH = DATA_DIR / "truth" / "memory.csv"


@pytest.fixture(scope="module")
def rows() -> list[MemoryPrediction]:
    return predict_memory_rows(TRUTH, load_catalog())


def made(name: str, basis: str, predicted: float, what: str = "weights_bytes") -> MemoryPrediction:
    return MemoryPrediction(name, what, 100.0, predicted, 99.0, 101.0, basis)


def test_errors_are_split_by_basis() -> None:
    found = weight_scores([made("a", "exact", 101), made("b", "exact", 103), made("c", "estimated", 150)])
    assert [(s.basis, s.rows) for s in found] == [("exact", 2), ("other", 1)]
    assert found[0].median_error == pytest.approx(0.02)
    assert found[1].largest_error == pytest.approx(0.5)


def test_rows_of_other_quantities_and_unpredicted_ones_do_not_count() -> None:
    unknown = MemoryPrediction("u", "weights_bytes", 100.0, None, None, None, "", "no recipe")
    assert weight_scores([unknown, made("k", "exact", 150, "kv_cache_bytes")]) == ()
    assert missed_rows([unknown, made("k", "exact", 150, "kv_cache_bytes")]) == ()


def test_missed_rows_come_worst_first_and_may_lack_a_reason() -> None:
    found = missed_rows([made("a", "exact", 97), made("b", "estimated", 140), made("c", "exact", 101.9)])
    assert [(row.id, row.basis) for row in found] == [("b", "other"), ("a", "exact")]
    assert found[1].error == pytest.approx(-0.03)
    assert found[0].as_json()["reason"] is None


def test_public_rows_with_exact_sources_meet_the_target(rows: list[MemoryPrediction]) -> None:
    exact, other = weight_scores(rows)
    assert (exact.basis, other.basis) == ("exact", "other")
    assert exact.rows + other.rows == 106
    assert exact.median_error < TARGET_MEDIAN
    assert exact.p95_error < TARGET_P95


def test_every_missed_row_has_its_reason(rows: list[MemoryPrediction]) -> None:
    missed = missed_rows(rows)
    assert missed
    assert all(set(row.reasons) == {"en", "zh"} for row in missed)


def test_downloads_of_apps_are_inside_their_own_interval(rows: list[MemoryPrediction]) -> None:
    apps = [r for r in rows if r.id.startswith("m-mnn")]
    assert len(apps) == 7
    assert all((r.low or 0) <= r.measured_bytes <= (r.high or 0) for r in apps)


def test_validate_reports_both(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = TRUTH.read_text(encoding="utf-8").splitlines()
    kept = [lines[0], *(line for line in lines if line.startswith(("m-ik-0057", "m-mnn-0007", "m-xd-0001")))]
    path = tmp_path / "memory.csv"
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert main(["validate", "--memory", str(path)]) == 0
    text = capsys.readouterr().out
    assert "weights and files, exact: 2 rows" in text
    assert "weights and files, other: 1 rows" in text
    assert "beyond 2%: m-mnn-0007 (other)" in text
    assert main(["validate", "--memory", str(path), "--json"]) == 0
    memory = json.loads(capsys.readouterr().out)["summary"]["memory"]
    assert [s["rows"] for s in memory["weights_by_basis"]] == [2, 1]
    assert [row["id"] for row in memory["weights_missed"]] == ["m-mnn-0007", "m-ik-0057"]
