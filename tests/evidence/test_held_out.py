"""Stored out-of-fold predictions: they give the scores that the calibration states, and the worst sources by name."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from advisor.catalog import load_catalog
from advisor.catalog.errors import DataError
from advisor.evidence.ablation_file import append_ablation, start_ablations, stored_ablations
from advisor.evidence.held_out import HELD_OUT_FILE, SCHEMES, HeldOut, held_out, worst_groups
from advisor.sizing.efficiency import CALIBRATION_FILE

CATALOG = load_catalog()


@pytest.fixture(scope="module", params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def found(scheme: str) -> HeldOut:
    return held_out(scheme, CATALOG)


def test_the_scores_are_those_of_the_calibration(scheme: str, found: HeldOut) -> None:
    stated = yaml.safe_load(CALIBRATION_FILE.read_text(encoding="utf-8"))["cross_validated"][scheme]
    scores = found.validation.summary.as_json()
    for name in ("mean_cell_median", "within_20_percent", "within_2x", "coverage_90"):
        assert scores[name] == pytest.approx(stated[name], abs=2e-3)
    assert scores["rows"] == stated["rows"] == len(found.truth)


def test_rows_and_what_was_run_are_in_one_order(found: HeldOut) -> None:
    assert [row.id for row in found.truth] == [row.id for row in found.validation.rows]


def test_the_worst_sources_come_first_and_have_three_rows(found: HeldOut) -> None:
    worst = worst_groups(found)
    errors = [group.median_abs_log2 for group in worst]
    assert errors == sorted(errors, reverse=True)
    assert all(group.rows >= 3 and group.source for group in worst)


def test_a_row_without_a_stored_prediction_is_named(tmp_path: Path) -> None:
    with HELD_OUT_FILE.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    path = tmp_path / "held_out.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([lines[0], *lines[2:]])
    with pytest.raises(DataError, match=lines[1][0]):
        held_out("by_group", CATALOG, stored_file=path)
    with pytest.raises(DataError, match="scheme"):
        held_out("by_moon", CATALOG)


def test_the_table_of_terms_keeps_what_was_computed(tmp_path: Path, found: HeldOut) -> None:
    path = tmp_path / "ablation.csv"
    assert stored_ablations(path) == ()
    start_ablations(path)
    append_ablation("", "group", found.validation.summary, path)
    append_ablation("engine", "group", found.validation.summary, path)
    full, without = stored_ablations(path)
    assert (full.left_out, without.left_out) == ("", "engine")
    assert full.mean_cell_median == pytest.approx(found.validation.summary.mean_cell_median, abs=1e-4)
    path.write_text("left_out,scheme\nx,group\n", encoding="utf-8")
    with pytest.raises(DataError, match="mean_cell_median"):
        stored_ablations(path)
