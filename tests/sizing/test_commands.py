"""`advisor matrix` and `advisor train-size` as a user types them."""

from __future__ import annotations

import csv
import io
import json

import pytest
import yaml

from advisor.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    out = capsys.readouterr()
    return code, out.out, out.err


def test_matrix_in_three_notations(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("matrix", "--model", "DeepSeek-R1-Distill-Qwen-7B", "--format", "bf16", "--context", "8192")
    code, out, _ = run(capsys, *words, "--json")
    row = json.loads(out)[0]
    assert code == 0
    assert row["weights_bytes"] == 2 * 7_615_616_512
    assert row["kv_cache_bytes"] == 57_344 * 8192
    assert row["device_count"] == 1
    assert yaml.safe_load(run(capsys, *words, "--yaml")[1]) == [row]
    assert next(csv.DictReader(io.StringIO(run(capsys, *words, "--csv")[1])))["variant_id"] == row["variant_id"]
    assert "15.2 GB" in run(capsys, *words)[1]


def test_matrix_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "matrix", "--model", "deepseek-r1", "--context", "0")
    assert (code, out) == (2, "")
    assert "context" in err


def test_train_size_answers_and_states_its_checks(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "train-size", "deepseek-r1-distill-qwen-7b", "--method", "qlora", "--device", "rtx-4090", "--json"
    )
    answer = json.loads(out)
    assert code == 0
    assert answer["fits"] is True
    assert set(answer["tokens_per_s"]) == {"value", "low", "high", "basis"}
    assert {c["name"] for c in answer["checked_against"]} >= {"kt-175b", "zero-3", "deepseek-v3"}


def test_train_size_says_when_it_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "train-size", "deepseek-r1", "--method", "full", "--device", "h100-sxm", "--lang", "zh")
    assert code == 3
    assert "放不下" in out


@pytest.mark.parametrize(
    "words",
    [
        ("--method", "full", "--count", "8", "--tp", "8"),
        ("--method", "full", "--tokens", "-1"),
        ("--method", "lora", "--device", "abacus"),
    ],
)
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    code, out, err = run(capsys, "train-size", "deepseek-r1-distill-qwen-7b", *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
