"""`advisor simulate --scenario`: the cheapest plan by simulation, as JSON and as text."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any

from advisor.catalog.quantity import Quantity
from advisor.catalog.text import translate
from advisor.decision.as_json import plan_json
from advisor.decision.cheapest import Finalist, cheapest_plans
from advisor.decision.scenarios import find_scenario
from advisor.evidence.in_force import known_catalog

__all__ = ["add_cheapest_arguments", "run_cheapest"]

_NOTHING_FITS = 3


def add_cheapest_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenario", metavar="FILE|ID", help="find the cheapest plan for a scenario: its cheapest plans are simulated"
    )
    parser.add_argument("--finalists", type=int, default=8, metavar="N", help="plans to simulate (default 8)")
    parser.add_argument("--workers", type=int, default=None, metavar="N", help="local processes; 0: none beside this")
    parser.add_argument("--ray-address", metavar="ADDRESS", help="simulate on a running Ray cluster (extra 'cluster')")


def run_cheapest(arguments: argparse.Namespace) -> int:
    """0 answered, 3 no plan meets the scenario's limits. Progress goes to standard error where that is a terminal."""
    catalog = known_catalog()

    def progress(share: float) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{100 * share:3.0f} %" + ("\n" if share >= 1 else ""))

    found = cheapest_plans(
        find_scenario(arguments.scenario, catalog),
        catalog,
        most=arguments.finalists,
        workers=arguments.workers,
        ray_address=arguments.ray_address,
        progress=progress,
    )
    if arguments.json:
        text = json.dumps({"scenario": arguments.scenario, "finalists": [_json(f) for f in found]}, indent=1)
    else:
        text = "\n".join(_line(f) for f in found) or translate("en", "serving.cli.no_finalist")
    sys.stdout.write(text + "\n")
    return 0 if any(f.feasible for f in found) else _NOTHING_FITS


def _json(finalist: Finalist) -> dict[str, Any]:
    row, candidate = finalist.row, finalist.candidate
    answer: dict[str, Any] = {
        "plan": plan_json(candidate.plan),
        "feasible": finalist.feasible,
        "ranked_replicas": candidate.replicas,
        "agrees_with_ranking": finalist.agrees,
        "monthly_usd": _quantity(finalist.monthly_usd),
        "capital_usd": _quantity(finalist.capital_usd),
        "power_w": _quantity(finalist.power_w),
    }
    if row is None:
        return answer
    return answer | {
        "replicas": row.replicas,
        "safe_replicas": row.safe_replicas,
        "at_step_factor": {str(factor): count for factor, count in row.at_step_factor},
        "load": None if math.isinf(row.load) else row.load,
        "binding": str(row.binding),
        "next_binding": str(row.next_binding) if row.next_binding else None,
        "ttft_ms": row.ttft_ms if row.ttft_is_quotable else None,
        "tpot_ms": row.tpot_ms,
        "e2e_ms": row.e2e_ms,
    }


def _quantity(quantity: Quantity | None) -> dict[str, float | str] | None:
    if quantity is None:
        return None
    return {"value": quantity.value, "low": quantity.low, "high": quantity.high, "basis": str(quantity.basis)}


def _line(finalist: Finalist) -> str:
    row, plan = finalist.row, finalist.candidate.plan.id.rpartition("|")[0]
    if row is None or not row.feasible:
        limit = translate("en", f"serving.limit.{row.binding if row else 'cache'}")
        return translate("en", "serving.cli.finalist_fails", plan=plan, limit=limit)
    monthly = finalist.monthly_usd
    cost = "–" if monthly is None else f"{monthly.value:,.0f} ({monthly.low:,.0f}–{monthly.high:,.0f})"
    return translate(
        "en",
        "serving.cli.finalist",
        plan=plan,
        replicas=row.replicas,
        extra=row.safe_replicas - row.replicas,
        ranked=finalist.candidate.replicas,
        cost=cost,
        limit=translate("en", f"serving.limit.{row.binding}"),
    )
