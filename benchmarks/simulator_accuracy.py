"""The simulator against real vLLM 0.19 runs: `python benchmarks/simulator_accuracy.py FOLDER_OF_TRACES`.

Twice: with the step costs published beside the runs, and with Fathom's own step model of the same plan. Nothing is
fitted to the runs. Prints simulated over measured - 1 for TTFT, TPOT and end-to-end time.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from advisor.catalog import load_catalog
from advisor.commands.plan_file import plan_from_mapping
from advisor.serving.importers import import_trace
from advisor.serving.plan_costs import serving_plan
from advisor.serving.simulate import simulate
from advisor.serving.step_costs import read_step_costs
from advisor.serving.trace_workload import workload_of_trace

RUNS = {"rtx4090_llama-3.1-8b": "rtx-4090", "rtxpro6000_llama-3.1-8b": "rtx-pro-6000"}


def measured(path):
    run = np.genfromtxt(path, delimiter=",", names=True)
    return {
        "TTFT": run["first_token_s"] - run["arrival_s"],
        "TPOT": (run["last_token_s"] - run["first_token_s"]) / (run["output_tokens"] - 1),
        "E2E": run["last_token_s"] - run["arrival_s"],
    }


def report(name, result, truth):
    found = {"TTFT": result.ttft_ms, "TPOT": result.tpot_ms, "E2E": result.e2e_ms}
    cells = []
    for metric, seconds in truth.items():
        ms = seconds * 1e3
        mean, p99 = found[metric].mean / ms.mean() - 1, found[metric].p99 / np.percentile(ms, 99) - 1
        cells.append(f"{metric} mean {mean:+6.1%} p99 {p99:+6.1%}")
    print(f"{name:<52}{'   '.join(cells)}   preemptions {result.preemptions}")


def covered(costs, step, table, truth):
    """Do the ends of the step model's 90 % interval, taken for every step, enclose what was measured?"""
    ends = [simulate(costs.scaled(end / step.value), table) for end in (step.low, step.high)]
    cells = []
    for metric, seconds in truth.items():
        low, high = (getattr(end, f"{metric.lower()}_ms").mean for end in ends)
        mean = float(seconds.mean()) * 1e3
        word = "inside" if low <= mean <= high else "OUTSIDE"
        cells.append(f"{metric} {mean:,.0f} ms {word} {low:,.0f}..{high:,.0f}")
    factors = f"x{step.low / step.value:.2f}..x{step.high / step.value:.2f}"
    print(f"  mean with every step {factors}: {'   '.join(cells)}")


def main(folder):
    catalog = load_catalog()
    for entry, device in RUNS.items():
        path = folder / f"vllm019_{entry}_measured.csv"
        truth, table = measured(path), import_trace(path).table
        costs = read_step_costs(folder / "vllm019_cost_models.json", entry)
        report(f"{entry}, published costs", simulate(costs, table), truth)
        words = {"model": "llama-3.1-8b", "format": "bf16", "device": device, "engine": "vllm"}
        plan = serving_plan(plan_from_mapping(words, catalog), workload_of_trace(table, entry), catalog)
        own = plan.costs
        report(f"{entry}, Fathom's step model", simulate(own, table), truth)
        # The run's own settings (seats, token budget, cache) leave only the step times to differ.
        settings = ("kvcap_tokens", "max_num_seqs", "max_num_batched_tokens")
        same = replace(own, **{name: getattr(costs, name) for name in settings})
        report(f"{entry}, the same with the run's settings", simulate(same, table), truth)
        covered(same, plan.sizing.tpot_ms, table, truth)
        print(f"  cache {own.kvcap_tokens:,} tokens (run: {costs.kvcap_tokens:,}), seats {own.max_num_seqs}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
