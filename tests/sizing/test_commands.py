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


def test_size_of_r1_on_eight_h200(capsys: pytest.CaptureFixture[str]) -> None:
    words = "size deepseek-r1 --format fp8-block --device h200-sxm --count 8 --tp 8 --context 8192 --json"
    code, out, _ = run(capsys, *words.split())
    answer = json.loads(out)
    assert code == 0
    assert answer["fits"] is True
    assert answer["kv_bytes_per_token"] == 70_272
    assert answer["per_device"]["kv_cache_bytes"] / 2**30 == pytest.approx(0.536, abs=5e-4)
    assert answer["model"]["total_params"] / 1e9 == pytest.approx(671.03, abs=0.005)
    assert answer["model"]["active_params"] / 1e9 == pytest.approx(36.63, abs=0.005)
    assert answer["model"]["file_bytes"] / 1e9 == pytest.approx(673.1, abs=0.06)
    for name in ("prefill_tok_s", "decode_tok_s", "output_tok_s", "ttft_ms", "tpot_ms"):
        assert answer[name]["low"] <= answer[name]["value"] <= answer[name]["high"]
        assert answer[name]["basis"]
    parts = ("weights_bytes", "kv_cache_bytes", "activation_bytes", "overhead_bytes")
    assert sum(answer["per_device"][p] for p in parts) == answer["per_device"]["total_bytes"]


def test_size_says_what_would_fit(capsys: pytest.CaptureFixture[str]) -> None:
    words = "size deepseek-r1 --format fp8-block --device h100-sxm --count 8 --tp 8 --context 8192"
    code, out, _ = run(capsys, *words.split(), "--json")
    answer = json.loads(out)
    assert code == 3
    assert answer["fits"] is False
    assert answer["binding"] == "capacity"
    assert answer["shortfall_bytes"] > 5e9
    assert {"more_devices", "other_format", "bigger_device", "other_variant"} <= {
        s["kind"] for s in answer["suggestions"]
    }
    assert "does not fit" in run(capsys, *words.split())[1]


def test_size_of_a_distilled_model_under_other_names(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("DeepSeek-R1-Distill-Qwen-7B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "r1-distill-qwen-7b"):
        answer = json.loads(run(capsys, "size", name, "--format", "bf16", "--device", "l40s", "--json")[1])
        assert answer["model"]["total_params"] == 7_615_616_512
        assert answer["kv_bytes_per_token"] == 57_344


def test_size_on_a_processor(capsys: pytest.CaptureFixture[str]) -> None:
    words = "size r1-distill-qwen-7b --format gguf-q4_k_m --device i5-12400 --ram 32GiB --lang zh --explain"
    code, out, _ = run(capsys, *words.split())
    assert code == 0
    assert "放得下" in out
    assert "57,344" in out
    assert "每个输出词元的时间" in out


def test_every_number_unfolds_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = "size r1-distill-qwen-7b --format bf16 --device l40s --explain --json"
    answer = json.loads(run(capsys, *words.split())[1])
    found = {item["key"]: item for item in answer["derivations"]}
    assert found["file"]["unit"] == "bytes"
    assert found["file"]["value"] == answer["model"]["file_bytes"]
    assert found["decode"]["value"] * 1e3 == pytest.approx(answer["tpot_ms"]["value"])
    assert found["output"]["value"] == pytest.approx(answer["output_tok_s"]["value"])
    assert all(step["text"] for item in found.values() for step in item["steps"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("size deepseek-r1 --device abacus", "abacus"),
        ("size no-such-model --device h100-sxm", "no-such-model"),
        ("size deepseek-r1 --device h200-sxm --count 8 --tp 3", "count"),
        ("size deepseek-r1 --device h200-sxm --kv-format q3_magic", "kv-format"),
        ("size deepseek-r1 --device h200-sxm --kv-format q4_0 --engine vllm", "kv-format"),
        ("size deepseek-r1 --device h200-sxm --context 100 --input 200", "context"),
        ("size deepseek-r1", "device"),
        ("size deepseek-r1 --format mxfp8 --engine vllm --device a100-sxm-80", "compute capability"),
    ],
)
def test_size_refuses_in_one_line(capsys: pytest.CaptureFixture[str], words: str, said: str) -> None:
    code, out, err = run(capsys, *words.split())
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "english", "chinese"),
    [
        # the device has no back end with this engine at all: the device is the reason, not a way that nobody named
        ("--device v100-sxm2-32 --engine trtllm", "compute capability 8.0 for bfloat16", "需要计算能力 8.0"),
        ("--device t4 --engine llama.cpp", "here: GGUF BF16 (--format gguf-bf16)", "：GGUF BF16（--format"),
        ("--device h100-sxm --engine trtllm --backend rocm", "bfloat16 through rocm", "不能通过 rocm 运行"),
        ("--device mi300x --format mlx-4bit", "No engine of the catalogue", "没有引擎能在 Instinct MI300X"),
        ("--device h100-sxm --count 3 --tp 3 --engine sglang", "attention heads", "注意力头数"),
    ],
)
def test_what_cannot_run_is_explained_in_either_language(
    capsys: pytest.CaptureFixture[str], words: str, english: str, chinese: str
) -> None:
    plan = ("size", "r1-distill-qwen-7b", "--format", "bf16", *words.split())
    assert english in run(capsys, *plan)[2]
    code, out, err = run(capsys, *plan, "--lang", "zh")
    assert (code, out) == (2, "")
    assert chinese in err
    assert "cpu" not in err


@pytest.mark.parametrize(
    ("words", "layout", "replicas"),
    [
        ("deepseek-r1 --device h100-sxm --count 16", "tp8 pp2", 1),
        ("r1-distill-qwen-7b --device l40s --count 8", "tp4", 2),
        ("r1-distill-llama-70b --format gguf-q4_k_m --device rtx-3090 --count 2 --engine llama.cpp", "pp2", 1),
    ],
)
def test_usual_layouts(capsys: pytest.CaptureFixture[str], words: str, layout: str, replicas: int) -> None:
    answer = json.loads(run(capsys, "size", *words.split(), "--json")[1])
    assert (answer["layout"], answer["replicas"]) == (layout, replicas)


def test_size_with_changes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("size", "r1-distill-qwen-7b", "--device", "l40s", "--sensitivity")
    answer = json.loads(run(capsys, *words, "--json")[1])
    assert {c["change"] for c in answer["sensitivity"]} >= {"twice_devices", "smaller_format", "twice_sequences"}
    for language, title in (("en", "What a change would do"), ("zh", "改动的影响")):
        code, out, _ = run(capsys, *words, "--lang", language)
        assert code == 0
        assert title in out
