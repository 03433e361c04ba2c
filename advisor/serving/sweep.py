"""Many capacity searches: in this process, in local processes, or on a Ray cluster whose address the user gives.

The answers do not depend on where they were computed. Nothing here starts a cluster: Ray must run at the address, with
this package installed on its nodes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from typing import Any

from advisor.catalog.errors import FathomError, UnsupportedError
from advisor.serving.capacity import CancelledError, find_replicas
from advisor.serving.engines import PRESETS, EngineOptions
from advisor.serving.fleet import Router
from advisor.serving.limits import Limit
from advisor.serving.step_costs import StepCosts
from advisor.serving.workload import Slo, Workload

__all__ = ["SweepRow", "SweepTask", "sweep"]

_PATIENCE_S = 5.0


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
    shares: tuple[tuple[str, float], ...] = ()  # of a decode step's time, by resource


@dataclass(frozen=True, slots=True)
class SweepRow:
    """What a table of many searches shows; plain figures, the same wherever they were computed."""

    key: str
    feasible: bool
    replicas: int
    safe_replicas: int
    binding: Limit
    load: float
    ttft_ms: float  # at the limits' percentile, as the others; of an idle replica where nothing is feasible
    tpot_ms: float
    e2e_ms: float
    closed_form_replicas: float
    next_binding: Limit | None = None
    at_step_factor: tuple[tuple[float, int], ...] = ()
    ttft_is_quotable: bool = True


def sweep(
    tasks: Sequence[SweepTask],
    *,
    workers: int | None = None,
    ray_address: str | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[SweepRow]:
    """Rows in the order of the tasks. `workers` 0: in this process; None: one per processor, at most eight.

    Raises UnsupportedError if an address is given and Ray is not installed or not there, and CancelledError when
    `cancelled()` says so after one of the searches.
    """
    found: dict[int, SweepRow] = {}
    for index, row in _answers(tasks, workers, ray_address):
        found[index] = row
        if progress:
            progress(len(found) / len(tasks))
        if cancelled and cancelled():
            raise CancelledError
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
        task.costs,
        task.workload,
        task.slo,
        options=task.options,
        router=task.router,
        seeds=task.seeds,
        step_shares=dict(task.shares),
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
        next_binding=answer.next_binding,
        at_step_factor=tuple(sorted(answer.at_step_factor.items())),
        ttft_is_quotable=answer.trial.result.ttft_is_quotable if answer.trial else True,
    )


def _in_processes(tasks: Sequence[SweepTask], workers: int) -> Iterator[tuple[int, SweepRow]]:
    """Spawned, not forked: the caller may have threads."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures: dict[Future[SweepRow], int] = {pool.submit(_solve, task): i for i, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _refuse_silent(address: str) -> None:
    """Ray itself tries for minutes to reach an address at which nobody listens."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # such as "auto": Ray looks for a cluster on this machine, and says at once that there is none
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as problem:
        raise UnsupportedError(f"no Ray cluster answers at '{address}' ({problem})") from problem


def _answer_of(ray: Any, reference: object, task: SweepTask) -> SweepRow:
    """What a node has found. A node that dies is replaced once by another; then it is said which search was lost."""
    try:
        row: SweepRow = ray.get(reference)
    except FathomError:  # of the search itself
        raise
    except ray.exceptions.RayError as problem:
        why = f"{type(problem).__name__}: {str(problem).strip().partition(chr(10))[0]}"
        raise UnsupportedError(f"the Ray cluster lost the search '{task.key}' ({why})") from problem
    return row


def _on_cluster(tasks: Sequence[SweepTask], address: str) -> Iterator[tuple[int, SweepRow]]:
    if find_spec("ray") is None:
        raise UnsupportedError("a sweep on a cluster needs Ray: install the extra 'cluster' (fathom-advisor[cluster])")
    _refuse_silent(address)
    ray: Any = import_module("ray")
    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as problem:
            raise UnsupportedError(f"no Ray cluster answers at '{address}': {problem}") from problem
    try:
        solve = ray.remote(num_cpus=1, max_retries=1, scheduling_strategy="SPREAD")(_solve)
        waiting = {solve.remote(task): index for index, task in enumerate(tasks)}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            for reference in done:
                index = waiting.pop(reference)
                yield index, _answer_of(ray, reference, tasks[index])
    finally:
        if mine:
            ray.shutdown()
