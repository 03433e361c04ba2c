"""Many capacity searches: in this process, in local processes, or on a Ray cluster whose address the user gives.

The answers do not depend on where they were computed. Never start a cluster inside a page run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any

from advisor.catalog.errors import UnsupportedError
from advisor.serving.capacity import find_replicas
from advisor.serving.engines import PRESETS, EngineOptions
from advisor.serving.fleet import Router
from advisor.serving.limits import Limit
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import Slo, Workload

__all__ = ["SweepRow", "SweepTask", "sweep"]


@dataclass(frozen=True, slots=True)
class SweepTask:
    """One search; `key` names it in the answer."""

    key: str
    costs: StepCosts
    workload: Workload
    slo: Slo
    options: EngineOptions = PRESETS["vllm"]
    router: Router = Router.TWO_CHOICES
    seeds: tuple[int, ...] = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class SweepRow:
    """What a table of many searches shows; plain figures, the same wherever they were computed."""

    key: str
    feasible: bool
    replicas: int
    safe_replicas: int
    binding: Limit
    load: float
    ttft_ms: float
    tpot_ms: float
    e2e_ms: float
    closed_form_replicas: float


def sweep(
    tasks: Sequence[SweepTask],
    *,
    workers: int | None = None,
    ray_address: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[SweepRow]:
    """Rows in the order of the tasks. `workers` 0: in this process; None: one per processor, at most eight.

    Raises UnsupportedError if an address is given and Ray is not installed.
    """
    found: dict[int, SweepRow] = {}
    for index, row in _answers(tasks, workers, ray_address):
        found[index] = row
        if progress:
            progress(len(found) / len(tasks))
    return [found[index] for index in range(len(tasks))]


def _answers(
    tasks: Sequence[SweepTask], workers: int | None, ray_address: str | None
) -> Iterator[tuple[int, SweepRow]]:
    if ray_address is not None:
        return _on_cluster(tasks, ray_address)
    count = min(os.cpu_count() or 1, 8) if workers is None else workers
    if count <= 1 or len(tasks) <= 1:
        return ((index, _solve(task)) for index, task in enumerate(tasks))
    return _in_processes(tasks, min(count, len(tasks)))


def _solve(task: SweepTask) -> SweepRow:
    answer = find_replicas(
        task.costs, task.workload, task.slo, options=task.options, router=task.router, seeds=task.seeds
    )
    window = answer.trial.window if answer.trial else answer.floor
    return SweepRow(
        key=task.key,
        feasible=answer.feasible,
        replicas=answer.replicas,
        safe_replicas=answer.safe_replicas,
        binding=answer.binding,
        load=answer.load,
        ttft_ms=window.ttft_ms,
        tpot_ms=window.tpot_ms,
        e2e_ms=window.e2e_ms,
        closed_form_replicas=answer.closed_form_replicas,
    )


def _in_processes(tasks: Sequence[SweepTask], workers: int) -> Iterator[tuple[int, SweepRow]]:
    """Spawned, not forked: the caller may have threads."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures: dict[Future[SweepRow], int] = {pool.submit(_solve, task): i for i, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _on_cluster(tasks: Sequence[SweepTask], address: str) -> Iterator[tuple[int, SweepRow]]:
    if find_spec("ray") is None:
        raise UnsupportedError("a sweep on a cluster needs Ray: install the extra 'cluster' (fathom-advisor[cluster])")
    ray: Any = import_module("ray")
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    solve = ray.remote(num_cpus=1, max_retries=1)(_solve)
    waiting = {solve.remote(task): index for index, task in enumerate(tasks)}
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        for reference in done:
            yield waiting.pop(reference), ray.get(reference)
