"""What `--workload` may name: a built-in workload, a YAML file, a trace, or a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from advisor.catalog import Catalog
from advisor.catalog.errors import UnknownIdError
from advisor.catalog.text import translate
from advisor.decision.scenario import Scenario
from advisor.decision.scenarios import find_scenario, load_scenarios
from advisor.serving.importers import import_trace
from advisor.serving.library import load_workloads, read_workload, workload
from advisor.serving.needs import workload_from_figures
from advisor.serving.sampling import sample
from advisor.serving.trace_workload import workload_of_trace
from advisor.serving.workload import RequestTable, Slo, Workload

__all__ = ["find_traffic", "scenario_workload"]

_TRACES = (".csv", ".jsonl")


def find_traffic(words: str, catalog: Catalog, limit: int, seed: int) -> tuple[Workload, RequestTable, list[str]]:
    """The workload, requests drawn from it (or those of the trace), and what to tell about them."""
    path = Path(words)
    if path.suffix in _TRACES:
        trace = import_trace(path)
        notes = [translate("en", f"serving.note.{note.key}", **note.values) for note in trace.notes]
        return workload_of_trace(trace.table, path.stem), trace.table, notes
    if path.is_file():
        traffic = read_workload(path)
    elif words in load_workloads():
        traffic = workload(words)
    else:
        known: Mapping[str, object] = {**load_workloads(), **load_scenarios(catalog)}
        if words not in known:
            raise UnknownIdError("workload or scenario", words, known)
        traffic = scenario_workload(find_scenario(words, catalog))
    return traffic, sample(traffic, limit, seed), []


def scenario_workload(scenario: Scenario, *, fixed_lengths: bool = True) -> Workload:
    """The peak traffic of a scenario after growth; lengths as stated, or spread as in real conversations."""
    users = scenario.closed_loop_users
    traffic = workload_from_figures(
        input_tokens=scenario.input_tokens,
        output_tokens=scenario.output_tokens,
        reasoning_tokens=scenario.reasoning_tokens,
        cached_input_tokens=scenario.cached_input_tokens,
        rate_per_s=scenario.arrivals_per_s if users is None else None,
        users=None if users is None else max(1, round(users)),
        think_s=0.0 if scenario.concurrency is not None else scenario.think_time_s,
        context_tokens=scenario.context_tokens,
        slo=Slo(scenario.ttft_ms, scenario.tpot_ms, scenario.e2e_ms, scenario.percentile),
        fixed_lengths=fixed_lengths,
    )
    return replace(traffic, id=scenario.id, name=scenario.name.en, name_zh=scenario.name.zh)
