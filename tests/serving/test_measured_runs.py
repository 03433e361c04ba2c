"""Two real vLLM 0.19 runs, request by request: nothing is fitted to them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from advisor.cli import main

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"
MODELS = TRACES / "vllm019_cost_models.json"
pytestmark = pytest.mark.skipif(not MODELS.exists(), reason="the measured vLLM runs are not beside this checkout")

RUNS = {
    "rtx4090_llama-3.1-8b": ("vllm019_rtx4090_llama-3.1-8b_measured.csv", 0.10),
    "rtxpro6000_llama-3.1-8b": ("vllm019_rtxpro6000_llama-3.1-8b_measured.csv", 0.20),
}


@pytest.mark.parametrize("entry", RUNS)
def test_latencies_are_those_measured(entry, capsys):
    file, ttft_tolerance = RUNS[entry]
    assert (
        main(["simulate", "--step-model", str(MODELS), "--entry", entry, "--requests", str(TRACES / file), "--json"])
        == 0
    )
    answer = json.loads(capsys.readouterr().out)
    run = np.genfromtxt(TRACES / file, delimiter=",", names=True)
    measured = {
        "ttft_ms": (run["first_token_s"] - run["arrival_s"], ttft_tolerance),
        "tpot_ms": ((run["last_token_s"] - run["first_token_s"]) / (run["output_tokens"] - 1), 0.08),
        "e2e_ms": (run["last_token_s"] - run["arrival_s"], 0.08),
    }
    for name, (seconds, tolerance) in measured.items():
        assert answer[name]["mean"] == pytest.approx(1e3 * seconds.mean(), rel=tolerance), name
        assert answer[name]["p99"] == pytest.approx(1e3 * np.percentile(seconds, 99), rel=tolerance), name


def test_the_starved_run_preempts_as_often(capsys):
    file = TRACES / RUNS["rtx4090_llama-3.1-8b"][0]
    main(
        ["simulate", "--step-model", str(MODELS), "--entry", "rtx4090_llama-3.1-8b", "--requests", str(file), "--json"]
    )
    assert 150 <= json.loads(capsys.readouterr().out)["preemptions"] <= 240
