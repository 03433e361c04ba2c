"""A simulation's answer as JSON and as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from advisor.catalog.text import translate
from advisor.serving.capacity import CapacityAnswer
from advisor.serving.fleet import Fleet
from advisor.serving.result import SimulationResult
from advisor.serving.trial import Window

__all__ = ["LATENCIES", "as_text", "capacity_json", "simulation_json"]

LATENCIES = ("ttft_ms", "tpot_ms", "e2e_ms")
_COUNTS = ("requests", "served", "rejected", "timed_out", "preemptions", "steps")
_RATES = ("output_tok_s", "input_tok_s", "goodput_req_s", "requests_per_cpu_s", "in_slo_share", "utilisation")
_FIGURES = (*_COUNTS, *_RATES, "mean_running", "peak_cache_use", "makespan_s", "replica_hours", "cpu_s")
_PERCENTILES = ("mean", "p50", "p90", "p95", "p99")


def simulation_json(result: SimulationResult, fleet: Fleet, notes: list[str]) -> dict[str, Any]:
    """The contract of `advisor simulate --json`: milliseconds by percentile, counts, rates."""
    return {
        **{name: getattr(result, name).as_json() for name in LATENCIES},
        **{name: getattr(result, name) for name in _FIGURES},
        "replicas": fleet.replicas,
        "notes": notes,
    }


def capacity_json(answer: CapacityAnswer) -> dict[str, Any]:
    window = answer.trial.window if answer.trial else None
    return {
        "feasible": answer.feasible,
        "replicas": answer.replicas,
        "safe_replicas": answer.safe_replicas,
        "at_step_factor": {str(factor): n for factor, n in answer.at_step_factor.items()},
        "binding": str(answer.binding),
        "next_binding": str(answer.next_binding) if answer.next_binding else None,
        "load": None if math.isinf(answer.load) else answer.load,
        "keeps_up_req_s_per_replica": answer.keeps_up_req_s,
        "closed_form_replicas": answer.closed_form_replicas,
        "agrees_with_closed_form": answer.agrees_with_closed_form,
        "idle_replica_ms": _window(answer.floor),
        "at_replicas_ms": _window(window) if window else None,
        "runs": answer.runs,
    }


def _window(window: Window) -> dict[str, float]:
    return {"ttft": window.ttft_ms, "tpot": window.tpot_ms, "e2e": window.e2e_ms}


def as_text(answer: Mapping[str, Any]) -> str:
    """For people."""
    if "ttft_ms" in answer:
        return _simulation_text(answer)
    if "replicas" in answer:
        key = "capacity" if answer["feasible"] else "infeasible"
        limit = translate("en", f"serving.limit.{answer['binding']}")
        return _text(key, limit=limit, **{k: answer[k] for k in ("replicas", "safe_replicas", "runs")})
    return _text("does_not_fit", shortfall_gib=answer["shortfall_bytes"] / 2**30)


def _simulation_text(answer: Mapping[str, Any]) -> str:
    lines = [_text("title", **{key: answer[key] for key in ("requests", "replicas", "served")})]
    lines.append(_text("header", name="ms", **{key: key for key in _PERCENTILES}))
    for name in LATENCIES:
        figures = {key: math.nan if value is None else value for key, value in answer[name].items()}
        lines.append(_text("latency", name=name.removesuffix("_ms").upper(), **figures))
    rates = ("output_tok_s", "makespan_s", "preemptions", "utilisation")
    lines.append(_text("rates", **{key: answer[key] for key in rates}))
    lines.append(_text("speed", requests_per_cpu_s=answer["requests_per_cpu_s"]))
    return "\n".join([*lines, *answer["notes"]])


def _text(key: str, **values: object) -> str:
    return translate("en", f"serving.cli.{key}", **values)
