"""`advisor simulate`: requests on replicas, step by step."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from advisor.catalog.errors import DataError, InputError
from advisor.catalog.text import translate
from advisor.serving.engines import PRESETS, preset
from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.importers import ImportedTrace, import_trace
from advisor.serving.result import SimulationResult
from advisor.serving.simulate import simulate_fleet
from advisor.serving.step_costs import StepCosts, read_step_costs

__all__ = ["HELP", "add_arguments", "run", "simulate_trace"]

HELP = "Simulate requests on a plan, or on explicit step costs."
_LATENCIES = ("ttft_ms", "tpot_ms", "e2e_ms")
_COUNTS = ("requests", "served", "rejected", "timed_out", "preemptions", "steps")
_RATES = ("output_tok_s", "input_tok_s", "goodput_req_s", "requests_per_cpu_s", "in_slo_share", "utilisation")
_FIGURES = (*_COUNTS, *_RATES, "mean_running", "peak_cache_use", "makespan_s", "replica_hours", "cpu_s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--step-model", type=Path, metavar="FILE.json", help="step costs of one engine")
    parser.add_argument("--entry", help="which model of a step-cost file that holds several")
    parser.add_argument(
        "--requests", type=Path, metavar="FILE.csv", help="arrival_s,input_tokens,output_tokens[,prefix_hit_tokens]"
    )
    parser.add_argument("--plan", type=Path, metavar="FILE", help="a plan in YAML or JSON")
    parser.add_argument("--workload", metavar="FILE|ID", help="traffic: a YAML file, a trace, or a built-in id")
    parser.add_argument(
        "--engine", choices=sorted(PRESETS), help="scheduling rules (default: vllm, or the plan's engine)"
    )
    parser.add_argument("--replicas", type=int, default=None)
    parser.add_argument("--router", choices=[str(r) for r in Router], default=str(Router.TWO_CHOICES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    if arguments.step_model and arguments.requests:
        costs, trace = read_step_costs(arguments.step_model, arguments.entry), import_trace(arguments.requests)
        _refuse_larger_than_cache(costs, trace, arguments.requests.name)
        result, fleet = simulate_trace(costs, trace, arguments)
        notes = [translate("en", f"serving.note.{note.key}", **note.values) for note in trace.notes]
        _write(result, fleet, notes, as_json=arguments.json)
        return 0
    raise InputError("arguments", "--step-model with --requests, or --plan with --workload", "neither pair")


def simulate_trace(
    costs: StepCosts, trace: ImportedTrace, arguments: argparse.Namespace
) -> tuple[SimulationResult, Fleet]:
    options = preset(arguments.engine or "vllm")
    pool = Pool("main", costs, arguments.replicas or 1, options)
    fleet = Fleet((pool,), Router(arguments.router))
    return simulate_fleet(fleet, trace.table, seed=arguments.seed), fleet


def _refuse_larger_than_cache(costs: StepCosts, trace: ImportedTrace, file: str) -> None:
    """One such request would block an engine for ever."""
    tokens = trace.table.input_tokens + trace.table.output_tokens
    bad = tokens > costs.kvcap_tokens
    if bad.any():
        row = int(np.argmax(bad))
        expected = f"at most {costs.kvcap_tokens:,} tokens, the cache of one engine (kvcap_tokens)"
        raise DataError(file, f"row {row + 1}", "input_tokens + output_tokens", expected, f"{tokens[row]:,}")


def _write(result: SimulationResult, fleet: Fleet, notes: list[str], *, as_json: bool) -> None:
    if as_json:
        json.dump(_as_json(result, fleet, notes), sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    lines = [_text("title", requests=result.requests, replicas=fleet.replicas, served=result.served)]
    lines.append(_text("header", name="ms", mean="mean", p50="p50", p90="p90", p95="p95", p99="p99"))
    for name in _LATENCIES:
        figures = getattr(result, name)
        values = {key: getattr(figures, key) for key in ("mean", "p50", "p90", "p95", "p99")}
        lines.append(_text("latency", name=name.removesuffix("_ms").upper(), **values))
    rates = {key: getattr(result, key) for key in ("output_tok_s", "makespan_s", "preemptions", "utilisation")}
    lines.append(_text("rates", **rates))
    lines.append(_text("speed", requests_per_cpu_s=result.requests_per_cpu_s))
    sys.stdout.write("\n".join([*lines, *notes]) + "\n")


def _text(key: str, **values: object) -> str:
    return translate("en", f"serving.cli.{key}", **values)


def _as_json(result: SimulationResult, fleet: Fleet, notes: list[str]) -> dict[str, Any]:
    return {
        **{name: getattr(result, name).as_json() for name in _LATENCIES},
        **{name: getattr(result, name) for name in _FIGURES},
        "replicas": fleet.replicas,
        "notes": notes,
    }
