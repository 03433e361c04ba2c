"""The fit, its intervals and its scores, on a small part of the truth and on made-up figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from advisor.catalog import load_catalog
from advisor.cli import main
from advisor.evidence.calibrate import HELD_OUT_FILE
from advisor.evidence.cases import build_cases
from advisor.evidence.conformal import OutOfFold, fit_intervals
from advisor.evidence.crossvalidation import cross_validate, folds_of
from advisor.evidence.fit import FitResult, design_of, fit, start_at
from advisor.evidence.predict import predict_rows
from advisor.evidence.scores import RowScore, cells_of, summary_of, within_20
from advisor.evidence.terms import TERMS
from advisor.evidence.truth import THROUGHPUT_FILE, TruthRow, read_throughput
from advisor.evidence.validate import validate_throughput, widths_by_metric
from advisor.evidence.widths import NARROWEST, WIDEST, fitted_widths
from advisor.sizing.efficiency import PRIORS, EfficiencyTable, Term, efficiency_table
from advisor.sizing.factors import FACTORS, Factor, FactorColumns

CATALOG = load_catalog()
SMALL_TERMS: Sequence[Term] = tuple(t for t in TERMS if t.effect in ("bandwidth", "compute", "layer_s", "attention"))


@lru_cache(maxsize=1)
def apple_rows() -> tuple[TruthRow, ...]:
    return tuple(row for row in read_throughput(THROUGHPUT_FILE, CATALOG)[0] if row.device_class == "apple")


@lru_cache(maxsize=1)
def apple_fit() -> FitResult:
    rows = apple_rows()
    measured = np.log([row.value for row in rows])
    return fit(build_cases(rows), measured, SMALL_TERMS, np.ones(len(rows), dtype=bool))


def test_the_fit_beats_its_starting_point_and_repeats_exactly() -> None:
    rows, cases = apple_rows(), build_cases(apple_rows())
    measured = np.log([row.value for row in rows])
    start = np.median(np.abs(predict_rows(cases, EfficiencyTable(())) - measured))
    assert np.median(np.abs(apple_fit().residuals)) < 0.5 * start
    again = fit(cases, measured, SMALL_TERMS, np.ones(len(rows), dtype=bool))
    assert [t.coefficients for t in again.terms] == [t.coefficients for t in apple_fit().terms]


def test_the_table_gives_the_predictions_of_the_fit() -> None:
    rows = apple_rows()
    logs = predict_rows(build_cases(rows), apple_fit().table())
    np.testing.assert_allclose(logs - np.log([row.value for row in rows]), apple_fit().residuals, atol=1e-9)


def test_a_fit_that_lacks_an_effect_begins_at_the_coefficients_of_the_others() -> None:
    cases = build_cases(apple_rows())
    fewer = tuple(t for t in SMALL_TERMS if t.effect != "attention")
    design = design_of(cases, fewer)
    begun = start_at(design, apple_fit().terms) * design.widths
    kept = [value for t in apple_fit().terms if t.effect != "attention" for value in t.coefficients.values()]
    np.testing.assert_allclose(begun, kept)


def test_rows_that_are_held_out_do_not_move_the_fit() -> None:
    rows, cases = apple_rows(), build_cases(apple_rows())
    measured = np.log([row.value for row in rows])
    seen = np.arange(len(rows)) % 3 > 0
    honest = fit(cases, measured, SMALL_TERMS, seen)
    spoiled = np.where(seen, measured, measured + 5.0)
    assert [t.coefficients for t in fit(cases, spoiled, SMALL_TERMS, seen).terms] == [
        t.coefficients for t in honest.terms
    ]


def test_widths_grow_where_levels_differ_and_shrink_where_they_agree() -> None:
    rows, cases = apple_rows(), build_cases(apple_rows())
    agreeing = Term("bandwidth", ("model",), None, 1.0)
    terms = (*(t for t in SMALL_TERMS if t.factors != ("model",)), agreeing)
    measured = np.log([row.value for row in rows])
    everything = np.ones(len(rows), dtype=bool)
    found = {(t.effect, t.factors): t.width for t in fitted_widths(cases, measured, terms, everything) if t.factors}
    assert found["bandwidth", ("model",)] < 0.8
    apart = measured + 0.8 * np.array([row.device_key.endswith(("pro", "ultra")) for row in rows])
    wider = {(t.effect, t.factors): t.width for t in fitted_widths(cases, apart, terms, everything) if t.factors}
    assert wider["bandwidth", ("device",)] > found["bandwidth", ("device",)]


def test_cross_validation_keeps_groups_together() -> None:
    rows = apple_rows()
    held = cross_validate(rows, build_cases(rows), "group", SMALL_TERMS, folds=3)
    assert len(held.residuals) == len(rows)
    assert np.median(np.abs(held.residuals)) < 0.3
    fold = folds_of(rows, "group", 3)
    assert all(
        len({f for f, row in zip(fold, rows, strict=True) if row.group == g}) == 1 for g in {r.group for r in rows}
    )


def columns(places: Sequence[str]) -> FactorColumns:
    factors = {name: Factor.of([""] * len(places)) for name in FACTORS} | {"place": Factor.of(places)}
    return FactorColumns(len(places), factors, {})


def test_intervals_cover_ninety_percent_of_new_rows() -> None:
    rng = np.random.default_rng(3)
    places = ["apple", "cpu"] * 1000
    scale = np.where(np.array(places) == "cpu", 0.5, 0.1)

    def rows() -> OutOfFold:
        each = np.arange(2000).astype(str)
        new = np.arange(2000) % 4 == 0
        return OutOfFold(
            columns(places), ["decode_tok_s"] * 2000, scale * rng.standard_normal(2000), new, each, each
        )

    intervals, fresh = fit_intervals([rows()]), rows()
    widths = widths_by_metric(intervals, fresh.columns, fresh.metrics, fresh.new)
    inside = np.abs(fresh.residuals) <= widths
    for place in ("apple", "cpu"):
        assert 0.88 <= inside[np.array(places) == place].mean() <= 0.95
    assert widths[1] > 3 * widths[0]


def test_scores_by_hand() -> None:
    errors = (0.0, 0.2, -1.2, None)
    rows = [RowScore("cpu", "dense", "ttft_ms", e, e == 0.0, single_stream=False) for e in errors]
    cell = cells_of(rows)[0]
    assert (cell.rows, cell.median_abs_log2, cell.bias_log2) == (3, 0.2, 0.0)
    summary = summary_of(rows)
    assert (summary.rows, summary.unpredicted, summary.within_2x) == (4, 1, pytest.approx(2 / 3))
    assert summary.coverage_90 == pytest.approx(1 / 3)
    assert within_20(np.log2(1.19))
    assert not within_20(np.log2(0.79))


def test_the_published_calibration_predicts_the_public_truth() -> None:
    found = validate_throughput(THROUGHPUT_FILE, CATALOG)
    assert found.summary.unpredicted == 0
    assert found.summary.mean_cell_median < 0.2
    assert found.summary.coverage_90 > 0.9
    assert all(row.low is not None and row.low < (row.predicted or 0) < (row.high or 0) for row in found.rows)


def test_every_row_has_a_held_out_prediction() -> None:
    rows = read_throughput(THROUGHPUT_FILE, CATALOG)[0]
    with HELD_OUT_FILE.open(encoding="utf-8", newline="") as file:
        held = list(csv.DictReader(file))
    assert [row["id"] for row in held] == [row.id for row in rows]
    for scheme in ("by_group", "by_device"):
        assert all(float(r[f"{scheme}_low"]) < float(r[scheme]) < float(r[f"{scheme}_high"]) for r in held)


def test_the_calibration_file_is_complete_and_says_how_good_it_is() -> None:
    table = efficiency_table()
    assert {t.effect for t in table.terms} <= set(PRIORS)
    assert [(t.effect, t.factors, t.covariate) for t in table.terms] == sorted(
        [(t.effect, t.factors, t.covariate) for t in TERMS], key=lambda item: list(PRIORS).index(item[0])
    )
    assert all(NARROWEST <= t.width <= WIDEST for t in table.terms)
    text = json.dumps(table.intervals)
    assert "quantiles" in text


def test_validate_command_prints_the_contract(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("".join(THROUGHPUT_FILE.read_text(encoding="utf-8").splitlines(keepends=True)[:6]), encoding="utf-8")
    assert main(["validate", "--throughput", str(few), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"cells", "summary", "rows"}
    keys = {"id", "metric", "measured", "predicted", "low", "high", "basis", "unpredicted_reason"}
    assert set(answer["rows"][0]) == keys
    assert len(answer["rows"]) == 5
    assert main(["validate", "--throughput", str(tmp_path / "none.csv")]) == 2
