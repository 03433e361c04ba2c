"""Traces in four layouts, and every way a row can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from advisor.catalog.errors import DataError
from advisor.cli import main
from advisor.serving import importers
from advisor.serving.importers import Layout, import_trace

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"
STEP_MODEL = {
    "ntok": [0, 64, 512],
    "step_s": [0.01, 0.011, 0.02],
    "cdec": 1e-7,
    "cmix": 2e-7,
    "cpre": 1e-9,
    "cmin": 256,
    "kvcap_tokens": 4096,
    "max_num_seqs": 32,
    "max_num_batched_tokens": 512,
    "dp": 1,
}


def write(tmp_path, text, name="trace.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_plain(tmp_path):
    trace = import_trace(
        write(tmp_path, "arrival_s,input_tokens,output_tokens,prefix_hit_tokens\n0,10,5,0\n1.5,20,6,16\n")
    )
    assert trace.layout is Layout.PLAIN
    assert trace.notes == ()
    np.testing.assert_array_equal(trace.table.arrival_s, [0, 1.5])
    np.testing.assert_array_equal(trace.table.prefix_hit_tokens, [0, 16])


def test_azure_2023(tmp_path):
    rows = ["2023-11-16 18:15:46.6805900,374,44", "2023-11-16 18:15:50.9951690,396,109"]
    text = "\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows])
    trace = import_trace(write(tmp_path, text))
    assert trace.layout is Layout.AZURE
    np.testing.assert_allclose(trace.table.arrival_s, [0, 4.314579], atol=1e-6)
    np.testing.assert_array_equal(trace.table.output_tokens, [44, 109])


def test_burstgpt_leaves_out_failures(tmp_path):
    rows = [
        "5,ChatGPT,472,18,490,Conversation log",
        "45,ChatGPT,1087,0,1087,Conversation log",
        "118,GPT-4,417,276,693,API log",
    ]
    text = "\n".join(["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type", *rows])
    trace = import_trace(write(tmp_path, text))
    assert trace.layout is Layout.BURSTGPT
    np.testing.assert_array_equal(trace.table.arrival_s, [0, 113])
    assert [note.key for note in trace.notes] == ["failed"]


def test_mooncake_counts_leading_blocks_seen_before(tmp_path):
    rows = [
        {"timestamp": 0, "input_length": 1100, "output_length": 52, "hash_ids": [1, 2, 3]},
        {"timestamp": 3000, "input_length": 1200, "output_length": 10, "hash_ids": [1, 2, 9]},
    ]
    trace = import_trace(write(tmp_path, "\n".join(json.dumps(r) for r in rows), "trace.jsonl"))
    assert trace.layout is Layout.MOONCAKE
    np.testing.assert_array_equal(trace.table.prefix_hit_tokens, [0, 1024])
    np.testing.assert_array_equal(trace.table.arrival_s, [0, 3])


@pytest.mark.skipif(not TRACES.exists(), reason="the traces are not beside this checkout")
@pytest.mark.parametrize("name", ["azure_llm_2023_code", "azure_llm_2023_conv", "mooncake_fast25_conversation"])
def test_published_traces_are_read_whole(name):
    path = TRACES / f"{name}.csv"
    assert len(import_trace(path).table) == len(path.read_text().splitlines()) - 1


def test_unsorted_rows_are_sorted_and_told(tmp_path):
    trace = import_trace(write(tmp_path, "arrival_s,input_tokens,output_tokens\n5,10,5\n1,20,6\n"))
    np.testing.assert_array_equal(trace.table.input_tokens, [20, 10])
    assert [note.key for note in trace.notes] == ["unsorted"]


def test_a_gap_is_told(tmp_path):
    trace = import_trace(write(tmp_path, "arrival_s,input_tokens,output_tokens\n0,10,5\n90000,20,6\n"))
    assert trace.notes[0].key == "gap"
    assert trace.notes[0].values["seconds"] == 90_000


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("0,10,5\n1,-4,6\n", ["row 2", "input_tokens", ">= 1", "-4"]),
        ("0,10,5\n1,4,0\n", ["row 2", "output_tokens", ">= 1"]),
        ("0,10,5\n1,4,2.5\n", ["row 2", "output_tokens", "whole number", "2.5"]),
        ("-1,10,5\n", ["row 1", "arrival_s", ">= 0"]),
        ("0,10,5\n1,ten,6\n2,many,6\n", ["row 2", "input_tokens", "ten", "1 more such row"]),
        ("0,10,5\ninf,10,6\n", ["row 2", "arrival_s", "finite"]),
        ("0,10,5\n1,,6\n", ["row 2", "input_tokens", "finite number"]),
        ("0,10,5\n1,2\n", ["row 2", "output_tokens"]),
        ("0,10,5,9,9\n", ["comma-separated"]),
        ("", ["1 to 5,000,000 rows"]),
        ("0,1e30,5\n", ["row 1", "input_tokens"]),
    ],
)
def test_a_bad_row_is_named(tmp_path, rows, words):
    with pytest.raises(DataError) as problem:
        import_trace(write(tmp_path, "arrival_s,input_tokens,output_tokens\n" + rows))
    for word in ["trace.csv", *words]:
        assert word in str(problem.value)
    assert "\n" not in str(problem.value)


def test_prefix_hits_beyond_the_input_are_refused(tmp_path):
    with pytest.raises(DataError, match="no more than input_tokens"):
        import_trace(write(tmp_path, "arrival_s,input_tokens,output_tokens,prefix_hit_tokens\n0,10,5,11\n"))


@pytest.mark.parametrize(
    "text", ["a,b,c\n1,2,3\n", "arrival_s,input_tokens\n0,1\n", '{"timestamp": 1}\n', "{broken\n", ""]
)
def test_an_unknown_layout_is_refused(tmp_path, text):
    with pytest.raises(DataError, match=r"trace\.csv"):
        import_trace(write(tmp_path, text))


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path):
    with pytest.raises(DataError, match="readable file"):
        import_trace(tmp_path / "none.csv")
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xff\xfe\x00\x80" * 50)
    with pytest.raises(DataError):
        import_trace(path)


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(b"PK\x03\x04" + bytes(300))
    with pytest.raises(DataError, match="binary data"):
        import_trace(path)
    lines = b'{"timestamp": 0, "input_length": 9, "output_length": 5}\n'
    path.write_bytes(400 * lines + b'\xff\xfe{"x"\n')
    with pytest.raises(DataError, match="row 401"):
        import_trace(path)


@pytest.mark.parametrize(("text", "got"), [("", "nothing"), ("\n\n", "empty line")])
def test_a_file_without_a_header_is_refused(tmp_path, text, got):
    with pytest.raises(DataError, match=got):
        import_trace(write(tmp_path, text))


def test_too_many_rows_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(importers, "MAX_REQUESTS", 3)
    with pytest.raises(DataError, match="take a sample"):
        import_trace(write(tmp_path, "arrival_s,input_tokens,output_tokens\n" + "0,1,1\n" * 4))


def simulate(tmp_path, rows, model=STEP_MODEL):
    model_path = write(tmp_path, model if isinstance(model, str) else json.dumps(model), "model.json")
    requests = write(tmp_path, "arrival_s,input_tokens,output_tokens\n" + rows)
    return main(["simulate", "--step-model", str(model_path), "--requests", str(requests), "--json"])


def test_the_command_answers_with_the_keys_of_the_contract(tmp_path, capsys):
    assert simulate(tmp_path, "0,100,5\n0.5,200,1\n") == 0
    answer = json.loads(capsys.readouterr().out)
    for name in ("ttft_ms", "tpot_ms", "e2e_ms"):
        assert set(answer[name]) == {"mean", "p50", "p90", "p95", "p99"}
    assert {"preemptions", "output_tok_s", "makespan_s", "requests_per_cpu_s"} <= set(answer)
    # One prompt of 100 tokens alone: table(100) + cpre * max(100, 256) * 50; then four decodes of one token.
    step = 0.011 + (100 - 64) * (0.02 - 0.011) / 448
    first = step + 1e-9 * 256 * 50
    decodes = sum(0.01 + 0.001 / 64 + 1e-7 * (100 + k) for k in range(1, 5))
    assert answer["tpot_ms"]["mean"] == pytest.approx(1e3 * decodes / 4, rel=1e-9)
    second = 0.011 + (200 - 64) * (0.02 - 0.011) / 448 + 1e-9 * 256 * 100
    assert answer["ttft_ms"]["mean"] == pytest.approx(1e3 * (first + second) / 2, rel=1e-9)


def test_a_request_larger_than_the_cache_is_one_clear_line(tmp_path, capsys):
    assert simulate(tmp_path, "0,100,5\n1,4000,200\n") == 2
    message = capsys.readouterr().err
    assert "row 2" in message
    assert "4,096" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ntok": [0, 64]}, "step_s"),
        ({"ntok": [64, 0, 512]}, "ntok"),
        ({"step_s": [0.01, -1, 0.02]}, "step_s"),
        ({"step_s": [0.01, float("nan"), 0.02]}, "step_s"),
        ({"cdec": "fast"}, "cdec"),
        ({"kvcap_tokens": 0}, "kvcap_tokens"),
        ({"kvcap_tokens": 10.5}, "kvcap_tokens"),
        ({"max_num_seqs": 1024}, "max_num_batched_tokens"),
        ({"dp": 0}, "dp"),
        ({"step_s": [0, 0, 0]}, "step_s"),
    ],
)
def test_a_broken_step_model_is_one_clear_line(tmp_path, capsys, change, field):
    assert simulate(tmp_path, "0,100,5\n", STEP_MODEL | change) == 2
    message = capsys.readouterr().err
    assert field in message
    assert "model.json" in message
    assert message.count("\n") == 1


def test_a_missing_key_and_an_unknown_entry_are_named(tmp_path, capsys):
    assert simulate(tmp_path, "0,100,5\n", {k: v for k, v in STEP_MODEL.items() if k != "cpre"}) == 2
    assert "cpre" in capsys.readouterr().err
    assert simulate(tmp_path, "0,100,5\n", {"one": STEP_MODEL, "two": STEP_MODEL}) == 2
    assert "one, two" in capsys.readouterr().err
    assert simulate(tmp_path, "0,100,5\n", "{not json") == 2
    assert "valid JSON" in capsys.readouterr().err
