"""Fleets: the flow with a stand-in for Ray, and two real local nodes where Ray is installed."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from advisor.catalog import load_catalog
from advisor.catalog.errors import UnsupportedError
from advisor.catalog.quantity import Basis, Quantity
from advisor.evidence.in_force import with_measurements
from probes.codec import decode, encode
from probes.device_lock import DeviceLock
from probes.fleet import measure_here, probe_fleet
from probes.machine import detect
from probes.result import Measured, ProbeResult, State
from probes.spec import ProbeSpec
from probes.store import Store


class FakeRayError(Exception):
    pass


def fake_ray(nodes: list[dict[str, object]], answers: dict[str, object]) -> ModuleType:
    """Runs nothing: `answers` holds, per node, the result or the error of its measurement."""
    module = ModuleType("ray")
    util, strategies = ModuleType("ray.util"), ModuleType("ray.util.scheduling_strategies")
    strategies.NodeAffinitySchedulingStrategy = lambda node_id, soft: node_id
    util.scheduling_strategies = strategies

    def remote(function):
        def options(scheduling_strategy, **_):
            key = (scheduling_strategy, function.__name__)
            return SimpleNamespace(remote=lambda *_: key)

        return SimpleNamespace(options=options)

    def get(key, timeout=None):
        node, name = key
        answer = {"devices_here": ["cpu"], "fingerprint_here": "f1"}.get(name, answers[node])
        if isinstance(answer, Exception):
            raise answer
        return answer

    module.util, module.remote, module.get = util, remote, get
    module.nodes = lambda: nodes
    module.init = lambda **_: None
    module.shutdown = lambda: None
    module.wait = lambda pending, num_returns: (pending[:1], pending[1:])
    module.exceptions = SimpleNamespace(RayError=FakeRayError)
    return module


def install(monkeypatch, module: ModuleType) -> None:
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setitem(sys.modules, "ray.util", module.util)
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", module.util.scheduling_strategies)


def node(name: str, *, alive: bool = True) -> dict[str, object]:
    return {"NodeID": name, "NodeManagerHostname": name, "Alive": alive}


def test_a_node_that_dies_is_reported_and_the_rest_continue(monkeypatch, spec, result):
    answers = {
        "a": json.dumps(encode(result("ra"))),
        "b": FakeRayError("node died\nlong trace"),
        "c": json.dumps(encode(result("rc"))),
    }
    install(monkeypatch, fake_ray([node("a"), node("b"), node("gone", alive=False), node("c")], answers))
    rows = {row.node: row for row in probe_fleet(spec, "auto")}
    assert set(rows) == {"a", "b", "c"}
    assert (rows["b"].result, rows["b"].error) == (None, "node died")
    assert isinstance(rows["a"].result, ProbeResult)
    assert rows["c"].result.id == "rc"


@pytest.mark.parametrize("answer", ["not JSON", '{"id": "x"}', '{"id": "x", "spec": {"kind": "telepathy"}}', None])
def test_an_answer_that_cannot_be_read_is_reported_and_the_rest_continue(monkeypatch, spec, result, answer):
    answers = {"a": answer, "b": json.dumps(encode(result("rb")))}
    install(monkeypatch, fake_ray([node("a"), node("b")], answers))
    rows = {row.node: row for row in probe_fleet(spec, "auto")}
    assert rows["a"].result is None
    assert rows["a"].error
    assert rows["b"].result.id == "rb"


def test_without_ray_the_extra_is_named(monkeypatch, spec):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UnsupportedError, match="cluster"):
        list(probe_fleet(spec, "auto"))


def test_what_cannot_fit_on_a_node_is_refused_there_with_its_prediction():
    large = load_catalog().variant("deepseek-r1")
    spec = ProbeSpec(large.id, "bf16", large.architecture)
    outcome = decode(ProbeResult, json.loads(measure_here(json.dumps(encode(spec)))), where="test")
    assert outcome.state is State.REFUSED
    assert "with margin" in outcome.error
    assert outcome.predicted.peak_bytes.value > 1e12


def test_a_node_foresees_with_what_was_measured_on_it(result, monkeypatch, tmp_path):
    """Measurements that are sent along and those in its own store; not those of another machine."""
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    large = load_catalog().variant("deepseek-r1")
    spec = ProbeSpec(large.id, "bf16", large.architecture)
    here = detect().fingerprint

    def bandwidth(*results: ProbeResult) -> Quantity:
        answer = measure_here(json.dumps(encode(spec)), json.dumps([encode(r) for r in results]), with_measurements)
        return decode(ProbeResult, json.loads(answer), where="test").predicted.bandwidth_bytes_per_s

    mine = result("mine", fingerprint=here, bandwidth_bytes_per_s=Measured(7e9, 7e9, 7e9, 3))
    other = replace(mine, id="other", fingerprint="elsewhere")
    assert bandwidth(other).basis is Basis.ESTIMATED
    assert (bandwidth(mine, other).value, bandwidth(mine).basis) == (7e9, Basis.CALIBRATED)
    Store().add(replace(mine, id="own", bandwidth_bytes_per_s=Measured(9e9, 9e9, 9e9, 3)))
    assert bandwidth(other).value == 9e9


def test_only_its_own_measurements_are_sent_to_a_node(monkeypatch, spec, result):
    module, sent = fake_ray([node("a")], {"a": json.dumps(encode(result("ra")))}), []
    plain = module.remote

    def remote(function):
        chosen = plain(function)

        def options(**given):
            handle = chosen.options(**given)
            return SimpleNamespace(remote=lambda *words: sent.append((function.__name__, words)) or handle.remote())

        return SimpleNamespace(options=options)

    module.remote = remote
    install(monkeypatch, module)
    list(probe_fleet(spec, "auto", [result("mine"), result("other", fingerprint="f2")]))
    (text,) = [words[1] for name, words in sent if name == "measure_here"]
    assert [item["id"] for item in json.loads(text)] == ["mine"]


def test_a_device_that_is_being_probed_is_not_probed_again(spec, monkeypatch, tmp_path):
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    lock = DeviceLock(tmp_path, "cpu")
    lock.take()
    outcome = decode(ProbeResult, json.loads(measure_here(json.dumps(encode(replace(spec, timeout_s=1.0))))), where="")
    lock.release()
    assert outcome.state is State.REFUSED
    assert "without a running probe" in outcome.error


@pytest.mark.probe
def test_two_local_nodes_and_the_death_of_one(spec, result, monkeypatch, tmp_path):
    """Both wait for this machine's processor; one dies while its probe runs, the other still answers."""
    pytest.importorskip("ray", reason="Ray is an optional extra and is not installed")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("FATHOM_STORE", str(tmp_path / "probes.sqlite"))
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        earlier = [result("own", fingerprint=detect().fingerprint)]
        both = list(probe_fleet(replace(spec, threads=1), cluster.address, earlier, with_measurements))
        lock = DeviceLock(tmp_path, "cpu")
        lock.take()
        killer = threading.Thread(target=_kill_in_the_middle, args=(cluster, second, lock))
        killer.start()
        rows = list(probe_fleet(replace(spec, threads=1), cluster.address))
        killer.join()
    finally:
        cluster.shutdown()
    assert [row.result.state for row in both if row.result] == [State.DONE, State.DONE], [r.error for r in both]
    dead, alive = sorted(rows, key=lambda row: row.result is not None)
    assert dead.result is None
    assert "\n" not in dead.error
    assert dead.error
    assert alive.result.state is State.DONE, alive.error


def _kill_in_the_middle(cluster, node, lock: DeviceLock) -> None:
    """When both tasks run, which they do until the lock is let go."""
    until = time.monotonic() + 60
    while _running_tasks() < 2 and time.monotonic() < until:
        threading.Event().wait(0.05)
    cluster.remove_node(node, allow_graceful=False)
    lock.release()


def _running_tasks() -> int:
    return sum("ray::measure_here" in " ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"]))
