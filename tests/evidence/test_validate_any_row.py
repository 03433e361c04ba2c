"""Validation of files that name anything in the catalogue, and of rows that name something else."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from advisor.catalog import load_catalog
from advisor.catalog.paths import DATA_DIR
from advisor.cli import main

CATALOG = load_catalog()
TRUTH = DATA_DIR / "truth"
METRICS = ("decode_tok_s", "prefill_tok_s", "output_tok_s", "total_tok_s", "ttft_ms", "tpot_ms")
LOADS = ("single", "batch", "closed_loop", "burst", "open_loop", "offline_max", "server_slo")
ENGINES = sorted(CATALOG.engines)
OFFLOADS = ("none", "cpu_only", "experts_cpu", "experts_split", "layers_split")
LAYOUTS = ("", "latent", "latent+v", "latent+indexer", "expanded")
Row = Mapping[str, Any]


def header(name: str) -> list[str]:
    with (TRUTH / name).open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def write(path: Path, columns: list[str], rows: Iterable[Row]) -> list[str]:
    ids = []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for n, row in enumerate(rows):
            writer.writerow({"id": f"r{n}", **row})
            ids.append(f"r{n}")
    return ids


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["validate", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def assert_sane(row: Row) -> None:
    if row["predicted"] is None:
        assert row["unpredicted_reason"]
        return
    numbers = [row["low"], row["predicted"], row["high"]]
    assert all(math.isfinite(number) and number > 0 for number in numbers), row
    assert numbers == sorted(numbers), row
    assert row["unpredicted_reason"] is None
    assert row["basis"]


def speeds() -> list[Row]:
    base = {"device_class": "x", "model_class": "y", "group": "g", "value": 10, "engine_backend": "cuda"}
    formats, models = sorted(CATALOG.formats), sorted({v.model_id for v in CATALOG.variants.values()})
    rows: list[Row] = []
    for n, device in enumerate(CATALOG.devices):
        rows.append(
            base
            | {
                "device_id": device,
                "model_id": models[n % len(models)],
                "format_id": formats[n % len(formats)],
                "engine_id": ENGINES[n % len(ENGINES)],
                "metric": METRICS[n % len(METRICS)],
                "load_mode": LOADS[n % len(LOADS)],
                "n_devices": (1, 2, 8)[n % 3],
                "offload": OFFLOADS[n % len(OFFLOADS)],
                "input_tokens": ("", 128, 8192)[n % 3],
                "output_tokens": ("", 128)[n % 2],
                "concurrency": ("", 1, 64)[n % 3],
            }
        )
    for n, host in enumerate(CATALOG.hosts):
        cpu = {"host_id": host, "engine_id": "llama.cpp", "engine_backend": "cpu", "offload": "cpu_only"}
        own = {"model_id": models[n % len(models)], "format_id": "gguf-q4_0", "metric": METRICS[n % len(METRICS)]}
        rows.append(base | cpu | own | {"n_devices": 0, "load_mode": "single", "depth": 8192})
    return rows


def test_any_device_host_model_and_format_is_predicted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    ids = write(path, header("throughput.csv"), speeds())
    found = answer(capsys, "--throughput", str(path))
    assert [row["id"] for row in found["rows"]] == ids
    for row in found["rows"]:
        assert_sane(row)
    assert sum(row["predicted"] is None for row in found["rows"]) == 0


ODD = (
    {"device_id": "no-such-device"},
    {"device_id": ""},
    {"device_id": "", "host_id": "no-such-host"},
    {"model_id": "no-such-model"},
    {"format_id": "no-such-format"},
    {"format_id": ""},
    {"engine_id": "no-such-engine"},
    {"kv_format": "no-such-format"},
    {"offload": "somewhere"},
    {"load_mode": "sometimes"},
)


def test_odd_rows_are_named_and_the_rest_is_predicted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = {
        "device_class": "x", "model_class": "y", "group": "g", "value": 10, "engine_backend": "", "n_devices": "",
        "model_id": "llama-3-8b", "format_id": "gguf-q4_0", "engine_id": "llama.cpp", "device_id": "rtx-4090",
        "metric": "decode_tok_s",
    }  # fmt: skip
    path = tmp_path / "t.csv"
    write(path, header("throughput.csv"), [good, *(good | odd for odd in ODD), good | {"value": ""}])
    rows = {row["id"]: row for row in answer(capsys, "--throughput", str(path))["rows"]}
    found = [rows[f"r{n}"] for n in range(len(ODD) + 2)]
    assert [row["predicted"] is None for row in found] == [False, *(True for _ in ODD), False]
    for row in found:
        assert_sane(row)


def weights_rows() -> list[Row]:
    out: list[Row] = []
    models = sorted(CATALOG.variants)
    for n, fmt in enumerate(sorted(CATALOG.formats)):
        for model in models[n % 7 :: 7]:
            out.append({"model_id": model, "format_id": fmt, "what": "weights_bytes", "scope": "total"})
    return out


def other_rows() -> list[Row]:
    out: list[Row] = []
    for n, model in enumerate(sorted(CATALOG.variants)):
        engine, layout = ENGINES[n % len(ENGINES)], LAYOUTS[n % len(LAYOUTS)]
        base = {"model_id": model, "engine_id": engine, "context_tokens": 4096}
        device = {"device_id": ("h100-sxm", "b200-sxm", "rtx-4090")[n % 3], "n_devices": 8, "scope": "gpu"}
        cache = base | {"kv_layout": layout, "kv_format": ("", "f16", "q8_0", "iq4_nl")[n % 4]}
        out.append(cache | {"what": "kv_cache_bytes"})
        out.append(cache | {"what": "kv_bytes_per_token"})
        out.append(base | device | {"what": "compute_buffer_bytes"})
        out.append(base | {"what": "peak_bytes", "format_id": "bf16", "context_tokens": ("", 2048)[n % 2]})
        pool = {"what": "kv_pool_bytes", "format_id": "gguf-q2_k", "kv_pool_tokens": (1000, "")[n % 2]}
        out.append(base | device | pool)
    return out


def test_memory_of_any_model_in_any_format(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    rows = [{"value_bytes": 1e9, **row} for row in (*weights_rows(), *other_rows())]
    ids = write(path, header("memory.csv"), rows)
    found = answer(capsys, "--memory", str(path))
    assert [row["id"] for row in found["rows"]] == ids
    for row in found["rows"]:
        assert_sane(row)
    missing = [row["unpredicted_reason"] for row in found["rows"] if row["predicted"] is None]
    assert len(missing) <= 0.03 * len(ids)
    assert all("custom mix" in reason or "does not fit" in reason for reason in missing)


def test_memory_rows_keep_the_contract(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    good = {"model_id": "deepseek-r1", "what": "kv_bytes_per_token", "value_bytes": 70272}
    odd = ({"model_id": "no-such-model"}, {"what": "colour"}, {"kv_format": "no-such-format"}, {"value_bytes": ""})
    write(path, header("memory.csv"), [good, *(good | change for change in odd)])
    found = answer(capsys, "--memory", str(path))
    assert set(found) == {"cells", "summary", "rows"}
    keys = {"id", "metric", "value_bytes", "measured", "predicted", "low", "high", "basis", "unpredicted_reason"}
    assert all(set(row) == keys for row in found["rows"])
    assert [row["predicted"] for row in found["rows"]] == [70272, None, None, None, 70272]
    score = found["summary"]["memory"]["by_quantity"]
    assert {item["what"]: (item["rows"], item["unpredicted"]) for item in score} == {
        "colour": (1, 1),
        "kv_bytes_per_token": (4, 2),
    }
    assert main(["validate", "--memory", str(path)]) == 0


def test_a_model_id_means_its_tuned_checkpoint() -> None:
    assert CATALOG.variant("deepseek-llm-7b").id == "deepseek-llm-7b-chat"
    assert CATALOG.variant("deepseek-r1").id == "deepseek-r1"
