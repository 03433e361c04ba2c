"""`advisor simulate`: requests on replicas, step by step."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor.catalog.errors import DataError, InputError
from advisor.catalog.text import translate
from advisor.commands.engine_arguments import add_engine_arguments, with_limits
from advisor.commands.plan_file import plan_from_file
from advisor.commands.simulate_cheapest import add_cheapest_arguments, run_cheapest
from advisor.commands.simulate_output import LATENCIES, as_text, capacity_json, simulation_json
from advisor.commands.traffic_argument import find_traffic
from advisor.evidence.in_force import known_catalog
from advisor.serving.capacity import STEP_FACTORS, find_replicas
from advisor.serving.engines import EngineOptions, preset
from advisor.serving.fleet import Fleet, Pool, Router
from advisor.serving.importers import Note, import_trace
from advisor.serving.plan_costs import ServingPlan, serving_plan
from advisor.serving.simulate import simulate_fleet
from advisor.serving.step_costs import StepCosts, read_step_costs
from advisor.serving.workload import RequestTable, Slo, Workload
from advisor.sizing.plan import Sizing

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Simulate requests on a plan, or on explicit step costs."
NOTHING_FITS = 3
STEP_MODEL = """The step model is a JSON object; a file with several, by name, needs --entry. Seconds and tokens:
  ntok, step_s            tokens in the batch, and what a step with so many takes without attention to cached tokens;
                          linear between the rows. All-reduce and all-to-all of tensor and expert parallelism are in it
  cdec, cmix              per cached token read by decodes: in steps that only decode, in steps that prefill too
  cpre, cmin              per query token times context token of a prompt's chunk, of at least cmin query tokens
  kvcap_tokens            tokens that the cache holds
  max_num_seqs, max_num_batched_tokens            seats, and tokens of one step
  dp (1)                  data-parallel ranks in lock step. Everything above is that of one rank: every step takes as
                          long as the rank with the longest, also for ranks without work; a request goes to the rank
                          with the least 4 x waiting + running, as vLLM chooses
Other keys (tp, ep, note) are not read. --replicas N: so many engines, each of dp ranks.

The requests are arrival_s,input_tokens,output_tokens[,prefix_hit_tokens], or a trace of Azure, BurstGPT or Mooncake."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = STEP_MODEL, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--step-model", type=Path, metavar="FILE.json", help="step costs of one engine")
    parser.add_argument("--entry", help="which model of a step-cost file that holds several")
    parser.add_argument(
        "--requests", type=Path, metavar="FILE.csv", help="arrival_s,input_tokens,output_tokens[,prefix_hit_tokens]"
    )
    parser.add_argument("--plan", type=Path, metavar="FILE", help="a plan in YAML or JSON")
    parser.add_argument("--workload", metavar="FILE|ID", help="traffic: a YAML file, a trace, or a built-in id")
    parser.add_argument(
        "--measured", metavar="ID|latest", help="a stored sustained run of this machine: simulate the same requests"
    )
    add_engine_arguments(parser)
    parser.add_argument("--replicas", type=int, default=None)
    parser.add_argument("--router", choices=[str(r) for r in Router], default=str(Router.TWO_CHOICES))
    parser.add_argument("--limit", type=int, default=20_000, metavar="N", help="requests to draw from a workload")
    parser.add_argument("--capacity", action="store_true", help="find the fewest replicas that meet the limits below")
    for name in ("ttft", "tpot", "e2e"):
        parser.add_argument(f"--{name}-ms", type=float, default=None, metavar="MS")
    parser.add_argument("--percentile", type=float, default=95.0, help="of the limits (default 95)")
    add_cheapest_arguments(parser)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    """0 answered, 3 the plan does not fit or no number of replicas meets the limits."""
    if arguments.step_model and arguments.requests:
        costs, trace = read_step_costs(arguments.step_model, arguments.entry), import_trace(arguments.requests)
        _refuse_larger_than_cache(costs, trace.table, arguments.requests.name)
        fleet = _fleet(arguments, costs, with_limits(arguments, preset(arguments.engine or "vllm")), 1)
        result = simulate_fleet(fleet, trace.table, seed=arguments.seed)
        _write(arguments, simulation_json(result, fleet, _told(trace.notes)))
        return 0
    if arguments.plan and arguments.workload:
        return run_plan(arguments)
    if arguments.scenario:
        return run_cheapest(arguments)
    if arguments.measured:
        return _measured(arguments)
    ways = "--step-model with --requests, --plan with --workload, --scenario, or --measured"
    raise InputError("arguments", ways, "none of them")


