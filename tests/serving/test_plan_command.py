"""`advisor simulate --plan --workload`: from the catalogue to latencies and replicas."""

from __future__ import annotations

import json

import pytest

from advisor.catalog import load_catalog
from advisor.cli import main
from advisor.commands.plan_file import plan_from_mapping

PLAN = "model: deepseek-r1-distill-qwen-7b\nformat: bf16\ndevice: l40s\nengine: vllm\nreplicas: 2\n"


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return str(path)


def answer(capsys, code, *words):
    assert main(["simulate", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_plan_under_a_built_in_workload(plan, capsys):
    found = answer(capsys, 0, "--plan", plan, "--workload", "chat", "--limit", "2000")
    assert found["replicas"] == 2
    assert found["served"] == 2000
    assert found["basis"] in {"estimated", "extrapolated", "calibrated", "measured"}
    slow, fast = found["at_step_factor"]["1.1"], found["at_step_factor"]["0.9"]
    assert fast["tpot_ms"]["mean"] < found["tpot_ms"]["mean"] < slow["tpot_ms"]["mean"]


def test_the_servers_own_time_is_in_latencies_and_limits(plan, capsys, monkeypatch):
    monkeypatch.setattr("advisor.serving.plan_costs.outside_s", lambda *_: 3.0)
    found = answer(capsys, 0, "--plan", plan, "--workload", "chat", "--limit", "500")
    assert 3000 < found["ttft_ms"]["p50"] < found["e2e_ms"]["p50"]
    words = ("--plan", plan, "--workload", "azure-conversation", "--capacity", "--ttft-ms", "1500")
    refused = answer(capsys, 3, *words)
    assert refused["binding"] == "floor"
    assert refused["idle_replica_ms"]["ttft"] > 3000


def test_capacity_names_the_limit(plan, capsys):
    words = ("--plan", plan, "--workload", "azure-conversation", "--capacity", "--ttft-ms", "1500", "--tpot-ms", "60")
    found = answer(capsys, 0, *words)
    assert found["feasible"]
    assert 1 <= found["replicas"] <= found["safe_replicas"]
    assert found["at_step_factor"]["0.9"] <= found["replicas"] <= found["at_step_factor"]["1.1"]
    assert found["binding"]


def test_a_queue_limit_refuses_and_drafts_make_answers_faster(plan, capsys):
    words = ("--plan", plan, "--workload", "chat", "--limit", "2000", "--replicas", "1")
    usual = answer(capsys, 0, *words)
    limited = answer(capsys, 0, *words, "--max-queue", "1")
    drafted = answer(capsys, 0, *words, "--draft-tokens", "1", "--accepted-tokens", "1.85")
    assert usual["rejected"] == 0
    assert limited["rejected"] + limited["served"] == 2000
    assert drafted["tpot_ms"]["mean"] < usual["tpot_ms"]["mean"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max-queue", "-1"), "max_queue"),
        (("--queue-timeout-s", "0"), "queue_timeout_s"),
        (("--draft-tokens", "1", "--accepted-tokens", "2.5"), "accepted_tokens"),
        (("--accepted-tokens", "1.5"), "accepted_tokens"),
    ],
)
def test_scheduler_rules_that_cannot_be_are_refused(plan, capsys, words, said):
    assert main(["simulate", "--plan", plan, "--workload", "chat", *words]) == 2
    assert said in capsys.readouterr().err


def test_an_impossible_limit_is_an_answer(plan, capsys):
    found = answer(capsys, 3, "--plan", plan, "--workload", "chat", "--capacity", "--tpot-ms", "0.1")
    assert not found["feasible"]
    assert found["binding"] == "floor"


def test_a_plan_that_does_not_fit_is_an_answer(tmp_path, capsys):
    path = tmp_path / "big.yaml"
    path.write_text("model: deepseek-r1\nformat: fp8-block\ndevice: h100-sxm\ncount: 8\ntp: 8\nengine: vllm\n")
    found = answer(capsys, 3, "--plan", str(path), "--workload", "servegen-deepseek-r1")
    assert not found["fits"]
    assert found["shortfall_bytes"] > 0


def test_a_scenario_is_a_workload_too(plan, capsys):
    found = answer(capsys, 0, "--plan", plan, "--workload", "code-assistant", "--limit", "1000")
    assert found["served"] == 1000


def test_a_trace_is_a_workload_too(plan, tmp_path, capsys):
    trace = tmp_path / "mine.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,100,20\n1,200,30\n9,150,25\n")
    assert answer(capsys, 0, "--plan", plan, "--workload", str(trace))["served"] == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format: bf16\n", ["plan.yaml", "model"]),
        ("- 1\n", ["plan.yaml", "mapping"]),
        (PLAN + "tp: many\n", ["tp"]),
        (PLAN.replace("replicas: 2", "replicas: -2"), ["replicas", ">= 1"]),
        (PLAN.replace("l40s", "l40z"), ["l40z", "l40s"]),
    ],
)
def test_a_broken_plan_is_one_clear_line(tmp_path, capsys, text, words):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    assert main(["simulate", "--plan", str(path), "--workload", "chat"]) == 2
    message = capsys.readouterr().err
    for word in words:
        assert word in message
    assert message.count("\n") == 1


def test_unknown_traffic_names_the_nearest(plan, capsys):
    assert main(["simulate", "--plan", plan, "--workload", "chta"]) == 2
    assert "chat" in capsys.readouterr().err


def test_requests_beyond_the_context_are_refused(plan, tmp_path, capsys):
    """One request of a trace, and traffic whose mean request is too long."""
    trace = tmp_path / "long.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,100,20\n1,131000,300\n9,150,25\n")
    assert main(["simulate", "--plan", plan, "--workload", str(trace)]) == 2
    assert "131,072 tokens, the context of" in capsys.readouterr().err
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,9000000,20\n1,9000000,30\n")
    assert main(["simulate", "--plan", plan, "--workload", str(trace)]) == 2
    message = capsys.readouterr().err
    assert "context" in message
    assert message.count("\n") == 1


def test_the_cheapest_plan_of_a_scenario(capsys):
    found = answer(capsys, 0, "--scenario", "customer-service", "--finalists", "2", "--workers", "0")["finalists"]
    assert len(found) == 2
    assert found[0]["monthly_usd"]["value"] <= found[1]["monthly_usd"]["value"]
    assert found[0]["replicas"] <= found[0]["safe_replicas"]
    assert main(["simulate", "--scenario", "nobody"]) == 2
    assert main(["simulate", "--scenario", "customer-service", "--finalists", "0"]) == 2


def test_half_a_question_is_refused(plan, capsys):
    assert main(["simulate", "--plan", plan]) == 2
    assert "--workload" in capsys.readouterr().err


def test_the_answer_of_recommend_is_a_plan():
    """The candidate's own words: ids, layout, replicas."""
    layout = {"tp": 2, "pp": 1, "ep": 1, "dp_attention": 1, "offload": "none"}
    software = {"variant": "deepseek-r1-distill-qwen-7b", "format": "bf16", "engine": "vllm", "backend": "cuda"}
    place = {"id": "x", "device": "l40s", "n_devices": 6, "replicas": 3, "layout": layout}
    plan = plan_from_mapping({"candidates": [{"plan": software | place}]}, load_catalog())
    assert (plan.layout.tp, plan.replicas, plan.n_devices) == (2, 3, 6)
