"""`advisor simulate --step-model --requests` by hand: two data-parallel ranks in lock step, and one rank alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from advisor.cli import main

# A step of n tokens takes 0.1 + 0.01 n seconds; every cached token that a decode reads another 0.001.
MODEL = {
    "ntok": [0, 1000], "step_s": [0.1, 10.1], "cdec": 0.001, "cmix": 0.001, "cpre": 0.0, "cmin": 0,
    "kvcap_tokens": 1000, "max_num_seqs": 8, "max_num_batched_tokens": 256,
}  # fmt: skip
REQUESTS = "arrival_s,input_tokens,output_tokens\n0,10,3\n0,20,2\n"


def answer(folder: Path, capsys: pytest.CaptureFixture[str], **changes: object) -> dict:
    model, requests = folder / "model.json", folder / "requests.csv"
    model.write_text(json.dumps(MODEL | changes), encoding="utf-8")
    requests.write_text(REQUESTS, encoding="utf-8")
    assert main(["simulate", "--step-model", str(model), "--requests", str(requests), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_ranks_wait_for_the_slowest(tmp_path, capsys):
    """The first request goes to rank 0, the second to rank 1.

    Step 1: prompts of 10 and 20 tokens, 0.2 and 0.3 s: both wait 0.3 s. Step 2: one decode each, that read 11 and 21
    tokens: 0.11 + 0.021 s, after which the second request is done. Step 3: rank 0 alone reads 12 tokens: 0.122 s.
    """
    found = answer(tmp_path, capsys, dp=2)
    assert found["ttft_ms"]["mean"] == pytest.approx(300)
    assert found["tpot_ms"]["p50"] == pytest.approx((131 + (131 + 122) / 2) / 2)
    assert found["e2e_ms"]["mean"] == pytest.approx((431 + 553) / 2)
    assert found["makespan_s"] == pytest.approx(0.553)
    assert found["steps"] == 3


def test_one_rank_takes_both(tmp_path, capsys):
    """Step 1: 30 tokens, 0.4 s. Step 2: two decodes that read 32 tokens, 0.12 + 0.032 s. Step 3: one, 0.122 s."""
    found = answer(tmp_path, capsys, dp=1)
    assert found["ttft_ms"]["mean"] == pytest.approx(400)
    assert found["e2e_ms"]["mean"] == pytest.approx((552 + 674) / 2)
    assert found["makespan_s"] == pytest.approx(0.674)


def test_capacities_are_those_of_one_rank(tmp_path, capsys):
    """Seats for one each: with two ranks both begin at once, with one the second waits for the first.

    Alone: the first takes 0.2 + 0.121 + 0.122 s; the second then 0.3 s for its prompt and 0.131 s for its other token.
    """
    assert answer(tmp_path, capsys, dp=2, max_num_seqs=1)["ttft_ms"]["p99"] == pytest.approx(300)
    alone = answer(tmp_path, capsys, dp=1, max_num_seqs=1)
    assert alone["e2e_ms"]["p50"] == pytest.approx(1e3 * (0.443 + (0.443 + 0.3 + 0.131)) / 2)
