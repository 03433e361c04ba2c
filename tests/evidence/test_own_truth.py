"""This program's own measurements as rows of truth."""

from __future__ import annotations

import csv
import json

import pytest

from advisor.catalog import load_catalog
from advisor.evidence.own_truth import PROBES_FOLDER, own_rows
from advisor.evidence.truth import OWN_PROBES_FILE
from advisor.evidence.validate import validate_throughput
from probes.codec import decode
from probes.result import ProbeResult


def test_the_stored_rows_are_those_of_the_stored_measurements():
    with OWN_PROBES_FILE.open(encoding="utf-8", newline="") as file:
        stored = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
    assert stored == [{name: value for name, value in row.items() if value} for row in own_rows()]


def stored(name: str) -> list[ProbeResult]:
    listed = json.loads((PROBES_FOLDER / name).read_text(encoding="utf-8"))["results"]
    return [decode(ProbeResult, item) for item in listed]


CARDS = [("h100-sxm", "2026-11-26"), ("h200-sxm", "2026-11-27")]


@pytest.mark.parametrize(("card", "date"), CARDS)
def test_a_row_by_hand(card, date):
    """The first bf16 run at batch 32: decode of all sequences together."""
    rows = [r for r in own_rows() if r["group"] == f"{card}|deepseek-r1-distill-qwen-7b|bf16"]
    several = next(r for r in rows if r["metric"] == "decode_tok_s" and r["concurrency"] == "32")
    assert several["load_mode"] == "batch"
    assert several["depth"] == "512"
    results = stored(f"{card}_{date}.json")
    run = next(
        r
        for r in results
        if r.spec.variant_id.endswith("7b") and r.spec.batch == 32 and r.spec.format_id == "bf16"
    )
    assert abs(float(several["value"]) / (32 * run.decode_tok_s.value) - 1) < 1e-4


@pytest.mark.parametrize(("card", "date"), CARDS)
def test_measurements_name_device_driver_and_date(card, date):
    results = stored(f"{card}_{date}.json")
    asked = {(r.spec.variant_id[-4:], r.spec.format_id, r.spec.batch) for r in results if r.spec.kind == "full"}
    formats = ("bf16", "fp8", "int8-w8a8")
    assert asked >= {(m, f, b) for m in ("1.5b", "n-7b") for f in formats for b in (1, 32)}
    for result in results:
        assert result.place is None or result.place.device_id == card
        assert result.started_at.startswith(date)
        assert result.conditions.energy_source == "nvml"
        assert result.conditions.gpu["temperature_c"] > 20
        assert result.conditions.gpu["driver"] == "580.159.04"


@pytest.mark.parametrize(("card", "least", "least_dense"), [("h100-sxm", 0.75, 0.8), ("h200-sxm", 0.65, 0.65)])
def test_no_prediction_saw_them_and_most_lie_inside(card, least, least_dense):
    """On the H200 more dense models of 7 billion parameters and up were measured, whose prompts this engine processes
    up to twice as fast as the published figures of other engines let expect.
    """
    found = validate_throughput(OWN_PROBES_FILE, load_catalog())
    assert found.summary.unpredicted == 0
    of_card = {row["id"] for row in own_rows() if row["device_id"] == card}
    rows = [row for row in found.rows if row.id in of_card]
    for asked, share in ((rows, least), ([r for r in rows if r.model_class.startswith("dense")], least_dense)):
        inside = [row.low <= row.measured <= row.high for row in asked]
        assert sum(inside) / len(inside) > share
