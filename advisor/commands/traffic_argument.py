"""What `--workload` may name: a built-in workload, a YAML file, a trace, or a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from advisor.catalog import Catalog
from advisor.catalog.errors import UnknownIdError
from advisor.catalog.text import translate
from advisor.decision.scenarios import find_scenario, load_scenarios
from advisor.decision.simulated_traffic import scenario_workload
from advisor.serving.importers import import_trace
from advisor.serving.library import load_workloads, read_workload, workload
from advisor.serving.sampling import sample
from advisor.serving.trace_workload import workload_of_trace
from advisor.serving.workload import RequestTable, Workload

__all__ = ["find_traffic"]

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
