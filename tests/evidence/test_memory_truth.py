"""Every public memory measurement is predicted or named, within the stated errors."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import numpy as np
import pytest
import yaml

from advisor.catalog import load_catalog
from advisor.catalog.errors import DataError
from advisor.catalog.paths import DATA_DIR
from advisor.evidence.fit_memory import TRUTH_FILES, fit_memory
from advisor.evidence.memory_truth import MemoryPrediction, predict_memory_rows

TRUTH = DATA_DIR / "truth" / "memory.csv"
EXACT_SOURCES = ("m-xd", "m-sx", "m-hf", "m-g4", "m-th", "m-ik", "m-vl", "m-lp")  # not the app download sizes


@pytest.fixture(scope="module")
def rows() -> list[MemoryPrediction]:
    return predict_memory_rows(TRUTH, load_catalog())


def errors(rows: list[MemoryPrediction], *what: str, prefix: tuple[str, ...] = ("m-",)) -> list[float]:
    chosen = [r for r in rows if r.what in what and r.id.startswith(prefix) and r.predicted_bytes is not None]
    return sorted(abs(r.predicted_bytes / r.measured_bytes - 1) for r in chosen if r.predicted_bytes)


def test_at_most_three_percent_are_unpredicted_and_each_is_named(rows: list[MemoryPrediction]) -> None:
    missing = [r for r in rows if r.predicted_bytes is None]
    assert len(rows) == 228
    assert len(missing) <= 0.03 * len(rows)
    assert all(r.unpredicted_reason for r in missing)


def test_file_and_weight_bytes(rows: list[MemoryPrediction]) -> None:
    found = errors(rows, "weights_file_bytes", "weights_bytes", prefix=EXACT_SOURCES)
    assert median(found) < 0.002
    assert np.quantile(found, 0.95) < 0.02  # the rest: third-party recipes behind a common label


def test_cache_rows(rows: list[MemoryPrediction]) -> None:
    assert max(errors(rows, "kv_cache_bytes", "kv_bytes_per_token")) < 0.01
    assert max(errors(rows, "kv_pool_bytes")) < 0.02


def test_buffers_and_peaks(rows: list[MemoryPrediction]) -> None:
    found = errors(rows, "compute_buffer_bytes", "peak_bytes")
    assert median(found) < 0.07
    assert np.mean(np.array(found) < 0.2) > 0.9


def test_intervals_cover(rows: list[MemoryPrediction]) -> None:
    known = [r for r in rows if r.predicted_bytes is not None and r.low is not None and r.high is not None]
    inside = [r.low <= r.measured_bytes <= r.high for r in known if r.low is not None and r.high is not None]
    assert np.mean(inside) > 0.88


def test_a_broken_file_names_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "memory.csv"
    path.write_text(
        "id,model_id,format_id,what,value_bytes\nr1,deepseek-r1,bf16,weights_bytes,many\n", encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"memory\.csv, record 'r1', field 'value_bytes'"):
        predict_memory_rows(path, load_catalog())


def test_an_unknown_model_is_named_not_dropped(tmp_path: Path) -> None:
    path = tmp_path / "memory.csv"
    path.write_text("id,model_id,format_id,what,value_bytes\nr1,no-such-model,bf16,weights_bytes,1\n", encoding="utf-8")
    found = predict_memory_rows(path, load_catalog())
    assert found[0].predicted_bytes is None
    assert "no-such-model" in found[0].unpredicted_reason


def test_the_calibration_is_what_the_fit_writes() -> None:
    written = yaml.safe_load((DATA_DIR / "calibration_memory.yaml").read_text(encoding="utf-8"))
    found = fit_memory(TRUTH_FILES, load_catalog())
    assert found["models"].keys() == written["models"].keys()
    for kind, model in written["models"].items():
        for name, coefficient in model["bytes_per"].items():
            assert found["models"][kind]["bytes_per"][name] == pytest.approx(coefficient, rel=0.02, abs=1e-3)
    assert found["visible_share"] == written["visible_share"]
    assert found["header_bytes_per_token"] == pytest.approx(written["header_bytes_per_token"], rel=0.01)


def test_compute_buffers_of_llama_cpp_without_flash_attention() -> None:
    """Mistral 7B, ubatch 512: 164 MiB at 2,048 tokens, 2,144 MiB at 32,768 (fedora-copr/logdetective PR 106)."""
    found = predict_memory_rows(TRUTH_FILES[1], load_catalog())
    assert [r.predicted_bytes for r in found] == pytest.approx([164 * 2**20, 2144 * 2**20], rel=0.02)