def _measured(arguments: argparse.Namespace) -> int:
    from advisor.commands.simulate_measured import run_measured  # the store of measurements takes half a second to load

    return run_measured(arguments.measured, as_json=arguments.json)


def run_plan(arguments: argparse.Namespace) -> int:
    """A catalogue plan under a workload, a trace, or the traffic of a scenario."""
    catalog = known_catalog()
    plan = plan_from_file(arguments.plan, catalog)
    traffic, table, notes = find_traffic(arguments.workload, catalog, arguments.limit, arguments.seed)
    serving = serving_plan(plan, traffic, catalog)
    about = {"plan": plan.id, "workload": traffic.id, "fits": serving.sizing.fits, "basis": _basis(serving.sizing)}
    if serving.costs is None:
        short = serving.sizing.shortfall_bytes
        _write(arguments, about | {"binding": str(serving.sizing.binding), "shortfall_bytes": short})
        return NOTHING_FITS
    options = with_limits(arguments, preset(arguments.engine) if arguments.engine else serving.options)
    if arguments.capacity:
        return _write_capacity(arguments, replace(serving, options=options), traffic, about)
    _refuse_larger_than_cache(serving.costs, table, traffic.id)
    longest = plan.variant.architecture.max_context_tokens
    if longest:
        _refuse_larger(table, longest, f"the context of {plan.variant.name}", traffic.id)
    runs = {}
    for factor in STEP_FACTORS:
        fleet = _fleet(arguments, serving.costs.scaled(factor), options, plan.replicas)
        runs[factor] = simulate_fleet(fleet, table, seed=arguments.seed, slos=tuple(c.slo for c in traffic.classes))
    answer = simulation_json(runs[1.0], fleet, notes)
    answer["at_step_factor"] = {str(f): {n: getattr(r, n).as_json() for n in LATENCIES} for f, r in runs.items()}
    _write(arguments, about | answer)
    return 0


def _write_capacity(
    arguments: argparse.Namespace, serving: ServingPlan, traffic: Workload, about: dict[str, Any]
) -> int:
    limits = Slo(arguments.ttft_ms, arguments.tpot_ms, arguments.e2e_ms, arguments.percentile)
    if not limits.is_empty:
        traffic = replace(traffic, classes=tuple(replace(c, slo=limits) for c in traffic.classes))
    costs = serving.costs
    if costs is None:
        return NOTHING_FITS
    answer = find_replicas(costs, traffic, limits, options=serving.options, step_shares=serving.step_shares)
    _write(arguments, about | capacity_json(answer))
    return 0 if answer.feasible else NOTHING_FITS


def _fleet(arguments: argparse.Namespace, costs: StepCosts, options: EngineOptions, replicas: int) -> Fleet:
    return Fleet((Pool("main", costs, arguments.replicas or replicas, options),), Router(arguments.router))


def _basis(sizing: Sizing) -> str:
    return str(sizing.tpot_ms.basis)


def _refuse_larger_than_cache(costs: StepCosts, table: RequestTable, file: str) -> None:
    """One such request would block an engine for ever."""
    _refuse_larger(table, costs.kvcap_tokens, "the cache of one engine (kvcap_tokens)", file)


def _refuse_larger(table: RequestTable, most: int, what: str, file: str) -> None:
    tokens = table.input_tokens + table.output_tokens
    bad = tokens > most
    if bad.any():
        row = int(np.argmax(bad))
        expected = f"at most {most:,} tokens, {what}"
        raise DataError(file, f"row {row + 1}", "input_tokens + output_tokens", expected, f"{tokens[row]:,}")


def _told(notes: tuple[Note, ...]) -> list[str]:
    return [translate("en", f"serving.note.{note.key}", **note.values) for note in notes]


def _write(arguments: argparse.Namespace, answer: dict[str, Any]) -> None:
    text = json.dumps(answer, indent=1) if arguments.json else as_text(answer)
    sys.stdout.write(text + "\n")
