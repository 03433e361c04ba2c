"""The same probe on every node or GPU of a Ray cluster. Ray is optional: `pip install .[cluster]`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from advisor.catalog import Catalog, load_catalog
from advisor.catalog.errors import FathomError, InputError, NotHereError, UnsupportedError
from advisor.catalog.units import format_bytes
from probes.codec import decode, encode
from probes.device_lock import DeviceLock
from probes.foresee import foresee
from probes.machine import detect
from probes.machine_records import Machine
from probes.need import memory_limit
from probes.place import with_own
from probes.process import Identity, ProbeProcess, new_probe_id
from probes.result import ProbeResult, State
from probes.spec import ProbeSpec
from probes.store import Store
from probes.store_place import default_path

__all__ = ["NodeOutcome", "devices_here", "measure_here", "probe_fleet"]

Learn = Callable[[Catalog, Sequence[ProbeResult], Machine], Catalog]
START_TIMEOUT_S = 60.0  # a node that does not even answer within this is reported


@dataclass(frozen=True, slots=True)
class NodeOutcome:
    """One row of the fleet: a result, or one line on why there is none."""

    node: str
    device: str
    result: ProbeResult | None
    error: str = ""


def probe_fleet(
    spec: ProbeSpec, address: str, results: Sequence[ProbeResult] = (), learn: Learn | None = None
) -> Iterator[NodeOutcome]:
    """Outcomes as they come, one per device of `spec`'s kind on each node that is alive.

    `results`: earlier measurements of any machine, newest first; each node foresees with its own and with the
    catalogue that `learn` makes of them. A node that dies, or whose answer cannot be read (another version), becomes an
    outcome with an error; the others continue. Raises UnsupportedError without Ray and InputError when the cluster
    cannot be reached.
    """
    ray = _connect(address)
    try:
        yield from _gather(ray, spec, results, learn)
    finally:
        ray.shutdown()


def measure_here(spec_json: str, results_json: str = "[]", learn: Learn | None = None) -> str:
    """What runs on the node: a prediction, then the usual isolated child process; returns the result as JSON.

    Waits for the device as long as a probe may last: another probe of this machine, or of another node on it.
    """
    spec, machine = decode(ProbeSpec, json.loads(spec_json), where="fleet spec"), detect()
    if spec.device == "cpu":
        spec = replace(spec, memory_limit_bytes=memory_limit())
    given = [decode(ProbeResult, item, where="fleet results") for item in json.loads(results_json)]
    mine = _earlier(given, machine)
    catalog = load_catalog() if learn is None or not mine else learn(load_catalog(), mine, machine)
    try:
        foreseen = foresee(spec, machine, with_own(catalog, spec), mine)
    except NotHereError as problem:
        who = Identity(new_probe_id(), machine.fingerprint, machine.name)
        return json.dumps(encode(_refused(spec, who, str(problem))))
    spec = foreseen.runs or spec
    identity = Identity(new_probe_id(), machine.fingerprint, machine.name, foreseen.prediction, foreseen.place)
    if foreseen.refused is None:
        return json.dumps(encode(_alone(spec, identity)))
    needed, allowed = (format_bytes(size, binary=True) for size in foreseen.refused)
    return json.dumps(encode(_refused(spec, identity, f"needs {needed} with margin, {allowed} may be taken")))


def _alone(spec: ProbeSpec, who: Identity) -> ProbeResult:
    """The probe, with its device locked as by a local one."""
    place = default_path()
    lock = DeviceLock(place.parent if isinstance(place, Path) and spec.endpoint is None else None, spec.device)
    try:
        lock.take(spec.timeout_s)
    except InputError as problem:
        return _refused(spec, who, str(problem))
    result = ProbeProcess(spec, who).result()
    lock.release()
    return result


def fingerprint_here() -> str:
    """Of the node."""
    return detect().fingerprint


def _earlier(given: Sequence[ProbeResult], machine: Machine) -> list[ProbeResult]:
    """Measurements of this machine, newest first: those sent along, and those in its own store."""
    own: Sequence[ProbeResult] = ()
    place = default_path()
    if not isinstance(place, Path) or place.is_file():
        with contextlib.suppress(FathomError):  # a damaged store must not stop a probe
            own = Store(place).history(fingerprint=machine.fingerprint, valid_only=True)
    known = {r.id: r for r in (*given, *own) if r.fingerprint == machine.fingerprint}
    return sorted(known.values(), key=lambda r: r.started_at, reverse=True)


def _refused(spec: ProbeSpec, who: Identity, text: str) -> ProbeResult:
    return ProbeResult(
        who.probe_id, spec, State.REFUSED, who.fingerprint, "", 0.0, who.machine_name, predicted=who.predicted,
        error=text, place=who.place,
    )  # fmt: skip


def devices_here(kind: str) -> list[str]:
    """Devices of a node: cpu, or every accelerator that torch could use."""
    if kind == "cpu":
        return ["cpu"]
    return [a.torch_device for a in detect().accelerators if a.torch_device.startswith(kind)]


def _gather(
    ray: ModuleType, spec: ProbeSpec, results: Sequence[ProbeResult], learn: Learn | None
) -> Iterator[NodeOutcome]:
    pending: dict[Any, tuple[str, str]] = {}
    for node in ray.nodes():
        name = str(node.get("NodeManagerHostname") or node["NodeID"])
        if not node["Alive"]:
            continue
        try:
            listing = _on_node(ray, devices_here, node).remote(spec.device.partition(":")[0])
            devices = ray.get(listing, timeout=START_TIMEOUT_S)
            theirs = _measured_there(ray, node, results)
        except ray.exceptions.RayError as problem:
            yield NodeOutcome(name, spec.device, None, _one_line(problem))
            continue
        for device in devices:
            text = json.dumps(encode(replace(spec, device=device)))
            pending[_on_node(ray, measure_here, node).remote(text, theirs, learn)] = (name, device)
    yield from _collect(ray, pending)


def _measured_there(ray: ModuleType, node: Mapping[str, Any], results: Sequence[ProbeResult]) -> str:
    if not results:
        return "[]"
    name = ray.get(_on_node(ray, fingerprint_here, node).remote(), timeout=START_TIMEOUT_S)
    return json.dumps([encode(result) for result in results if result.fingerprint == name])


def _collect(ray: ModuleType, pending: dict[Any, tuple[str, str]]) -> Iterator[NodeOutcome]:
    while pending:
        ready, _ = ray.wait(list(pending), num_returns=1)
        for reference in ready:
            name, device = pending.pop(reference)
            try:
                result = decode(ProbeResult, json.loads(ray.get(reference)), where=f"result of {name}")
            except (ray.exceptions.RayError, ValueError, TypeError, FathomError) as problem:
                yield NodeOutcome(name, device, None, _one_line(problem))  # TypeError: no text at all
                continue
            yield NodeOutcome(name, device, result, result.error)


def _on_node(ray: ModuleType, function: Any, node: Mapping[str, Any]) -> Any:
    """The function, bound to one node; never retried elsewhere, because it measures that node."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(function).options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)


def _connect(address: str) -> ModuleType:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as problem:
        raise UnsupportedError("probing a fleet needs Ray: pip install 'fathom-advisor[cluster]'") from problem
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as problem:
        raise InputError("fleet", "the address of a Ray cluster that answers", f"{address}: {problem}") from problem
    return ray


def _one_line(problem: BaseException) -> str:
    text = str(problem).strip().splitlines()
    return (text[0] if text else type(problem).__name__)[:300]
