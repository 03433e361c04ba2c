"""Measured rows: read, resolved, refused where broken."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import DataError
from advisor.evidence.cases import build_cases
from advisor.evidence.predict import best_layout
from advisor.evidence.truth import THROUGHPUT_FILE, TruthRow, history, read_throughput

CATALOG = load_catalog()
ROWS, MISSING = read_throughput(THROUGHPUT_FILE, CATALOG)
BY_ID = {row.id: row for row in ROWS}


def raw_rows() -> list[dict[str, str]]:
    with THROUGHPUT_FILE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def find(**wanted: str) -> TruthRow:
    return next(BY_ID[r["id"]] for r in raw_rows() if all(r[k] == v for k, v in wanted.items()))


def test_every_public_row_is_resolved() -> None:
    assert len(ROWS) == 1383
    assert MISSING == []


def test_an_unknown_id_is_named_not_dropped(tmp_path: Path) -> None:
    rows = raw_rows()[:3]
    rows[1]["device_id"] = "rtx-9999"
    known, missing = read_throughput(write(tmp_path / "t.csv", rows), CATALOG)
    assert len(known) == 2
    assert "rtx-9999" in missing[0].reason


@pytest.mark.parametrize(("column", "text"), [("value", "fast"), ("metric", "joy"), ("tp", "two")])
def test_a_broken_cell_names_row_and_column(tmp_path: Path, column: str, text: str) -> None:
    rows = raw_rows()[:2]
    rows[1][column] = text
    with pytest.raises(DataError, match=rf"{rows[1]['id']}.*{column}"):
        read_throughput(write(tmp_path / "t.csv", rows), CATALOG)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,value\na,1\n")
    with pytest.raises(DataError, match="engine_id"):
        read_throughput(path, CATALOG)


def test_layouts_that_are_not_stated_are_tried_with_every_number_of_replicas() -> None:
    row = find(source="mlcommons/inference_results_v6.0", model_id="llama-3.1-8b", device_id="h200-nvl")
    cases = build_cases([row])
    assert set(cases.inputs.layout.tp * cases.replicas) == {float(row.n_devices)}
    assert len(cases) > 1
    logs = np.arange(len(cases), dtype=float)
    assert best_layout(cases, logs).tolist() == [len(cases) - 1]


def test_a_model_that_fills_one_device_gets_no_smaller_layout() -> None:
    row = find(source="mlcommons/inference_results_v6.0", model_id="deepseek-r1", device_id="b200-sxm")
    assert build_cases([row]).inputs.layout.tp.min() >= 4


def test_static_graphs_pay_for_their_whole_window() -> None:
    row = find(engine_id="qnn-genie", metric="decode_tok_s")
    assert build_cases([row]).work.decode_context[0] >= 4096


def test_old_engines_expand_the_latent_and_flags_override_it() -> None:
    old = find(engine_id="llama.cpp", model_id="deepseek-v2-lite", device_id="rtx-4080")
    assert history().expands(old)
    stated = find(engine_id="ik_llama.cpp", mla_mode="3")
    assert not history().expands(stated)


def test_part_of_the_experts_on_the_gpu() -> None:
    row = find(offload="experts_split", gpu_expert_layers="34")
    layout = build_cases([row]).inputs.layout
    assert layout.host_experts[0] == pytest.approx(1 - 34 / 48)


def test_decode_depth_counts_half_of_the_answer() -> None:
    row = find(id="t-xd-0002")  # tg4096 from an empty cache
    assert build_cases([row]).work.decode_context[0] == 2048
